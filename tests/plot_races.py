"""Races with made-up curves in a real store, for the tests of the plots."""

from __future__ import annotations

from array import array

import numpy as np

from multirate_core import store as races
from multirate_core.config import ArmConfig, GroupSpec, PartitionSpec, RaceConfig, Rule
from multirate_core.events import Evaluated, LaneEnded, StepsRecorded
from multirate_core.store import Store

STEPS_PER_EPOCH = 50
FULL_MS, SHORT_MS = 8.0, 3.0


def partition(period: int = 5) -> PartitionSpec:
    return PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", period)), (Rule("fc", "fast"), Rule("*", "slow")))


def config(seeds: tuple[int, ...] = (0,), period: int = 5, record_steps: bool = True) -> RaceConfig:
    """SGD against multirate."""
    arms = (ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", partition(period)))
    return RaceConfig(arms=arms, seeds=seeds, record_steps=record_steps)


class Recorder:
    """Writes the steps of one lane, the way a worker does."""

    def __init__(self, store: Store, race: str, lane: int, period: int, seed: int = 0) -> None:
        self.store, self.race, self.lane, self.period = store, race, lane, period
        self.random = np.random.default_rng([seed, lane])
        self.step, self.seconds = 0, 0.0

    def take(self, count: int, **overrides: np.ndarray) -> StepsRecorded:
        """Record `count` steps and an evaluation at every epoch's end."""
        steps = self.step + np.arange(count)
        full = steps % self.period == 0
        step_s = np.where(full, FULL_MS, SHORT_MS) * self.random.uniform(0.95, 1.1, count) / 1e3
        clock = self.seconds + np.cumsum(step_s)
        loss = overrides.get("loss", 2.3 * np.exp(-steps / 150) + 0.1 + 0.2 * self.random.random(count))
        due = np.where(full, 3, 1) if self.period > 1 else np.ones(count, int)
        numbers = {"train_seconds": array("d", clock), "loss": array("f", loss), "step_seconds": array("f", step_s)}
        event = StepsRecorded(self.lane, self.step, **numbers, due=array("Q", due.tolist()))
        tested = [
            self._tested(step + 1, clock[step - self.step]) for step in steps if (step + 1) % STEPS_PER_EPOCH == 0
        ]
        races.record(self.store, self.race, [event, *tested])
        self.step, self.seconds = self.step + count, float(clock[-1])
        return event

    def end(self, outcome: str) -> None:
        epochs = self.step / STEPS_PER_EPOCH
        races.record(self.store, self.race, [LaneEnded(self.lane, outcome, "", self.step, epochs, self.seconds)])

    def _tested(self, step: int, clock: float) -> Evaluated:
        accuracy = float(0.97 - 0.85 * np.exp(-step / 120))
        by_class = (accuracy - 0.05, accuracy - 0.1, 2 * accuracy - 1)
        return Evaluated(
            self.lane, int(step), float(step / STEPS_PER_EPOCH), float(clock), accuracy, 0.3, "epoch", *by_class
        )


def recorders(store: Store, race: str, seeds: tuple[int, ...] = (0,), period: int = 5) -> list[Recorder]:
    """One recorder for each lane of a race of `config`, in order."""
    return [Recorder(store, race, lane, (1, period)[lane % 2], seeds[lane // 2]) for lane in range(2 * len(seeds))]
