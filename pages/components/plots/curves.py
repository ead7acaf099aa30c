"""The recorded curves of races, read once for all tabs. No streamlit.

Every tab that watches a race asks `race_curves` once a second. The first one reads the steps that are new in the store
and adds them to the buckets; the others get the same answer. What is returned never changes, so a drawing made from it
can be shared as well.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multirate_core import home
from multirate_core import store as races
from multirate_core.config import ArmConfig, GroupSpec, RaceConfig
from multirate_core.events import Evaluated
from multirate_core.metrics import METRICS, Metric
from multirate_core.store import LaneRow, Store
from pages.components.plots.buckets import BucketColumns, Buckets, Column

FRESH_S = 0.5  # tabs that ask within this time share one reading
RECENT_STEPS = 600  # for how many of the last steps it is kept which groups had gradients
MOST_RACES = 32  # that are remembered; about 50 kB a lane


@dataclass(frozen=True, eq=False)
class Evaluations:
    """One entry per evaluation of a lane, in the order in which they were made; all float64.

    Args:
        step: steps done before it.
        epoch: epochs done before it.
        train_seconds: the lane's clock, in training seconds.
        accuracy: fraction in [0, 1], NaN if the network gave no finite numbers.
        balanced_accuracy, macro_f1: fractions in [0, 1], NaN where they are not known.
        mcc: in [-1, 1], NaN where it is not known.
    """

    step: Column
    epoch: Column
    train_seconds: Column
    accuracy: Column
    balanced_accuracy: Column
    macro_f1: Column
    mcc: Column

    def score(self, metric: Metric) -> Column:
        """Return the column of a metric."""
        column: Column = getattr(self, metric)
        return column


@dataclass(frozen=True, eq=False)
class LaneCurve:
    """What one lane recorded so far.

    Args:
        arm: title of its arm: its name, but "adamw" for the plain arm where that is the base rule.
        arm_index: place of the arm in the race.
        seed: of this lane.
        seed_index: place of the seed in the race.
        groups: of the arm's partition, in the order of the bits of `due`; one group "all" for the plain arm.
        outcome: None while it runs.
        steps: done so far.
        epochs: done so far.
        train_seconds: the lane's clock.
        buckets: its steps.
        due: uint64, the last recorded steps, at most `RECENT_STEPS`; bit g is set where group g had a gradient.
        recorded: number of recorded steps; the last entry of `due` is step number `recorded`, counted from 1.
        evaluations: of the test part.
    """

    arm: str
    arm_index: int
    seed: int
    seed_index: int
    groups: tuple[GroupSpec, ...]
    outcome: str | None
    steps: int
    epochs: float
    train_seconds: float
    buckets: BucketColumns
    due: NDArray[np.uint64]
    recorded: int
    evaluations: Evaluations


@dataclass(frozen=True, eq=False)
class RaceCurves:
    """The lanes of a race at one moment, in order. A new object exactly when something was recorded since the last."""

    race: str
    lanes: tuple[LaneCurve, ...]
    metric: Metric = "accuracy"  # what the race is judged by


def race_curves(race_id: str, path: Path | None = None) -> RaceCurves:
    """Return what the race recorded so far; several threads may ask at once.

    Args:
        race_id: of the race.
        path: of the store; None takes the one in the user data folder.

    Raises:
        RaceNotFoundError: there is no such race.
        StoreError: the store cannot be read.
    """
    place = path or home.store_path()
    recording = _remembered(race_id, place)
    with recording.lock:
        if time.monotonic() - recording.read_at >= FRESH_S:
            try:
                with races.open_store(place) as store:
                    recording.read(store)
            except BaseException:
                _forget(race_id, place)  # it was deleted, or is half read
                raise
        return recording.curves


class _Recording:
    """A race that is read step by step."""

    def __init__(self, race_id: str) -> None:
        self.lock = threading.Lock()
        self.read_at = -float("inf")
        self.curves = RaceCurves(race_id, ())
        self._config: RaceConfig | None = None
        self._buckets: dict[int, Buckets] = {}
        self._due: dict[int, NDArray[np.uint64]] = {}
        self._tested: dict[int, list[Evaluated]] = {}
        self._mark = 0  # up to which the evaluations were read
        self._seen: dict[int, object] = {}

    def read(self, store: Store) -> None:
        """Add what is new; `curves`, and every lane in it, stays the same object if nothing is."""
        race_id = self.curves.race
        rows = races.lanes(store, race_id)
        if self._config is None or not rows:  # without lanes it was deleted, and this says so
            self._config = races.get_race(store, race_id).config
        new, self._mark = races.evaluations_after(store, race_id, self._mark)
        for event in new:
            self._tested.setdefault(event.lane, []).append(event)
        lanes = tuple(self._lane(store, self._config, row) for row in rows)
        if lanes != self.curves.lanes:
            self.curves = RaceCurves(race_id, lanes, self._config.metric)
        self.read_at = time.monotonic()

    def _lane(self, store: Store, config: RaceConfig, row: LaneRow) -> LaneCurve:
        buckets = self._buckets.setdefault(row.lane, Buckets())
        if config.record_steps and row.steps > buckets.total:
            self._read_steps(store, row.lane, buckets)
        tested = self._tested.get(row.lane, [])
        seen = (buckets.total, row.steps, row.epochs, row.train_seconds, row.outcome, len(tested))
        if self._seen.get(row.lane) == seen:
            return self.curves.lanes[row.lane]
        self._seen[row.lane] = seen
        return self._curve(config, row, tested)

    def _read_steps(self, store: Store, lane: int, buckets: Buckets) -> None:
        new = races.steps_since(store, self.curves.race, lane, buckets.total)
        buckets.append(new)
        before = self._due.get(lane, np.empty(0, np.uint64))
        self._due[lane] = np.concatenate([before, new.due[-RECENT_STEPS:]])[-RECENT_STEPS:]

    def _curve(self, config: RaceConfig, row: LaneRow, tested: list[Evaluated]) -> LaneCurve:
        place = [arm.name for arm in config.arms].index(row.arm)
        return LaneCurve(
            arm=config.title(row.arm),
            arm_index=place,
            seed=row.seed,
            seed_index=config.seeds.index(row.seed),
            groups=groups_of(config.arms[place]),
            outcome=row.outcome,
            steps=row.steps,
            epochs=row.epochs,
            train_seconds=row.train_seconds,
            buckets=self._buckets[row.lane].columns(),
            due=self._due.get(row.lane, np.empty(0, np.uint64)),
            recorded=self._buckets[row.lane].total,
            evaluations=_columns(tested),
        )


def groups_of(arm: ArmConfig) -> tuple[GroupSpec, ...]:
    """Return the groups whose gradients the arm records, in the order of their bits."""
    return arm.partition.groups if arm.partition else (GroupSpec("all", 1),)


def _columns(tested: list[Evaluated]) -> Evaluations:
    numbers = [(e.step, e.epoch, e.train_seconds, *map(e.score, METRICS)) for e in tested]
    width = 3 + len(METRICS)
    return Evaluations(*np.array(numbers, dtype=np.float64).reshape(-1, width).T.copy())  # None becomes NaN


_lock = threading.Lock()
_recordings: OrderedDict[tuple[str, Path], _Recording] = OrderedDict()


def _remembered(race_id: str, path: Path) -> _Recording:
    with _lock:
        recording = _recordings.setdefault((race_id, path), _Recording(race_id))
        _recordings.move_to_end((race_id, path))
        while len(_recordings) > MOST_RACES:
            _recordings.popitem(last=False)
    return recording


def _forget(race_id: str, path: Path) -> None:
    with _lock:
        _recordings.pop((race_id, path), None)
