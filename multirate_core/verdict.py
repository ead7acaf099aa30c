"""How much faster was it? Three true answers from two arms' curves: at equal epochs, to a target, at equal seconds.

Between two tests a curve is taken to be straight. Numbers are means over the seeds in which neither arm diverged.
Source: the authors' poster (Vlaar & Leimkuhler, ICML 2022) reports the first answer; its table read in all three ways
is a test of this module. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from multirate_core.events import Evaluated
from multirate_core.metrics import Metric

# Targets of the sweep: how much of the metric that SGD gained from its first test to its best one.
GAINS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


class CurvePoint(NamedTuple):
    """A test: the lane's clock in training seconds, epochs done, and the metric that the race is judged by."""

    train_seconds: float
    epoch: float
    score: float


Curve = tuple[CurvePoint, ...]


@dataclass(frozen=True)
class EqualEpochs:
    """Training seconds of both arms after the same number of epochs, and their ratio."""

    epochs: float
    sgd_seconds: float
    other_seconds: float

    @property
    def speedup(self) -> float:
        """SGD's seconds divided by the other arm's."""
        return self.sgd_seconds / self.other_seconds


@dataclass(frozen=True)
class ToTarget:
    """Training seconds until each arm first reached a target; None where some seed never did.

    `other_seeds` counts the seeds at which the other arm did.
    """

    target: float
    sgd_seconds: float | None
    other_seconds: float | None
    other_seeds: int

    @property
    def speedup(self) -> float | None:
        """SGD's seconds divided by the other arm's; None if either never arrived or needed no time."""
        if self.sgd_seconds is None or not self.other_seconds:
            return None
        return self.sgd_seconds / self.other_seconds


@dataclass(frozen=True)
class EqualSeconds:
    """The metric of both arms after the same training seconds: those of the arm that ended first."""

    seconds: float
    sgd: float
    other: float


@dataclass(frozen=True)
class ThreeAnswers:
    """What happened between SGD and another arm.

    Args:
        equal_epochs: None if an arm has no step yet.
        to_target: a sweep of targets up to SGD's best; () without a common seed.
        equal_seconds: None without a common seed.
        seeds: how many pairs the numbers are means of.
    """

    equal_epochs: EqualEpochs | None
    to_target: tuple[ToTarget, ...]
    equal_seconds: EqualSeconds | None
    seeds: int

    @property
    def caution(self) -> str:
        """Say how much weight the numbers bear."""
        if self.seeds == 0:
            return "nothing to compare"
        return "one run: no verdict" if self.seeds == 1 else f"means over {self.seeds} seeds"


def curve(evaluations: Sequence[Evaluated], metric: Metric = "accuracy") -> Curve:
    """Return one lane's curve from its tests, in the order of its clock; tests without the metric are left out."""
    scored = [(test, test.score(metric)) for test in evaluations]
    points = [CurvePoint(test.train_seconds, test.epoch, score) for test, score in scored if score is not None]
    return tuple(sorted(points))


def three_answers(sgd: Sequence[Curve], other: Sequence[Curve], targets: Sequence[float] | None = None) -> ThreeAnswers:
    """Compare an arm with SGD.

    Args:
        sgd: one curve per seed.
        other: the other arm's curves, of the same seeds in the same order.
        targets: values of the metric to reach; None takes a sweep up to the best that SGD reached at every seed.
    """
    pairs = [(a, b) for a, b in zip(sgd, other, strict=True) if a and b]
    if not pairs:
        return ThreeAnswers(None, (), None, 0)
    if targets is None:
        targets = sweep([a for a, _ in pairs])
    return ThreeAnswers(
        _equal_epochs(pairs), tuple(_to_target(pairs, target) for target in targets), _equal_seconds(pairs), len(pairs)
    )


def sweep(curves: Sequence[Curve]) -> tuple[float, ...]:
    """Return rising targets up to the best value that every one of the curves reached."""
    start = max(each[0].score for each in curves)
    best = min(max(point.score for point in each) for each in curves)
    if best <= start:
        return (best,)
    return tuple(best if gain == 1.0 else start + gain * (best - start) for gain in GAINS)


def seconds_at_epoch(points: Curve, epoch: float) -> float:
    """Return the training seconds at which a curve had done so many epochs, which lie on it."""
    return _interpolate([(point.epoch, point.train_seconds) for point in points], epoch)


def score_at(points: Curve, train_seconds: float) -> float:
    """Return the metric of a curve at a time on it."""
    return _interpolate([(point.train_seconds, point.score) for point in points], train_seconds)


def seconds_to(points: Curve, target: float) -> float | None:
    """Return when a curve first crossed a target, None if it never did."""
    if points[0].score >= target:
        return points[0].train_seconds
    for before, after in pairwise(points):
        if after.score >= target:  # so before.score < target
            share = (target - before.score) / (after.score - before.score)
            return before.train_seconds + share * (after.train_seconds - before.train_seconds)
    return None


def _equal_epochs(pairs: Sequence[tuple[Curve, Curve]]) -> EqualEpochs | None:
    """Compare at the largest epoch that both arms of a seed have reached."""
    rows = []
    for a, b in pairs:
        epoch = min(a[-1].epoch, b[-1].epoch)
        rows.append((epoch, seconds_at_epoch(a, epoch), seconds_at_epoch(b, epoch)))
    epochs, sgd_seconds, other_seconds = (fmean(column) for column in zip(*rows, strict=True))
    return EqualEpochs(epochs, sgd_seconds, other_seconds) if sgd_seconds > 0 and other_seconds > 0 else None


def _to_target(pairs: Sequence[tuple[Curve, Curve]], target: float) -> ToTarget:
    """Compare the mean times to a target; an arm that misses it at one seed has none."""
    sgd_seconds = [seconds_to(a, target) for a, _ in pairs]
    other_seconds = [seconds_to(b, target) for _, b in pairs]
    reached = sum(seconds is not None for seconds in other_seconds)
    return ToTarget(target, _mean_of_all(sgd_seconds), _mean_of_all(other_seconds), reached)


def _equal_seconds(pairs: Sequence[tuple[Curve, Curve]]) -> EqualSeconds:
    """Compare at the smaller of the two final clocks of each seed."""
    ends = [min(a[-1].train_seconds, b[-1].train_seconds) for a, b in pairs]
    return EqualSeconds(
        fmean(ends),
        fmean(score_at(a, end) for (a, _), end in zip(pairs, ends, strict=True)),
        fmean(score_at(b, end) for (_, b), end in zip(pairs, ends, strict=True)),
    )


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return y at x on the straight lines between points sorted by x; beyond the ends, y of the end."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= x < x1:
            return y0 + (x - x0) / (x1 - x0) * (y1 - y0)
    return points[0][1] if x < points[0][0] else points[-1][1]
