"""The marks: equal distances of training seconds at which every lane is tested."""

from __future__ import annotations

import math


class Marks:
    """Marks of a race, the same for all lanes and seeds.

    Args:
        count: how many there are on the longest lane.
        total_s: training seconds of the longest lane; None until it is known.
    """

    def __init__(self, count: int, total_s: float | None = None) -> None:
        self.count = count
        self.spacing_s = None if total_s is None else total_s / count

    def next_after(self, train_seconds: float) -> float:
        """Return the first mark after a lane's clock, or infinity while the spacing is not known."""
        if self.spacing_s is None:
            return math.inf
        passed = math.floor(train_seconds / self.spacing_s + 1e-9)  # a clock on a mark, but for rounding, passed it
        return (passed + 1) * self.spacing_s

    def fit_to(self, slowest_total_s: float) -> None:
        """Spread the marks over the longest expected training time of a lane; later lanes keep the spacing."""
        if self.spacing_s is None:
            self.spacing_s = slowest_total_s / self.count
