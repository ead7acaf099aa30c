"""Multirate AdamW: moments are refreshed when a group is due; in between it drifts along the held update direction.

Caveats first. The paper says that its method applies to other base optimisers and gives no results for them, so this
rule is derived here, not published. k·lr is the step that the slow part really takes. The moments of a slow group see
one gradient in k, so their memory is k times as long in steps: β₂ = 0.999 averages over 1000·k steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from multirate_core.checks import require_number
from multirate_core.errors import ConfigError
from multirate_core.optim.checks import ParamGroup
from multirate_core.optim.drift import in_one_call
from multirate_core.optim.multirate import MultirateOptimizer, State


def adamw_direction(
    theta: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    g: list[Tensor],
    refreshes: list[int],
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> list[Tensor]:
    """Refresh the moments in place and return the directions u = m̂ / (√v̂ + ε) + λ θ.

    m := β₁ m + (1 − β₁) g and v := β₂ v + (1 − β₂) g²; m̂ = m / (1 − β₁ⁿ) and v̂ = v / (1 − β₂ⁿ) after n refreshes.

    Args:
        theta: parameters, any shapes; read only.
        m: first moments, changed in place.
        v: second moments, changed in place.
        g: gradients, never changed.
        refreshes: n of each parameter, this refresh included, >= 1.
        beta1: 0 <= β₁ < 1.
        beta2: 0 <= β₂ < 1.
        eps: ε > 0.
        weight_decay: decoupled λ >= 0; it joins the direction, so it acts at each step although θ is read at a refresh.

    Source: Loshchilov & Hutter, ICLR 2019 (arXiv 1711.05101), Algorithm 2; holding u between refreshes is derived here.
    """
    torch._foreach_lerp_(m, g, 1 - beta1)
    torch._foreach_mul_(v, beta2)
    torch._foreach_addcmul_(v, g, g, 1 - beta2)
    u = list(torch._foreach_sqrt(v))
    torch._foreach_div_(u, [(1 - beta2**n) ** 0.5 for n in refreshes])
    torch._foreach_add_(u, eps)
    torch._foreach_mul_(u, [1 - beta1**n for n in refreshes])
    u = list(torch._foreach_div(m, u))
    if weight_decay != 0:
        torch._foreach_add_(u, theta, alpha=weight_decay)
    return u


def adamw_direction_single(
    theta: Tensor,
    m: Tensor,
    v: Tensor,
    g: Tensor,
    n: int,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Tensor:
    """Return u of one parameter after its n-th refresh: `adamw_direction` without multi-tensor calls."""
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    denominator = v.sqrt().div_((1 - beta2**n) ** 0.5).add_(eps).mul_(1 - beta1**n)
    u = m / denominator
    return u.add_(theta, alpha=weight_decay) if weight_decay != 0 else u


class MultirateAdamW(MultirateOptimizer):
    """AdamW in which every param group has its own period; an ordinary training loop drives it.

    Which flags and gradients it owns: see `MultirateOptimizer`. Beside both moments a slow group holds its direction
    between two gradients; `zero_grad()` before the next gradient frees it, so the peak is that of torch.optim.AdamW.

    Args:
        params: parameters, (name, parameter) pairs, or param groups. A group may have `name` (unique), `period`
            (default 1 = fast; at least one group has it), and its own value of each option below.
        lr: per-step size, what torch.optim.AdamW would use on the same problem; > 0.
        betas: (β₁, β₂), each >= 0 and < 1; per refresh, not per step.
        eps: > 0, added to the root of the second moment.
        weight_decay: >= 0, decoupled; held with the direction.
        drift: True moves a slow group at every step along its held direction; False moves it by period·lr at once.
        foreach: multi-tensor calls: None where the tensors allow it, False one parameter at a time.

    Raises:
        ConfigError: a number is out of range or an option is unknown.
        PartitionError: a parameter in two groups, two groups of one name, or nothing that moves at every step.

    Source: derived from Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), which claims other base optimisers without
    giving results. With period 1 everywhere it is torch.optim.AdamW up to rounding: weight decay is added to the
    direction instead of multiplied into the parameter (relative difference below 1e-12 in float64 after 100 steps).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        drift: bool = True,
        foreach: bool | None = None,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "drift": drift, "foreach": foreach})

    @classmethod
    def _require_rule(cls, group: ParamGroup) -> None:
        of_group = f"of group {group['name']!r}"
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ConfigError(f"betas {of_group} must be two numbers, got {betas!r}. Use (0.9, 0.999).")
        for name, beta in zip(("the first beta", "the second beta"), betas, strict=True):
            require_number(f"{name} {of_group}", beta, least=0.0, below=1.0)
        require_number(f"eps {of_group}", group["eps"], above=0.0)

    def _directions(
        self, group: ParamGroup, theta: list[Tensor], gradient: list[Tensor], states: list[State]
    ) -> list[Tensor]:
        for weight, state in zip(theta, states, strict=True):
            if "refreshes" not in state:
                state["refreshes"] = 0
                state["exp_avg"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["refreshes"] += 1
        beta1, beta2 = group["betas"]
        options = {"beta1": beta1, "beta2": beta2, "eps": group["eps"], "weight_decay": group["weight_decay"]}
        m, v = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        n = [state["refreshes"] for state in states]
        if in_one_call(theta, group["foreach"]):
            return adamw_direction(theta, m, v, gradient, n, **options)
        together = zip(theta, m, v, gradient, n, strict=True)
        return [adamw_direction_single(*each, **options) for each in together]
