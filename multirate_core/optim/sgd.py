"""Multirate SGD: a slow parameter gets a gradient once in `period` steps and drifts along its momentum in between.

Caveats first. k·lr is the step that the slow part really takes, so a large k with a large lr diverges. Backward stops
early only where *everything* before a point is slow: one early fast layer costs almost the whole saving. And between
two optimisers on one model call `release()`, or the second takes resting parameters for frozen ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from multirate_core.checks import require_flag, require_number
from multirate_core.errors import ConfigError
from multirate_core.optim.checks import ParamGroup
from multirate_core.optim.drift import in_one_call
from multirate_core.optim.multirate import MultirateOptimizer, State


def sgd_direction(
    theta: list[Tensor],
    p: list[Tensor | None],
    g: list[Tensor],
    *,
    mu: float,
    weight_decay: float,
    nesterov: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return (p, u): the momenta brought up to date with fresh gradients, and the directions to move along.

    p := μ p + (g + λ θ), in place where there is a p. Then u is p itself, with Nesterov (g + λ θ) + μ p.

    Args:
        theta: parameters, the paper's θ_F or θ_S, any shapes; read only.
        p: one momentum per parameter, p_F or p_S, changed in place; None before a parameter's first gradient.
        g: one gradient per parameter, ∇L of this minibatch; never changed.
        mu: momentum μ, 0 <= μ < 1; 0 makes u the gradient itself (the returned tensors may be those of `g`).
        weight_decay: λ >= 0.
        nesterov: look ahead along the new momentum.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), Algorithm 1; Nesterov's form is torch.optim.SGD's.
    """
    if weight_decay != 0:
        g = list(torch._foreach_add(g, theta, alpha=weight_decay))
    if mu == 0:
        return g, g
    held = [p_i for p_i in p if p_i is not None]
    if len(held) == len(p):
        torch._foreach_mul_(held, mu)
        torch._foreach_add_(held, g)
    else:  # the first gradient of some parameter: its p starts as that gradient
        held = [g_i.clone() if p_i is None else p_i.mul_(mu).add_(g_i) for p_i, g_i in zip(p, g, strict=True)]
    return held, list(torch._foreach_add(g, held, alpha=mu)) if nesterov else held


def sgd_direction_single(
    theta: Tensor, p: Tensor | None, g: Tensor, *, mu: float, weight_decay: float, nesterov: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (p, u) of one parameter: `sgd_direction` without multi-tensor calls, the same numbers."""
    if weight_decay != 0:
        g = g.add(theta, alpha=weight_decay)
    if mu == 0:
        return g, g
    p = g.clone() if p is None else p.mul_(mu).add_(g)
    return p, g.add(p, alpha=mu) if nesterov else p


class MultirateSGD(MultirateOptimizer):
    """SGD in which every param group has its own period; an ordinary training loop drives it.

    Which flags and gradients it owns: see `MultirateOptimizer`.

    Args:
        params: parameters, (name, parameter) pairs, or param groups. A group may have `name` (unique), `period`
            (default 1 = fast; at least one group has it), and its own value of each option below.
        lr: per-step size, the paper's h/k: what plain SGD would use on the same problem; > 0.
        momentum: 0 <= momentum < 1, PyTorch's form without dampening.
        weight_decay: >= 0, L2, added at the moment a gradient is computed.
        drift: True moves a slow group at every step along its held momentum; False moves it by period·lr at once.
        nesterov: Nesterov momentum, torch's form; needs momentum > 0. A slow group then holds the direction beside
            the momentum, one more tensor per parameter between two gradients.
        foreach: multi-tensor calls: None where the tensors allow it, False one parameter at a time.

    Raises:
        ConfigError: a number is out of range or an option is unknown.
        PartitionError: a parameter in two groups, two groups of one name, or nothing that moves at every step.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), Algorithm 1. With period 1 everywhere it is
    torch.optim.SGD, bit for bit.
    """

    _held_names = ("direction", "momentum_buffer")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        drift: bool = True,
        nesterov: bool = False,
        foreach: bool | None = None,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, {**options, "drift": drift, "foreach": foreach})

    @classmethod
    def _require_rule(cls, group: ParamGroup) -> None:
        of_group = f"of group {group['name']!r}"
        require_number(f"momentum {of_group}", group["momentum"], least=0.0, below=1.0)
        require_flag(f"nesterov {of_group}", group["nesterov"])
        if group["nesterov"] and group["momentum"] == 0:
            raise ConfigError(f"nesterov {of_group} needs a momentum > 0, got 0. Set one, or nesterov=False.")

    def _directions(
        self, group: ParamGroup, theta: list[Tensor], gradient: list[Tensor], states: list[State]
    ) -> list[Tensor]:
        options = {"mu": group["momentum"], "weight_decay": group["weight_decay"], "nesterov": group["nesterov"]}
        p = [state.get("momentum_buffer") for state in states]
        if in_one_call(theta, group["foreach"]):
            new_p, u = sgd_direction(theta, p, gradient, **options)
        else:
            pairs = [sgd_direction_single(*each, **options) for each in zip(theta, p, gradient, strict=True)]
            new_p, u = [p_i for p_i, _ in pairs], [u_i for _, u_i in pairs]
        if group["momentum"] != 0:
            for state, p_i in zip(states, new_p, strict=True):
                state["momentum_buffer"] = p_i
        return u
