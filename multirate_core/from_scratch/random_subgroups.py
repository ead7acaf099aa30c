"""Random subgroups: a random part of the weights rests at zero for a cycle, then catches up in one large step.

Caveats first. It is a regulariser and costs a full forward and backward at every step. The subset steps by k·lr: keep
that where SGD still trains well. In the middle of a cycle the model holds zeros: evaluate and export inside
`with optimizer.restored():`, or when `optimizer.resting` is False. In our small experiment it was not better than SGD
(docs/measurements.md).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multirate_core.from_scratch.checks import ParamGroup
from multirate_core.from_scratch.cycle import CycleSGD, gradient_with_decay, refreshed_momentum


def draw_active(weight: Tensor, fraction: float, key: tuple[int, ...]) -> Tensor:
    """Return 1 where a weight stays active and 0 where it rests, each at rest with probability `fraction`.

    Args:
        weight: any shape; the result has its shape, dtype and device.
        fraction: 0 <= fraction < 1.
        key: whole numbers >= 0; the same ones draw the same, on every device, whatever else was drawn before.
    """
    drawn = np.random.default_rng(key).random(tuple(weight.shape), dtype=np.float32)
    return torch.from_numpy(drawn >= fraction).to(device=weight.device, dtype=weight.dtype)


def thinned_step(theta: Tensor, p: Tensor | None, gradient: Tensor, active: Tensor, lr: float, mu: float) -> Tensor:
    """Move the active weights by one step, in place, while the others rest at zero; return the momentum.

    In the paper's letters: p_F := μ p_F + ∇_F L(0, θ_F), θ_F := θ_F − (h/k) p_F; p_S and θ_S stay.

    Args:
        theta, p, gradient, active: of one shape; `p` is None before the parameter's first gradient.
        lr: the per-step size h/k, >= 0.
        mu: momentum, 0 <= mu < 1.
    """
    if mu == 0:
        new_p = gradient
    else:
        held = torch.zeros_like(theta) if p is None else p
        new_p = torch.where(active > 0, mu * held + gradient, held)
    theta.addcmul_(new_p, active, value=-lr)
    return new_p


class RandomSubgroupsSGD(CycleSGD):
    """SGD in which a random subset of the weights rests at zero for k − 1 of k steps and then steps by k·lr.

    A cycle is k minibatches. The subset is zero for the first k − 1, and the other weights step by lr in the network
    without it. Then it is put back, and on the last minibatch the network is whole: one backward gives the gradient of
    the subset, which steps by k·lr, and of the others, which step by lr. So every weight moves k·lr per cycle. Then the
    next subset is drawn, put away and set to zero. In the very first cycle nothing rests: it is plain SGD.

    Derived here, because the source leaves it open: that the slow gradient is taken in the whole network, after the
    rest, and that its backward serves the fast weights too (so a subset is zero for k − 1 steps; the source says k,
    for which take period k + 1); that single weights are drawn, each with probability `fraction`; that nothing is
    rescaled while others rest; that a resting weight keeps its momentum.

    Only trainable parameters with two or more dimensions are drawn from: biases and the scales and shifts of norm
    layers are fast always. BatchNorm's statistics move at every forward, mostly of the thinned network.
    The mask and the put-away weights cost memory of twice the parameters that are drawn from.

    Args:
        params: parameters, (name, parameter) pairs, or param groups with their own options, each with its own cycle.
        lr: per-step size, what plain SGD would use; > 0.
        momentum: 0 <= momentum < 1, PyTorch's form without dampening.
        weight_decay: >= 0, L2, added at the moment a gradient is used; k times as strong in the one of a subset.
        fraction: share of the weights that rests, 0 <= fraction < 1; 0 is torch.optim.SGD.
        period: k >= 1, steps per cycle; 1 is torch.optim.SGD, bit for bit.
        seed: of the subsets, >= 0; they depend on nothing but it and the count of draws, which is saved.

    Raises:
        ConfigError: a number is out of range, an option is unknown, or a parameter is complex.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), random subgroups as regularisation (poster).
    """

    PLACE = ("step_in_cycle", "draws", "rested_steps")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        fraction: float = 0.2,
        period: int = 5,
        seed: int = 0,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**options, "fraction": fraction, "period": period, "seed": seed})

    @property
    def resting(self) -> bool:
        """True in the middle of a cycle: some weights are put away and the model holds zeros in their place."""
        return any("put_away" in state for state in self.state.values())

    def restored(self) -> AbstractContextManager[None]:
        """Put the resting weights back inside the `with` block, for evaluation, export and averaging of weights.

        What is written to the parameters inside stays written, also to the resting ones. `step()` is refused inside.
        The best moment is the end of a cycle, after a whole number of periods: the subset has just caught up.
        """
        return self._shown()

    def _advance(self, group: ParamGroup) -> None:
        rests = any("put_away" in self.state.get(weight, {}) for weight in group["params"])
        for weight in group["params"]:
            self._move(weight, group, rests)
        group["step_in_cycle"] += 1
        if rests:
            group["rested_steps"] += 1
            if group["step_in_cycle"] + 1 >= group["period"]:
                for weight in group["params"]:
                    self._put_back(weight)
        elif group["rested_steps"] > 0 or group["step_in_cycle"] >= group["period"]:  # the end of a cycle
            group["step_in_cycle"] = group["rested_steps"] = 0
            if group["period"] > 1 and group["fraction"] > 0:
                self._put_away_new_subset(group)

    def _move(self, weight: Tensor, group: ParamGroup, rests: bool) -> None:
        """Step one parameter: only what is active while a subset rests, else all of it."""
        gradient = gradient_with_decay(weight, group["weight_decay"])
        state = self.state[weight] if weight in self.state or gradient is not None else {}
        active = state.get("active") if rests else state.pop("active", None)
        if gradient is None:
            return
        lr, mu, p = group["lr"], group["momentum"], state.get("momentum_buffer")
        if active is not None and rests:
            p = thinned_step(weight, p, gradient, active, lr, mu)
        else:
            p = refreshed_momentum(p, gradient, mu)
            weight.add_(p, alpha=-lr)
            if active is not None:  # what has rested catches up with the steps that it missed
                weight.addcmul_(p, 1 - active, value=-lr * group["rested_steps"])
        if mu != 0:
            state["momentum_buffer"] = p

    def _put_away_new_subset(self, group: ParamGroup) -> None:
        """Draw the weights that rest in this cycle, keep their values and set them to zero."""
        number = next(i for i, each in enumerate(self.param_groups) if each is group)
        for i, weight in enumerate(group["params"]):
            if weight.requires_grad and weight.dim() >= 2:
                key = (group["seed"], number, i, group["draws"])
                self.state[weight]["active"] = draw_active(weight, group["fraction"], key)
                self.state[weight]["put_away"] = weight.clone()
                self._hide(weight)
        group["draws"] += 1

    def _put_back(self, weight: Tensor) -> None:
        """Give a parameter the weights back that were put away, and forget the copy."""
        self._show(weight)
        self.state.get(weight, {}).pop("put_away", None)

    def _show(self, weight: Tensor) -> None:
        state = self.state.get(weight, {})
        if "put_away" in state:
            weight.copy_(torch.where(state["active"] > 0, weight, state["put_away"]))

    def _hide(self, weight: Tensor) -> None:
        state = self.state.get(weight, {})
        if "put_away" in state:
            if self._showing:
                state["put_away"].copy_(weight)
            weight.masked_fill_(state["active"] == 0, 0.0)
