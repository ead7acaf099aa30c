"""A race that records made-up steps as fast or as slowly as wanted: an engine for the plots, without torch."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from multirate_core.config import ArmConfig, Budget, GroupSpec, PartitionSpec, RaceConfig, Rule
from multirate_core.events import Evaluated, Event, LaneEnded, PhaseChanged, Progress, StepsRecorded

STEPS_PER_EPOCH = 1_000
STEPS_PER_COMMIT = 150  # of a lane: what a worker writes in 0.3 s at 2 ms a step
K = 5
FULL_S, SHORT_S = 0.008, 0.003  # a step with all gradients, and one without the slow ones
TURN_S = 0.1

Control = Callable[[], Literal["go", "pause", "stop"]]


@dataclass(frozen=True)
class MadeUpRace:
    """An engine (see `multirate_core.worker.Engine`): many steps at once, then a steady trickle until it is stopped.

    Args:
        steps: of each lane that are recorded at once.
        steps_per_second: of each lane after that.
        filled: called when the first part is recorded.
    """

    steps: int
    steps_per_second: int
    filled: Callable[[], None]

    def __call__(self, config: RaceConfig, control: Control) -> Iterator[Event]:
        """Yield the events of a race of two lanes."""
        lanes = [_Curve(lane, 1 if arm == "sgd" else K) for lane, (_, arm) in enumerate(config.lanes)]
        for first in range(0, self.steps, STEPS_PER_COMMIT):
            for lane in lanes:
                yield from lane.take(min(STEPS_PER_COMMIT, self.steps - first))
            yield PhaseChanged("training seed 0")  # what is announced is committed at once: one chunk per commit
        yield Progress(0.5, 60.0)
        yield PhaseChanged("training seed 0")
        self.filled()
        while control() != "stop":
            time.sleep(TURN_S)
            for lane in lanes:
                yield from lane.take(round(self.steps_per_second * TURN_S))
            yield Progress(0.5, 60.0)
        for lane in lanes:
            yield LaneEnded(lane.lane, "stopped", "", lane.step, lane.step / STEPS_PER_EPOCH, lane.seconds)


def made_up_config() -> RaceConfig:
    """Return SGD against multirate with a fast head."""
    groups = (GroupSpec("fast", 1), GroupSpec("slow", K))
    partition = PartitionSpec(groups, (Rule("fc", "fast"), Rule("*", "slow")))
    arms = (ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", partition))
    return RaceConfig(arms=arms, budget=Budget(epochs=1_000), device="cpu")


class _Curve:
    """One lane's made-up curve, drawn from a seed."""

    def __init__(self, lane: int, period: int) -> None:
        self.lane, self.step, self.seconds = lane, 0, 0.0
        self._period = period
        self._random = np.random.default_rng(lane)

    def take(self, count: int) -> Iterator[Event]:
        """Yield the next steps, and an evaluation for each epoch that ends in them."""
        steps = self.step + np.arange(count)
        full = steps % self._period == 0
        step_s = np.where(full, FULL_S, SHORT_S) * self._random.uniform(0.95, 1.1, count)
        clock = self.seconds + np.cumsum(step_s)
        loss = 0.1 + 2.2 * np.exp(-steps / 20_000) + 0.3 * self._random.random(count)
        yield StepsRecorded(
            self.lane,
            self.step,
            train_seconds=array("d", clock),
            loss=array("f", loss),
            step_seconds=array("f", step_s),
            due=array("Q", np.where(full, (1 << (1 + (self._period > 1))) - 1, 1).tolist()),
        )
        for index in np.flatnonzero((steps + 1) % STEPS_PER_EPOCH == 0):
            step = int(steps[index]) + 1
            accuracy = 0.97 - 0.85 * float(np.exp(-step / 15_000))
            yield Evaluated(self.lane, step, step / STEPS_PER_EPOCH, float(clock[index]), accuracy, 0.3, "epoch")
        self.step, self.seconds = self.step + count, float(clock[-1])
