"""What a race says while it runs: frozen dataclasses that the engine yields and the worker writes down.

A *lane* is one arm at one seed; lanes are numbered in the order of `RaceConfig.lanes`. Standard library only.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Literal

from multirate_core.metrics import Metric

Outcome = Literal["finished", "stopped", "diverged", "out_of_memory", "failed", "lost"]
OUTCOMES: tuple[Outcome, ...] = ("finished", "stopped", "diverged", "out_of_memory", "failed", "lost")

# Seconds of wall time that are not training, each with its name; training + these = wall.
Excluded = Literal["loading", "evaluation", "compiling", "recording", "other_arms", "paused", "other"]
EXCLUDED: tuple[Excluded, ...] = ("loading", "evaluation", "compiling", "recording", "other_arms", "paused", "other")


@dataclass(frozen=True)
class PhaseChanged:
    """The worker does something that takes a while: "loading data", "building glyph_net", "training seed 0"."""

    text: str


@dataclass(frozen=True)
class EnvironmentFound:
    """What the race runs on and with: device, device name, threads, versions, notes about data and weights."""

    values: dict[str, str]


@dataclass(frozen=True)
class StepsRecorded:
    """Consecutive steps of one lane; all arrays have the same length.

    Args:
        lane: number of the lane.
        first_step: 0-based index of the first step in the arrays.
        train_seconds: the lane's clock after each step, in training seconds ("d").
        loss: minibatch loss at each step ("f").
        step_seconds: duration of each step, in seconds ("f").
        due: bit g is set where group g had a gradient at that step; group order of the arm's partition ("Q").
        epochs: done after the last step, with fraction; 0 if whoever recorded the steps does not know.
    """

    lane: int
    first_step: int
    train_seconds: array[float]
    loss: array[float]
    step_seconds: array[float]
    due: array[int]
    epochs: float = 0.0


@dataclass(frozen=True)
class Evaluated:
    """The lane's model was tested on the whole test part.

    Args:
        lane: number of the lane.
        step: steps done before this evaluation.
        epoch: epochs done, with fraction.
        train_seconds: the lane's clock.
        accuracy: fraction in [0, 1].
        loss: mean test loss.
        reason: "start", "epoch", "mark" (one of 20 equal marks of training seconds) or "end".
        balanced_accuracy: mean recall, a fraction in [0, 1]; None, as the next two, of too many classes to tell, and of
            races that are older than these metrics.
        macro_f1: mean F1 of the classes, a fraction in [0, 1].
        mcc: Matthews' correlation, in [-1, 1].
    """

    lane: int
    step: int
    epoch: float
    train_seconds: float
    accuracy: float
    loss: float
    reason: Literal["start", "epoch", "mark", "end"]
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    mcc: float | None = None

    def score(self, metric: Metric) -> float | None:
        """Return the value of a metric, None if it is not known."""
        value: float | None = getattr(self, metric)
        return value


@dataclass(frozen=True)
class LaneClock:
    """Where a lane's wall time went so far, in seconds."""

    lane: int
    wall_seconds: float
    train_seconds: float
    excluded: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LaneEnded:
    """A lane is over; the others may go on."""

    lane: int
    outcome: Outcome
    message: str
    steps: int
    epochs: float
    train_seconds: float


@dataclass(frozen=True)
class Progress:
    """How far the whole race is: fraction in [0, 1] and an estimate of the wall seconds left (None if unknown)."""

    fraction: float
    seconds_left: float | None


Event = PhaseChanged | EnvironmentFound | StepsRecorded | Evaluated | LaneClock | LaneEnded | Progress
