"""Two copies, two rates: one takes k small steps, the other one large step, and their mean begins the next cycle.

Caveats first. In the middle of a cycle the model holds the fast copy: evaluate inside `with optimizer.averaged():`.
BatchNorm's running statistics are those of the fast copy's forwards; recompute them for the mean before evaluation
(`torch.optim.swa_utils.update_bn`), or use a norm without statistics.
In our small experiment the source's effect was not seen (docs/measurements.md).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from multirate_core.from_scratch.checks import ParamGroup
from multirate_core.from_scratch.cycle import CycleSGD, gradient_with_decay, refreshed_momentum


class TwoCopiesSGD(CycleSGD):
    """SGD on two copies of the weights at once: k steps of lr on the one, a single step of k·lr on the other.

    A cycle is k minibatches. Both copies start it at the same weights, so on its first minibatch they have the same
    gradient, and one backward serves both: the slow copy then takes its whole step, the fast copy its first. The other
    k − 1 minibatches move the fast copy only. After the last one the parameters become the mean of both copies. So a
    step costs what one of SGD costs, and one more copy (two with momentum) of the parameters in memory.

    Derived here, because the source leaves it open: that the slow copy sees the cycle's first minibatch; that each
    copy keeps its own momentum from cycle to cycle (the slow one refreshed once in k steps), while only weights are
    averaged; that weight decay is part of every gradient, of the slow copy's single one too.

    The slow copy lives here, the fast one in the model. Buffers are never averaged: they follow the model's forwards.

    Args:
        params: parameters, (name, parameter) pairs, or param groups with their own options, each with its own cycle.
        lr: the fast copy's step size h_F, > 0; the slow copy's is period · lr at the cycle's first step.
        momentum: 0 <= momentum < 1 for both copies, PyTorch's form without dampening.
        weight_decay: >= 0, L2, added at the moment a gradient is used.
        period: k >= 1, steps per cycle; 1 is torch.optim.SGD, bit for bit. A period changed in mid-cycle says when
            the cycle ends; the slow copy has taken its step already.

    Raises:
        ConfigError: a number is out of range, an option is unknown, or a parameter is complex.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), two copies for different features (poster).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        period: int = 5,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "period": period})

    @property
    def apart(self) -> bool:
        """True in the middle of a cycle: the two copies differ, and the model holds the fast one."""
        return any("slow_copy" in state for state in self.state.values())

    def averaged(self) -> AbstractContextManager[None]:
        """Put the mean of both copies, as they stand, into the model inside the `with` block, for evaluation.

        The fast copy comes back on leaving; what is written to the parameters inside is lost. `step()` is refused
        inside. At the end of a cycle the model holds the mean anyway, and the block changes nothing.
        """
        return self._shown()

    def _advance(self, group: ParamGroup) -> None:
        begins = group["step_in_cycle"] == 0 and group["period"] > 1
        for weight in group["params"]:
            gradient = gradient_with_decay(weight, group["weight_decay"])
            if begins and weight.requires_grad:
                self._move_slow_copy(weight, gradient, group)
            if gradient is not None:
                self._move(weight, gradient, "momentum_fast", group["lr"], weight, group["momentum"])
        group["step_in_cycle"] += 1
        if group["step_in_cycle"] >= group["period"]:
            group["step_in_cycle"] = 0
            for weight in group["params"]:
                self._join(weight)

    def _move_slow_copy(self, weight: Tensor, gradient: Tensor | None, group: ParamGroup) -> None:
        """Begin a cycle: the slow copy leaves the shared weights by one step of k·lr."""
        slow_copy = self.state[weight]["slow_copy"] = weight.detach().clone()
        if gradient is not None:
            self._move(weight, gradient, "momentum_slow", group["period"] * group["lr"], slow_copy, group["momentum"])

    def _move(
        self, weight: Tensor, gradient: Tensor, momentum_name: str, step_size: float, theta: Tensor, mu: float
    ) -> None:
        """Take one step of one copy: p := μ p + ∇L, θ := θ − step_size · p."""
        p = self.state[weight].get(momentum_name) if mu != 0 else None
        p = refreshed_momentum(p, gradient, mu)
        theta.add_(p, alpha=-step_size)
        if mu != 0:
            self.state[weight][momentum_name] = p

    def _join(self, weight: Tensor) -> None:
        """End a cycle: the parameter becomes the mean of both copies."""
        slow_copy = self.state.get(weight, {}).pop("slow_copy", None)
        if slow_copy is not None:
            weight.lerp_(slow_copy, 0.5)

    def _show(self, weight: Tensor) -> None:
        state = self.state[weight]
        if "slow_copy" in state:
            state["fast_copy"] = weight.detach().clone()
            weight.lerp_(state["slow_copy"], 0.5)

    def _hide(self, weight: Tensor) -> None:
        fast_copy = self.state[weight].pop("fast_copy", None)
        if fast_copy is not None:
            weight.copy_(fast_copy)
