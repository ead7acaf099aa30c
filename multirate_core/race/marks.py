"""The marks: equal distances of training seconds at which every lane is tested."""

from __future__ import annotations

import math

MARKS = 20


class Marks:
    """Marks of a race, the same for all lanes and seeds.

    Args:
        spacing_s: training seconds between two marks; None until it is known.
    """

    def __init__(self, spacing_s: float | None = None) -> None:
        self.spacing_s = spacing_s

    def next_after(self, train_seconds: float) -> float:
        """Return the first mark after a lane's clock, or infinity while the spacing is not known."""
        if self.spacing_s is None:
            return math.inf
        passed = math.floor(train_seconds / self.spacing_s + 1e-9)  # a clock on a mark, but for rounding, passed it
        return (passed + 1) * self.spacing_s

    def fit_to(self, slowest_total_s: float) -> None:
        """Spread 20 marks over the longest expected training time of a lane; later lanes keep the spacing."""
        if self.spacing_s is None:
            self.spacing_s = slowest_total_s / MARKS
