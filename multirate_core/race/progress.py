"""How far a race is, and how long it still takes: from training seconds done and expected."""

from __future__ import annotations

from collections.abc import Sequence

from multirate_core.config import Budget
from multirate_core.events import Progress
from multirate_core.training.lane import Lane


def expected_total_s(lane: Lane, budget: Budget) -> float | None:
    """Return the training seconds that a lane will have had in the end; None before its first step."""
    if budget.seconds is not None:
        return budget.seconds
    if lane.step_s is None or budget.epochs is None:
        return None
    left = budget.epochs * lane.order.steps_per_epoch - lane.steps
    return lane.train_seconds + left * lane.step_s


class ProgressMeter:
    """Adds up the seeds of a race; lanes of later seeds are expected to take as long as this seed's.

    Args:
        budget: of every lane.
        seeds: how many the race has.
    """

    def __init__(self, budget: Budget, seeds: int) -> None:
        self._budget = budget
        self._seeds_left = seeds
        self._trained_s = 0.0
        self._wall_s = 0.0
        self._highest = 0.0

    def finish_seed(self, lanes: Sequence[Lane], wall_s: float) -> None:
        """Note what a seed took: wall seconds without pauses and compiling."""
        self._seeds_left -= 1
        self._trained_s += sum(lane.train_seconds for lane in lanes)
        self._wall_s += wall_s

    def read(self, lanes: Sequence[Lane], active: Sequence[Lane], wall_s: float) -> Progress:
        """Return the progress in the middle of a seed.

        Args:
            lanes: all lanes of the seed.
            active: those that still train.
            wall_s: since the seed began, without pauses and compiling.
        """
        totals = [expected_total_s(lane, self._budget) if lane in active else lane.train_seconds for lane in lanes]
        known = [total for total in totals if total is not None]
        seed_s, done_s = sum(known), self._trained_s + sum(lane.train_seconds for lane in lanes)
        all_s = self._trained_s + seed_s * self._seeds_left
        if len(known) < len(totals) or done_s <= 0 or all_s <= 0:
            return Progress(self._highest, None)
        fraction = min(1.0, done_s / all_s)
        self._highest = max(self._highest, fraction)  # forecasts change, a bar that runs back only confuses
        return Progress(self._highest, (self._wall_s + wall_s) * (1.0 - fraction) / fraction)
