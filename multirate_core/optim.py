"""Multirate SGD: a slow parameter gets a gradient once in `period` steps and drifts along it in between.

Caveats first. k·lr is the step that the slow part really takes, so a large k with a large lr diverges. Backward stops
early only where *everything* before a point is slow: one early fast layer costs almost the whole saving. And between
two optimisers on one model call `release()`, or the second takes resting parameters for frozen ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from multirate_core.optim_checks import (
    ParamGroup,
    require_dense,
    require_group,
    require_loadable,
    require_moving,
    require_separate,
)


def multirate_sgd(
    theta: list[Tensor],
    p: list[Tensor | None],
    gradient: list[Tensor] | None,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    period: int,
    drift: bool,
) -> list[Tensor]:
    """Move the parameters of one group by one step, in place, and return their momenta.

    In the paper's letters: `theta` is θ_S or θ_F, `p` is p_S or p_F, `gradient` is ∇L of this minibatch, `momentum`
    is μ, `weight_decay` is λ, `period` is k, and `lr` is h/k. With a gradient: p := μ p + (∇L + λ θ). Then
    θ := θ − (h/k) p; only without drift and with a gradient it is θ := θ − h p, the whole cycle at once.

    Without a gradient the group moves by (h/k) p whatever `drift` says: so a group whose drift is switched off in the
    middle of a cycle drifts to its end. Do not call it between two refreshes for a group that should rest.

    Args:
        theta: parameters, at least one, any shapes; changed in place.
        p: one momentum per parameter, changed in place; None before a parameter's first gradient.
        gradient: one gradient per parameter, never changed; None on a step on which the group drifts.
        lr: per-step size, >= 0.
        momentum: 0 <= momentum < 1; 0 makes p the gradient itself (the returned tensors may be those of `gradient`).
        weight_decay: >= 0.
        period: steps from one gradient to the next, >= 1.
        drift: False moves the group by k steps at once when it has a gradient, True by one.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), Algorithm 1; without drift: their poster.
    """
    if gradient is None:
        new_p = [momentum_buffer for momentum_buffer in p if momentum_buffer is not None]
    else:
        new_p = _refresh(theta, p, gradient, momentum, weight_decay)
    step_size = lr if drift or gradient is None else period * lr
    torch._foreach_add_(theta, new_p, alpha=-step_size)
    return new_p


def _refresh(
    theta: list[Tensor], p: list[Tensor | None], g: list[Tensor], mu: float, weight_decay: float
) -> list[Tensor]:
    """Return p := μ p + (g + λ θ), in place where there is a p; the same operations as torch.optim.SGD's."""
    if weight_decay != 0:
        g = list(torch._foreach_add(g, theta, alpha=weight_decay))
    if mu == 0:
        return g
    held = [buffer for buffer in p if buffer is not None]
    if len(held) < len(p):  # the first gradient of some parameter: its p starts as that gradient
        return [g_i.clone() if p_i is None else p_i.mul_(mu).add_(g_i) for p_i, g_i in zip(p, g, strict=True)]
    torch._foreach_mul_(held, mu)
    torch._foreach_add_(held, g)
    return held


class MultirateSGD(torch.optim.Optimizer):
    """SGD in which every param group has its own period; an ordinary training loop drives it.

    The optimiser owns `requires_grad` of its parameters: `step()` leaves it set for the *next* step, so that backward
    stops where no group is due. A parameter that is frozen when its group is added stays frozen and is never touched.
    A resting parameter has no `.grad`. A group whose period was changed follows it from the next `zero_grad()` on.

    Args:
        params: parameters, (name, parameter) pairs, or param groups. A group may have `name` (unique), `period`
            (default 1 = fast; at least one group has it), and its own `lr`, `momentum`, `weight_decay`, `drift`.
        lr: per-step size, the paper's h/k: what plain SGD would use on the same problem; > 0.
        momentum: 0 <= momentum < 1, PyTorch's form without dampening.
        weight_decay: >= 0, L2, added at the moment a gradient is computed.
        drift: True moves a slow group at every step along its held momentum; False moves it by period·lr at once.

    Raises:
        ConfigError: a number is out of range or an option is unknown.
        PartitionError: a parameter in two groups, two groups of one name, or nothing that moves at every step.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), Algorithm 1. With period 1 everywhere it is
    torch.optim.SGD, bit for bit.
    """

    last_refreshed: tuple[str, ...] = ()  # names of the groups that got a new gradient in the last step()
    _open_contexts = 0  # nesting depth of all_gradients()

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        drift: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "drift": drift, "period": 1}
        super().__init__(params, defaults)
        require_moving(self.param_groups)

    def add_param_group(self, param_group: ParamGroup) -> None:
        """Add a group, due at the next step; the caller's dict is copied, never written to.

        Raises:
            ConfigError: an option is unknown or out of range.
            PartitionError: a parameter or the name is taken by another group.
        """
        group = {"name": f"group {len(self.param_groups)}", **self.defaults, **param_group}
        if isinstance(group.get("params"), Iterator):
            group["params"] = list(group["params"])  # checks and base class both read it
        require_group(group, self.defaults)
        require_separate(group, self.param_groups)
        super().add_param_group(group)
        group["frozen"] = [i for i, weight in enumerate(group["params"]) if not weight.requires_grad]
        group["steps_since_refresh"] = None  # never refreshed: due whatever the period
        # Positions of the parameters that drift along a held momentum; [] where none should, None where momenta are
        # missing, so that a group that is to drift from now on gets a gradient first.
        group["drifting"] = None
        group["due"] = True

    @property
    def due_groups(self) -> tuple[str, ...]:
        """Names of the groups that get a gradient at the next step, in the order of `param_groups`."""
        return tuple(group["name"] for group in self.param_groups if group["due"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients, and set `requires_grad` for the next step again (a period may have been changed)."""
        require_moving(self.param_groups)
        super().zero_grad(set_to_none)
        self._plan_next_step()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every group by one step and set `requires_grad` for the next one.

        A due parameter without a gradient rests, as in torch.optim.SGD. Without any gradient the step did not happen:
        nothing moves and every group keeps its place in the cycle.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            what the closure returned, or None.

        Raises:
            ConfigError: a gradient is sparse, a period is not a whole number >= 1; nothing has moved then.
            PartitionError: no group of period 1 is left; nothing has moved then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        require_moving(self.param_groups)
        fresh = [_positions_with_gradient(group) if group["due"] else [] for group in self.param_groups]
        self.last_refreshed = tuple(
            group["name"] for group, positions in zip(self.param_groups, fresh, strict=True) if positions
        )
        if self.last_refreshed:
            for group, positions in zip(self.param_groups, fresh, strict=True):
                self._move(group, positions)
            self._plan_next_step()
        return loss

    def _move(self, group: ParamGroup, fresh: list[int]) -> None:
        """Move one group by one step; `fresh` are the positions of its parameters that have a new gradient."""
        positions = fresh if group["due"] else group["drifting"] or []
        theta = [group["params"][i] for i in positions]
        if theta:
            p = [self.state[weight].get("momentum_buffer") if weight in self.state else None for weight in theta]
            gradient = [weight.grad for weight in theta] if fresh else None
            options = {name: group[name] for name in ("lr", "momentum", "weight_decay", "period", "drift")}
            new_p = multirate_sgd(theta, p, gradient, **options)
            if fresh:
                self._hold(group, fresh, new_p)
        if fresh:
            group["steps_since_refresh"] = 1
        elif group["steps_since_refresh"] is not None:
            group["steps_since_refresh"] += 1

    def _hold(self, group: ParamGroup, fresh: list[int], p: list[Tensor]) -> None:
        """Keep the momenta that later steps need: all with momentum, else those of a group that will drift."""
        drifts = group["drift"] and group["period"] > 1
        if group["momentum"] == 0 and drifts:
            p = [gradient.clone() for gradient in p]  # p is the gradient, and its owner may overwrite that one
        if group["momentum"] != 0 or drifts:
            for i, momentum_buffer in zip(fresh, p, strict=True):
                self.state[group["params"][i]]["momentum_buffer"] = momentum_buffer
            group["drifting"] = fresh if group["drift"] else []
        else:
            group["drifting"] = None if group["drift"] else []

    def _plan_next_step(self) -> None:
        """Decide which groups are due at the next step, and set `requires_grad` so."""
        for group in self.param_groups:
            group["due"] = _is_due(group)
        self._set_requires_grad()

    def _set_requires_grad(self) -> None:
        """Turn gradients on for the groups that are due; a resting parameter keeps no `.grad`."""
        for group in self.param_groups:
            wanted = group["due"] or self._open_contexts > 0
            for weight in _trainable(group):
                weight.requires_grad_(wanted)
                if not wanted:
                    weight.grad = None

    @contextmanager
    def all_gradients(self) -> Iterator[None]:
        """Give every parameter of the optimiser a gradient inside the `with` block, for evaluation and logging.

        Parameters that the user froze stay frozen. On leaving, `requires_grad` is set for the next step again and the
        gradients of resting parameters are dropped; a `step()` inside ignores them.
        """
        self._open_contexts += 1
        self._set_requires_grad()
        try:
            yield
        finally:
            self._open_contexts -= 1
            self._set_requires_grad()

    def release(self) -> None:
        """Hand `requires_grad` back: True for every parameter of the optimiser, until the next `zero_grad()`."""
        for group in self.param_groups:
            for weight in _trainable(group):
                weight.requires_grad_(True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load momenta, options and the place in the cycle, and set `requires_grad` for the step that comes next.

        Which parameters are frozen comes from the saved state too. Nothing is shared with `state_dict` afterwards.

        Raises:
            PartitionError: saved with other groups, parameters or shapes; nothing has been changed then.
            ConfigError: not a state of this optimiser, or an option out of range; nothing has been changed then.
        """
        require_loadable(state_dict, self.param_groups)
        super().load_state_dict(copy.deepcopy(state_dict))
        for group in self.param_groups:
            for i in group["frozen"]:
                group["params"][i].requires_grad_(False)
        self._plan_next_step()


def _is_due(group: ParamGroup) -> bool:
    """Return whether a group needs a gradient: its period is over, or it should drift and holds no momentum yet."""
    since = group["steps_since_refresh"]
    return since is None or since >= group["period"] or (group["drift"] and group["drifting"] is None)


def _trainable(group: ParamGroup) -> list[Tensor]:
    """Return the parameters of a group that were not frozen when it was added."""
    frozen = set(group["frozen"])
    return [weight for i, weight in enumerate(group["params"]) if i not in frozen]


def _positions_with_gradient(group: ParamGroup) -> list[int]:
    """Return where in the group a trainable parameter has a gradient; raise ConfigError if one is sparse."""
    frozen = set(group["frozen"])
    positions = [i for i, weight in enumerate(group["params"]) if weight.grad is not None and i not in frozen]
    for i in positions:
        require_dense(group, i)
    return positions
