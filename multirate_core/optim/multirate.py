"""What every multirate optimiser does, whatever its base rule: cycles, `requires_grad`, drift, states to be saved.

A base rule (`sgd.py`, `adamw.py`) turns a gradient into an update direction u. This class decides which group gets a
gradient at which step, holds u in between, and moves every parameter: θ := θ − lr·u at each step with drift, or
θ := θ − k·lr·u at once without.
"""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from multirate_core.optim.checks import (
    ParamGroup,
    find_group,
    find_parameters,
    require_covers,
    require_group,
    require_loadable,
    require_moving,
    require_same_tensors,
    require_separate,
    require_usable,
)
from multirate_core.optim.compiling import notice_flags
from multirate_core.optim.drift import move

State = dict[str, Any]


class MultirateOptimizer(torch.optim.Optimizer):
    """The part that `MultirateSGD` and `MultirateAdamW` share; not made directly.

    The optimiser owns `requires_grad` of its parameters: `step()` leaves it set for the *next* step, so that backward
    stops where no group is due. A parameter that is frozen when its group is added stays frozen and is never touched;
    later ones are frozen by `freeze()`. A resting parameter has no `.grad`. A group whose period was changed follows
    it from the next `zero_grad()` on.

    A subclass writes `_directions` (its base rule) and `_require_rule` (the ranges of its options).
    """

    last_refreshed: tuple[str, ...] = ()  # names of the groups that got a new gradient in the last step()
    _open_contexts = 0  # nesting depth of all_gradients()
    _warned = False  # whether a step without any gradient was mentioned
    _held_names: ClassVar[tuple[str, ...]] = ("direction",)  # where the held direction may lie, first found first

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(params, {**defaults, "period": 1})
        require_moving(self.param_groups)
        notice_flags()

    def __setstate__(self, state: State) -> None:
        super().__setstate__(state)
        notice_flags()  # a copy that came out of a file, in a process of its own

    @classmethod
    @abstractmethod
    def _require_rule(cls, group: ParamGroup) -> None:
        """Raise ConfigError unless the options of the base rule are in range."""

    @abstractmethod
    def _directions(
        self, group: ParamGroup, theta: list[Tensor], gradient: list[Tensor], states: list[State]
    ) -> list[Tensor]:
        """Bring the states up to date with fresh gradients and return one update direction per parameter.

        A returned tensor may be that of a state or of `gradient`; it is then the same object.
        """

    def add_param_group(self, param_group: ParamGroup) -> None:
        """Add a group, due at the next step; the caller's dict is copied, never written to.

        Raises:
            ConfigError: an option is unknown or out of range.
            PartitionError: a parameter or the name is taken by another group.
        """
        group = {"name": f"group {len(self.param_groups)}", **self.defaults, **param_group}
        if isinstance(group.get("params"), Iterator):
            group["params"] = list(group["params"])  # checks and base class both read it
        require_group(group, self.defaults, self._require_rule)
        require_separate(group, self.param_groups)
        super().add_param_group(group)
        # Frozen by the user; what rests in another optimiser was refused above.
        group["frozen"] = [i for i, weight in enumerate(group["params"]) if not weight.requires_grad]
        group["steps_since_refresh"] = None  # never refreshed: due whatever the period
        # Positions of the parameters that drift along a held direction; [] where none should, None where directions
        # are missing, so that a group that is to drift from now on gets a gradient first.
        group["drifting"] = None
        group["jumped"] = None  # steps that the last move covered at once, without drift: it rests as long
        group["due"] = True

    @property
    def due_groups(self) -> tuple[str, ...]:
        """Names of the groups that get a gradient at the next step, in the order of `param_groups`."""
        return tuple(group["name"] for group in self.param_groups if group["due"] and _trainable(group))

    def set_periods(self, periods: Mapping[str, int]) -> None:
        """Change periods, name of a group -> new period, from the next `zero_grad()` on.

        A group without drift has moved for its whole cycle already, so its new period counts from its next gradient.

        Raises:
            ConfigError: no group has such a name, or a period is not a whole number >= 1; nothing has changed then.
            PartitionError: no group of period 1 would be left; nothing has changed then.
        """
        for name in periods:
            find_group(name, self.param_groups)
        require_moving(
            [{**group, "period": periods.get(group["name"], group["period"])} for group in self.param_groups]
        )
        for group in self.param_groups:
            group["period"] = periods.get(group["name"], group["period"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients, and set `requires_grad` for the next step again (a period may have been changed)."""
        require_moving(self.param_groups)
        super().zero_grad(set_to_none)
        self._plan_next_step()
        self._drop_old_directions()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every group by one step and set `requires_grad` for the next one.

        A due parameter without a gradient rests, as in torch's own optimisers. Without any gradient the step did not
        happen: nothing moves, every group keeps its place in the cycle, and a warning says so once.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            what the closure returned, or None.

        Raises:
            ConfigError: a gradient is sparse, a period is not a whole number >= 1, or a parameter has another shape,
                dtype or device than its state; nothing has moved then.
            PartitionError: no group of period 1 is left; nothing has moved then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        require_moving(self.param_groups)
        fresh = [self._positions_with_gradient(group) for group in self.param_groups]
        self.last_refreshed = tuple(
            group["name"] for group, positions in zip(self.param_groups, fresh, strict=True) if positions
        )
        if self.last_refreshed:
            for group, positions in zip(self.param_groups, fresh, strict=True):
                self._move(group, positions)
            self._plan_next_step()
        elif not self._warned:
            self._warned = True
            warnings.warn(
                f"step() found no gradient in the groups that were due ({', '.join(self.due_groups)}), so nothing "
                "moved. Call backward() first; if layers were replaced after the optimiser was built, build it again.",
                stacklevel=2,
            )
        return loss

    def _move(self, group: ParamGroup, fresh: list[int]) -> None:
        """Move one group by one step; `fresh` are the positions of its parameters that have a new gradient."""
        if fresh:
            theta = [group["params"][i] for i in fresh]
            gradient = [weight.grad for weight in theta]
            states = [self.state[weight] for weight in theta]
            u = self._directions(group, theta, gradient, states)
            move(theta, u, group["lr"] if group["drift"] else group["period"] * group["lr"], group["foreach"])
            self._hold(group, fresh, u)
            group["jumped"] = None if group["drift"] else group["period"]
            group["steps_since_refresh"] = 1
            return
        if group["drifting"] and not group["due"]:
            theta = [group["params"][i] for i in group["drifting"]]
            move(theta, [self._held(weight) for weight in theta], group["lr"], group["foreach"])
        if group["steps_since_refresh"] is not None:
            group["steps_since_refresh"] += 1

    def _hold(self, group: ParamGroup, fresh: list[int], u: list[Tensor]) -> None:
        """Keep the directions that later steps will drift along."""
        drifts = group["drift"] and group["period"] > 1
        complete = True  # whether every direction is at hand later
        for i, direction in zip(fresh, u, strict=True):
            weight = group["params"][i]
            state = self.state[weight]
            state.pop("direction", None)
            if any(direction is value for value in state.values()):
                continue
            if drifts:  # a direction that is the gradient itself may be overwritten by its owner
                state["direction"] = direction.clone() if direction is weight.grad else direction
            else:
                complete = False
                if not state:
                    del self.state[weight]
        group["drifting"] = (fresh if complete else None) if group["drift"] else []

    def _held(self, weight: Tensor) -> Tensor:
        """Return the direction that a parameter drifts along."""
        state = self.state[weight]
        held: Tensor = next(state[name] for name in self._held_names if name in state)
        return held

    def _drop_old_directions(self) -> None:
        """Free the directions of the groups that are due: their gradients take that place in memory."""
        for group in self.param_groups:
            if group["due"] and group["drifting"]:
                states = [self.state[group["params"][i]] for i in group["drifting"]]
                if any("direction" in state for state in states):
                    for state in states:
                        state.pop("direction", None)
                    group["drifting"] = None

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
                weight.multirate_rests = not wanted  # type: ignore[attr-defined]  # so that nobody takes it for frozen
                if not wanted:
                    weight.grad = None

    @contextmanager
    def all_gradients(self) -> Iterator[None]:
        """Give every parameter of the optimiser a gradient inside the `with` block, for evaluation and logging.

        Parameters that the user froze stay frozen. On leaving, `requires_grad` is set for the next step again and the
        gradients of resting parameters are dropped; a `step()` inside ignores them. Those of the groups that are due
        stay: call `zero_grad()` before the next backward pass of the training.
        """
        self._open_contexts += 1
        self._set_requires_grad()
        try:
            yield
        finally:
            self._open_contexts -= 1
            self._set_requires_grad()

    def freeze(self, params: Iterable[Tensor] | nn.Module) -> None:
        """Stop training these parameters: no gradient, no drift, no decay, from now on until `unfreeze`.

        Args:
            params: parameters of this optimiser, or a module that holds them.

        Raises:
            PartitionError: one of them is not in any group, or nothing trainable of period 1 would be left; nothing
                has changed then.
        """
        chosen = find_parameters(params, self.param_groups)
        changed = [
            {**group, "frozen": sorted({*group["frozen"], *positions})}
            for group, positions in zip(self.param_groups, chosen, strict=True)
        ]
        require_moving(changed)
        for group, new, positions in zip(self.param_groups, changed, chosen, strict=True):
            group["frozen"] = new["frozen"]
            if group["drifting"]:
                group["drifting"] = [i for i in group["drifting"] if i not in positions]
            for i in positions:
                group["params"][i].requires_grad_(False)
                group["params"][i].grad = None
                group["params"][i].multirate_rests = False

    def unfreeze(self, params: Iterable[Tensor] | nn.Module) -> None:
        """Train these parameters again, from the next step on which their group is due, with a fresh state.

        Raises:
            PartitionError: one of them is not in any group; nothing has changed then.
        """
        for group, positions in zip(self.param_groups, find_parameters(params, self.param_groups), strict=True):
            thawed = [i for i in positions if i in group["frozen"]]
            group["frozen"] = [i for i in group["frozen"] if i not in thawed]
            for i in thawed:
                self.state.pop(group["params"][i], None)
        self._set_requires_grad()

    def require_covers(self, model: nn.Module) -> None:
        """Raise PartitionError unless every trainable parameter of the model is in a group, and no other is.

        Call it after anything that may have changed the model: a new head, a wrapper that copied the parameters.
        """
        require_covers(self.param_groups, model)

    def release(self) -> None:
        """Hand `requires_grad` back: True for every parameter that is not frozen, until the next `zero_grad()`."""
        for group in self.param_groups:
            for weight in _trainable(group):
                weight.requires_grad_(True)
                weight.multirate_rests = False  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load momenta, options and the place in the cycle, and set `requires_grad` for the step that comes next.

        Which parameters are frozen comes from the saved state too. Nothing is shared with `state_dict` afterwards.

        Raises:
            PartitionError: saved with other groups, parameters or shapes; nothing has been changed then.
            ConfigError: not a state of this optimiser, or an option out of range; nothing has been changed then.
        """
        require_loadable(state_dict, self)
        super().load_state_dict(copy.deepcopy(state_dict))
        for group in self.param_groups:
            for i in group["frozen"]:
                group["params"][i].requires_grad_(False)
                group["params"][i].multirate_rests = False
        self._plan_next_step()

    def _positions_with_gradient(self, group: ParamGroup) -> list[int]:
        """Return where in a due group a trainable parameter has a gradient; check all that is about to move."""
        if not group["due"]:
            require_same_tensors(group, group["drifting"] or [], self.state)
            return []
        frozen = set(group["frozen"])
        positions = [i for i, weight in enumerate(group["params"]) if weight.grad is not None and i not in frozen]
        require_usable(group, positions, type(self).__name__)
        require_same_tensors(group, positions, self.state)
        return positions


def _is_due(group: ParamGroup) -> bool:
    """Return whether a group needs a gradient: its period is over, or it should drift and holds no direction yet."""
    since = group["steps_since_refresh"]
    return (
        since is None or since >= (group["jumped"] or group["period"]) or (group["drift"] and group["drifting"] is None)
    )


def _trainable(group: ParamGroup) -> list[Tensor]:
    """Return the parameters of a group that are not frozen."""
    frozen = set(group["frozen"])
    return [weight for i, weight in enumerate(group["params"]) if i not in frozen]
