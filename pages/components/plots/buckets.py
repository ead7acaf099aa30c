"""A lane's steps, summed up in a bounded number of buckets while they arrive. No streamlit.

Every bucket holds equally many consecutive steps. When the room is used up, neighbours are joined and a bucket holds
twice as many steps from then on. A new step therefore costs the same however long the race is, nothing is ever summed
up again from the start, and the lowest and highest loss of every bucket stay: a spike is never lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multirate_core.store import StepColumns

Column = NDArray[np.float64]

CAPACITY = 500

# How a column of two neighbouring buckets becomes that of their union.
JOIN: dict[str, np.ufunc] = {
    "steps": np.add,
    "train_seconds": np.add,
    "loss": np.add,
    "loss_low": np.fmin,
    "loss_high": np.fmax,
    "full_steps": np.add,
    "full_seconds": np.add,
    "partial_steps": np.add,
    "partial_seconds": np.add,
}


@dataclass(frozen=True, eq=False)
class BucketColumns:
    """One entry per bucket; all arrays have the same length n and are float64.

    Args:
        step: mean step number in the bucket, counted from 1.
        train_seconds: mean of the lane's clock in the bucket, in training seconds.
        steps: how many steps the bucket holds.
        loss: sum of the minibatch losses; NaN if one of them is not finite.
        loss_low: smallest minibatch loss.
        loss_high: largest minibatch loss.
        full_steps: how many steps gave a gradient to every group that the arm trains.
        full_seconds: how long those took together, in seconds.
        partial_steps: how many of the other steps there are.
        partial_seconds: how long those took together, in seconds.
    """

    step: Column
    train_seconds: Column
    steps: Column
    loss: Column
    loss_low: Column
    loss_high: Column
    full_steps: Column
    full_seconds: Column
    partial_steps: Column
    partial_seconds: Column


class Buckets:
    """The running summary of one lane.

    Args:
        capacity: largest number of buckets, even, >= 2; after joining there are half as many.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.width = 1  # steps per bucket
        self.total = 0  # steps seen
        self._trained = np.uint64(0)  # bit g is set once group g had a gradient
        self._table = {name: np.zeros(capacity) for name in JOIN}

    def append(self, columns: StepColumns) -> None:
        """Add the steps that follow the ones already seen."""
        if not len(columns):
            return
        while self.total + len(columns) > self.capacity * self.width:
            self._coarsen()
        self._trained |= np.bitwise_or.reduce(columns.due)
        place = (self.total + np.arange(len(columns))) // self.width
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        first = self.total // self.width
        open_bucket = self.total % self.width != 0
        for name, values in _values(columns, self._trained).items():
            joined = JOIN[name].reduceat(values, starts)
            if open_bucket:
                joined[0] = JOIN[name](joined[0], self._table[name][first])
            self._table[name][first : first + len(joined)] = joined
        self.total += len(columns)

    def columns(self) -> BucketColumns:
        """Return a copy of what is there now."""
        kept = {name: table[: self._count()].copy() for name, table in self._table.items()}
        end = np.cumsum(kept["steps"])
        kept["train_seconds"] /= np.maximum(kept["steps"], 1)
        return BucketColumns(step=end - (kept["steps"] - 1) / 2, **kept)

    def _count(self) -> int:
        return -(-self.total // self.width)

    def _coarsen(self) -> None:
        """Join neighbours; a last one without a neighbour stays alone and is filled up by the next steps."""
        count = self._count()
        for name, table in self._table.items():
            pairs = np.arange(0, count, 2)
            table[: len(pairs)] = JOIN[name].reduceat(table[:count], pairs) if count else table[:0]
        self.width *= 2


def _values(columns: StepColumns, trained: np.uint64) -> dict[str, Column]:
    """Return every step as a bucket of its own."""
    loss = np.where(np.isfinite(columns.loss), columns.loss, np.nan).astype(np.float64)
    seconds = columns.step_seconds.astype(np.float64)
    full = (columns.due == trained).astype(np.float64)
    return {
        "steps": np.ones(len(columns)),
        "train_seconds": columns.train_seconds.astype(np.float64),
        "loss": loss,
        "loss_low": loss,
        "loss_high": loss,
        "full_steps": full,
        "full_seconds": full * seconds,
        "partial_steps": 1 - full,
        "partial_seconds": (1 - full) * seconds,
    }


def thinned(columns: BucketColumns, most: int) -> BucketColumns:
    """Return at most `most` (>= 1) buckets, made by joining neighbours."""
    count = len(columns.steps)
    if count <= most:
        return columns
    starts = np.arange(0, count, -(-count // most))
    joined = {name: JOIN[name].reduceat(getattr(columns, name), starts) for name in JOIN}
    weights = joined["steps"]
    joined["train_seconds"] = np.add.reduceat(columns.train_seconds * columns.steps, starts) / weights
    return BucketColumns(step=np.add.reduceat(columns.step * columns.steps, starts) / weights, **joined)


def trailing_mean(sums: Column, counts: Column, window: int) -> Column:
    """Return the mean over each bucket and those before it, `window` (>= 1) buckets in all.

    Args:
        sums: of each bucket, (n,); what is not finite is left out.
        counts: of each bucket, (n,).

    Returns:
        (n,), NaN where nothing was counted.
    """
    known = np.isfinite(sums)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, sums, 0.0))])
    number = np.concatenate([[0.0], np.cumsum(np.where(known, counts, 0.0))])
    last = np.arange(1, len(sums) + 1)
    first = np.maximum(last - window, 0)
    counted = number[last] - number[first]
    mean: Column = np.full(len(sums), np.nan)
    np.divide(total[last] - total[first], counted, out=mean, where=counted > 0)
    return mean
