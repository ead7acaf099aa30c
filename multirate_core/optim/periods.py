"""A schedule for periods: k small while the early epochs learn fast, larger later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

from multirate_core.checks import require_whole
from multirate_core.errors import ConfigError
from multirate_core.optim.checks import find_group, require_moving
from multirate_core.optim.multirate import MultirateOptimizer

Phases = Sequence[tuple[int, int]]


class PeriodSchedule:
    """Change the periods of groups during training; call `step()` after every `optimizer.step()`.

    A new period counts from the group's last gradient: raised in the middle of a cycle it makes the cycle longer,
    lowered below the steps since then it makes the group due at once. Exceptions: a group without drift keeps the
    period of the cycle that it has moved for already; and one of period 1 holds no direction beside an SGD momentum, so
    with AdamW, with Nesterov or without momentum its first longer cycle begins with a gradient. What counts is calls
    of `step()`, also after an optimiser's step that a loss scaler skipped.

    Args:
        optimizer: whose groups follow the schedule; their periods are set at once.
        phases: name of a group -> (steps, period) pairs, each period holding for so many steps, >= 1. Afterwards the
            group has the period that it was built with.

    Raises:
        ConfigError: no group has such a name, a number is not a whole one >= 1.
        PartitionError: in some phase no group would have period 1.

    Example: ``PeriodSchedule(optimizer, {"slow": [(100, 1), (100, 2)]})`` for k = 1, then 2, then the group's own k.
    """

    def __init__(self, optimizer: MultirateOptimizer, phases: Mapping[str, Phases]) -> None:
        self.steps = 0
        self._optimizer = optimizer
        self._final: dict[str, int] = {name: find_group(name, optimizer.param_groups)["period"] for name in phases}
        self._phases = {name: [_phase(name, pair) for pair in pairs] for name, pairs in phases.items()}
        self._require_moving_always(self._final)
        self._apply()

    def period(self, name: str, step: int) -> int:
        """Return the period of a group at a 0-based step."""
        return self._period(name, step, self._final)

    def _period(self, name: str, step: int, final: Mapping[str, int]) -> int:
        for steps, period in self._phases[name]:
            if step < steps:
                return period
            step -= steps
        return final[name]

    def _require_moving_always(self, final: Mapping[str, int]) -> None:
        """Raise PartitionError if in some phase, or after all of them, no group would have period 1."""
        ends = [list(accumulate(steps for steps, _ in pairs)) for pairs in self._phases.values()]
        for step in sorted({0, *chain.from_iterable(ends)}):
            periods = {name: self._period(name, step, final) for name in self._phases}
            groups = self._optimizer.param_groups
            require_moving([{**group, "period": periods.get(group["name"], group["period"])} for group in groups])

    def step(self) -> None:
        """Count one step and set the periods of the next one."""
        self.steps += 1
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Return how many steps were taken and the periods at the end; the phases come from the constructor."""
        return {"steps": self.steps, "final": dict(self._final)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ConfigError: it comes from a schedule of other groups, or is damaged; nothing has changed then.
            PartitionError: with its periods no group would have period 1 in some phase; nothing has changed then.
        """
        final, steps = state_dict.get("final"), state_dict.get("steps")
        if not isinstance(final, Mapping) or final.keys() != self._final.keys():
            raise ConfigError(
                f"the state is of a schedule for {sorted(final or ())}, this one is for {sorted(self._final)}. "
                "Build it with the same groups first."
            )
        require_whole("steps of a period schedule", steps, 0, 10**12)
        for name, period in final.items():
            require_whole(f"the final period of {name!r}", period, 1, 1_000_000)
        self._require_moving_always(final)
        self.steps, self._final = int(steps or 0), dict(final)
        self._apply()

    def _apply(self) -> None:
        self._optimizer.set_periods({name: self.period(name, self.steps) for name in self._phases})


def _phase(name: str, pair: tuple[int, int]) -> tuple[int, int]:
    """Return a checked (steps, period) pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ConfigError(f"a phase of {name!r} must be (steps, period), got {pair!r}. Use pairs like (100, 1).")
    require_whole(f"the steps of a phase of {name!r}", pair[0], 1, 10**12)
    require_whole(f"the period of a phase of {name!r}", pair[1], 1, 1_000_000)
    return pair[0], pair[1]


def phases_in_steps(phases: Sequence[tuple[float, int]], steps_per_epoch: int) -> list[tuple[int, int]]:
    """Turn (epochs, period) pairs into the (steps, period) pairs of a schedule.

    The ends of the phases are rounded, so that no error adds up; each phase has a step at least.

    Args:
        phases: epochs > 0, whole or not.
        steps_per_epoch: >= 1.
    """
    done, epochs, pairs = 0, 0.0, []
    for length, period in phases:
        epochs += length
        end = max(done + 1, round(epochs * steps_per_epoch))
        pairs.append((end - done, period))
        done = end
    return pairs
