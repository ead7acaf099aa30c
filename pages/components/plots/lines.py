"""What is drawn for each lane: its name, colour, dash, and smoothed values over the chosen x axis. No streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from pages.components.plots.buckets import BucketColumns, Column, thinned, trailing_mean
from pages.components.plots.curves import LaneCurve, RaceCurves

Axis = Literal["seconds", "steps", "epochs"]

# Grey for the first arm, which is SGD as a rule, and colours that colour-blind people can tell apart, mostly Okabe and
# Ito's. Orange and blue come last: on the board they mean fast and slow. All have a contrast of 3 : 1 or more on both
# themes' backgrounds. From the eighth arm on the colours come again, with other markers: 49 arms differ in one or the
# other.
# Source: M. Okabe, K. Ito, "Color Universal Design", 2008.
COLOURS = ("#7D7D7D", "#8A5CF0", "#009E73", "#CC79A7", "#9A8300", "#D55E00", "#0072B2")
MARKERS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "cross")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

MOST_LINES = 24  # more cannot be told apart; the newest seeds are kept
MOST_POINTS = 4000  # of all lines together, in each of their columns
SMOOTH_STEPS = 10  # the line is a mean over at least so many steps,
SMOOTH_FRACTION = 0.01  # or over this part of the race


def colour_of(style: int) -> str:
    """Return the colour of the n-th arm that is drawn."""
    return COLOURS[style % len(COLOURS)]


def marker_of(style: int) -> str:
    """Return the symbol of the n-th arm that is drawn: with every round through the colours the next one."""
    return MARKERS[(style + style // len(COLOURS)) % len(MARKERS)]


@dataclass(frozen=True, eq=False)
class Line:
    """A lane as it is drawn.

    Args:
        key: unique among the lines, and the same at every refresh.
        label: in the legend; lines of one arm share it.
        arm_key: equal for the lines of one arm of one race.
        style: counts the arms that are drawn: chooses colour and marker.
        curve: what was recorded.
        buckets: of the curve, as many as are drawn.
        window: number of buckets that one point of the line is the mean of.
    """

    key: str
    label: str
    arm_key: str
    style: int
    curve: LaneCurve
    buckets: BucketColumns
    window: int

    @property
    def colour(self) -> str:
        """Of the arm."""
        return colour_of(self.style)

    @property
    def marker(self) -> str:
        """Symbol of the arm's evaluations."""
        return marker_of(self.style)

    @property
    def dash(self) -> str:
        """Of the seed."""
        return DASHES[self.curve.seed_index % len(DASHES)]

    @property
    def window_steps(self) -> int:
        """How many steps a point of the line is the mean of."""
        return round(self.window * float(np.median(self.buckets.steps))) if len(self.buckets.steps) else 0

    def x(self, axis: Axis) -> Column:
        """Return the buckets' place on the x axis."""
        if axis == "seconds":
            return self.buckets.train_seconds
        return self.buckets.step if axis == "steps" else self.buckets.step * epochs_per_step(self.curve)

    def evaluated_x(self, axis: Axis) -> Column:
        """Return the evaluations' place on the x axis."""
        tested = self.curve.evaluations
        return {"seconds": tested.train_seconds, "steps": tested.step, "epochs": tested.epoch}[axis]

    @cached_property
    def loss(self) -> Column:
        """Smoothed minibatch loss of each bucket."""
        return trailing_mean(self.buckets.loss, self.buckets.steps, self.window)

    @cached_property
    def full_step_ms(self) -> Column:
        """Smoothed time of the steps with a gradient for every group that the arm trains, in ms."""
        return 1e3 * trailing_mean(self.buckets.full_seconds, self.buckets.full_steps, self.window)

    @cached_property
    def partial_step_ms(self) -> Column:
        """Smoothed time of the other steps, in ms; NaN where there is none."""
        return 1e3 * trailing_mean(self.buckets.partial_seconds, self.buckets.partial_steps, self.window)


def epochs_per_step(curve: LaneCurve) -> float:
    """Return the part of an epoch that one step is; NaN as long as it is unknown."""
    tested = curve.evaluations
    if len(tested.step) and tested.step[-1] > 0:
        return float(tested.epoch[-1] / tested.step[-1])
    return curve.epochs / curve.steps if curve.steps and curve.epochs else float("nan")


def lines_of(races: Sequence[tuple[str, RaceCurves]]) -> tuple[Line, ...]:
    """Return the lines of one or several races, by race and lane; lanes that have not begun are left out.

    The figure and its summary ask for the same lines, so the newest answers are kept.

    Args:
        races: a title for the legend ("" for a race that is drawn alone) and the curves of each race.
    """
    return _lines_of(tuple(races))


@lru_cache(maxsize=16)
def _lines_of(races: tuple[tuple[str, RaceCurves], ...]) -> tuple[Line, ...]:
    share = max(1, MOST_LINES // max(1, len(races)))
    kept = [_begun(curves)[-share:] for _, curves in races]
    most = max(100, MOST_POINTS // max(1, sum(map(len, kept))))
    lines, offset = [], 0
    for (title, curves), lanes in zip(races, kept, strict=True):
        for lane in lanes:
            arm_key = f"{curves.race}-{lane.arm_index}"
            label = f"{title} · {lane.arm}" if title else lane.arm
            lines.append(_line(f"{arm_key}-{lane.seed}", label, arm_key, offset + lane.arm_index, lane, most))
        offset += len({lane.arm for lane in curves.lanes})
    return tuple(lines)


def lines_left_out(races: Sequence[tuple[str, RaceCurves]]) -> int:
    """Return how many lanes have begun but are not drawn."""
    return sum(len(_begun(curves)) for _, curves in races) - len(lines_of(races))


def _begun(curves: RaceCurves) -> list[LaneCurve]:
    return [lane for lane in curves.lanes if lane.steps or len(lane.evaluations.step)]


def _line(key: str, label: str, arm_key: str, style: int, lane: LaneCurve, most: int) -> Line:
    buckets = thinned(lane.buckets, most)
    slowest = max(group.period for group in lane.groups)
    wanted = max(SMOOTH_STEPS, 2 * slowest, SMOOTH_FRACTION * lane.recorded)
    width = float(buckets.steps[0]) if len(buckets.steps) else 1.0
    return Line(key, label, arm_key, style, lane, buckets, max(1, round(wanted / width)))
