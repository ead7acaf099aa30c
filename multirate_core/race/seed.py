"""The race of one seed: its lanes take turns in slices of equal training time, are tested at the marks, and end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Literal

from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.events import Evaluated, Event, LaneEnded, Outcome, PhaseChanged, Progress, StepsRecorded
from multirate_core.race.marks import Marks
from multirate_core.race.progress import ProgressMeter, expected_total_s
from multirate_core.race.timeline import Timeline
from multirate_core.training.evaluation import Score
from multirate_core.training.lane import Lane, Piece
from multirate_core.training.samples import Samples

Control = Callable[[], Literal["go", "pause", "stop"]]
Reason = Literal["start", "epoch", "mark", "end"]

SLICE_S = 0.22  # training seconds of one turn
MEASURED_STEPS = 50  # at most so many steps of a lane are watched before the marks are spread
PAUSE_POLL_S = 0.05
BLOCKED_S = 0.2  # an answer that took longer than this was a pause inside `control`


def training_phase(config: RaceConfig, lane: int) -> str:
    """Return what a race does while this lane, or another one of its seed, trains."""
    return f"training, seed {config.lanes[lane][0]}" if len(config.seeds) > 1 else "training"


class SeedRace:
    """The lanes of one seed and what is known about them while they run.

    Args:
        config: of the race.
        lanes: of this seed, all at step 0 with equal weights.
        test: the test part.
        marks: shared with the other seeds.
        meter: shared with the other seeds.
        control: asked between two slices; it may block while the race is paused.
    """

    def __init__(
        self,
        config: RaceConfig,
        lanes: list[Lane],
        test: Samples,
        marks: Marks,
        meter: ProgressMeter,
        control: Control,
    ) -> None:
        self.timeline = Timeline()
        self.stopped = False
        self._config = config
        self._lanes = lanes
        self._active = list(lanes)
        self._test = test
        self._marks = marks
        self._meter = meter
        self._control = control
        self._next_mark = {lane.number: marks.next_after(0.0) for lane in lanes}

    def run(self) -> Iterator[Event]:
        """Race the lanes to their ends; the time the consumer takes between two events is charged as recording."""
        return self.timeline.watch_consumer(self._run())

    def _run(self) -> Iterator[Event]:
        yield from self._start()
        while self._active and not self.stopped:
            if self._ask() == "stop":
                self.stopped = True
                for lane in list(self._active):
                    yield from self._end(lane, "stopped", f"stopped on request after {lane.steps} steps")
                break
            lane = min(self._active, key=lambda each: each.train_seconds)
            compiles = self._config.execution.compile and lane.steps == 0
            if compiles:
                yield PhaseChanged(f"compiling {self._config.title(lane.name)}")
            yield from self._turn(lane)
            if compiles:
                yield PhaseChanged(training_phase(self._config, lane.number))
            yield self.timeline.clock(lane.number)
            yield self._progress()
        self._meter.finish_seed(self._lanes, self._working_s())

    def _start(self) -> Iterator[Event]:
        """Test the common initial weights: once, since all lanes have the same."""
        if self._config.execution.compile:
            yield PhaseChanged("compiling the test")
        score = self._score(self._lanes[0])
        if self._config.execution.compile:
            yield PhaseChanged(training_phase(self._config, self._lanes[0].number))
        for lane in self._lanes:
            yield from self._record(lane, score, "start")

    def _score(self, lane: Lane) -> Score:
        """Test a lane; what has to be compiled for it is charged apart."""
        batch_size = self._config.recipe.micro_batch_size
        if self._config.execution.compile:
            with self.timeline.measure(lane.number, "compiling"):
                lane.compile_evaluation(self._test, batch_size)
        with self.timeline.measure(lane.number, "evaluation"):
            return lane.evaluate(self._test, batch_size)

    def _turn(self, lane: Lane) -> Iterator[Event]:
        """Give a lane one slice, tests on the way included."""
        left = SLICE_S
        while left > 0 and lane in self._active:
            piece = lane.train(self._most_steps(lane), self._most_seconds(lane, left))
            self._charge(lane, piece)
            left -= piece.trained_s
            if piece.loss and self._config.record_steps:
                yield _steps(lane, piece)
            if piece.diverged:
                yield from self._end(lane, "diverged", self._divergence(lane))
            else:
                self._spread_marks()
                yield from self._test_if_due(lane)

    def _charge(self, lane: Lane, piece: Piece) -> None:
        self.timeline.charge(lane.number, "training", piece.trained_s)
        self.timeline.charge(lane.number, "loading", piece.loading_s)
        self.timeline.charge(lane.number, "compiling", piece.compiling_s)
        self.timeline.charge(lane.number, "other", piece.other_s)

    def _most_steps(self, lane: Lane) -> int:
        """Return the steps until something must happen: the end of an epoch, or the marks can be spread."""
        if self._marks.spacing_s is None and not self._measured(lane):
            return min(lane.steps_to_epoch_end, self._steps_to_measure(lane) - lane.steps)
        return lane.steps_to_epoch_end

    def _most_seconds(self, lane: Lane, left: float) -> float:
        """Return the training seconds until something must happen: the slice is over, a mark, the budget."""
        end = math.inf if self._config.budget.seconds is None else self._config.budget.seconds
        return min(left, self._next_mark[lane.number] - lane.train_seconds, end - lane.train_seconds)

    def _test_if_due(self, lane: Lane) -> Iterator[Event]:
        """Test a lane if it is at its end, at the end of an epoch or at a mark: once, if they coincide."""
        at_mark = lane.train_seconds >= self._next_mark[lane.number]
        if at_mark:
            self._next_mark[lane.number] = self._marks.next_after(lane.train_seconds)
        at_epoch = lane.steps % lane.order.steps_per_epoch == 0
        done = self._done(lane)
        if done or at_epoch or at_mark:
            score = self._score(lane)
            reason: Reason = "end" if done else "epoch" if at_epoch else "mark"
            yield from self._record(lane, score, reason)
        if done and lane in self._active:
            yield from self._end(lane, "finished", "")

    def _record(self, lane: Lane, score: Score, reason: Reason) -> Iterator[Event]:
        """Say how a test went; a test loss that is not finite ends the lane."""
        if math.isfinite(score.loss):
            yield _evaluated(lane, score, reason)
        else:
            yield from self._end(lane, "diverged", self._divergence(lane))

    def _end(self, lane: Lane, outcome: Outcome, message: str) -> Iterator[Event]:
        """Take a lane out of the race; the others go on."""
        self._active.remove(lane)
        yield self.timeline.clock(lane.number)
        yield LaneEnded(lane.number, outcome, message, lane.steps, lane.epochs, lane.train_seconds)

    def _divergence(self, lane: Lane) -> str:
        recipe, arm = self._config.recipe, next(arm for arm in self._config.arms if arm.name == lane.name)
        advice = "Try a smaller lr or a smaller k." if arm.kind == "multirate" else "Try a smaller lr."
        lr = f"{'up to ' if recipe.varies_lr else ''}{recipe.lr:g}"
        where = f"the loss was not finite at step {lane.steps + 1}, with lr {lr}{_factors(arm)}"
        return f"{self._config.title(lane.name)}: {where}. {advice}"

    def _done(self, lane: Lane) -> bool:
        budget = self._config.budget
        if budget.seconds is not None:
            return lane.train_seconds >= budget.seconds
        return lane.steps >= (budget.epochs or 0) * lane.order.steps_per_epoch

    def _steps_to_measure(self, lane: Lane) -> int:
        """Return the steps after which a lane's mean step is known well enough: one cycle after the first step."""
        total = (self._config.budget.epochs or 0) * lane.order.steps_per_epoch
        return 1 + max(1, min(lane.arm.cycle, MEASURED_STEPS, total // 20))

    def _measured(self, lane: Lane) -> bool:
        return lane.steps >= self._steps_to_measure(lane) or lane not in self._active

    def _spread_marks(self) -> None:
        """Once every lane was watched for a cycle, spread the marks over the slowest one's expected time."""
        if self._marks.spacing_s is None and all(map(self._measured, self._lanes)):
            totals = [expected_total_s(lane, self._config.budget) or 0.0 for lane in self._active]
            self._marks.fit_to(max(totals))
            self._next_mark = {lane.number: self._marks.next_after(lane.train_seconds) for lane in self._lanes}

    def _ask(self) -> Literal["go", "stop"]:
        """Ask for requests; the time of a pause is charged as paused."""
        begun, paused = time.perf_counter(), False
        answer = self._control()
        while answer == "pause":
            paused = True
            time.sleep(PAUSE_POLL_S)
            answer = self._control()
        seconds = time.perf_counter() - begun
        self.timeline.charge(None, "paused" if paused or seconds > BLOCKED_S else "recording", seconds)
        return answer

    def _progress(self) -> Progress:
        return self._meter.read(self._lanes, self._active, self._working_s())

    def _working_s(self) -> float:
        """Return the wall seconds that go with training; graphs are made once, whatever is still to train."""
        return self.timeline.wall_seconds() - self.timeline.spent("paused") - self.timeline.spent("compiling")


def _factors(arm: ArmConfig) -> str:
    """Return the groups whose lr is another than the recipe's: " (slow: 2 times that)"; "" if there is none."""
    groups = arm.partition.groups if arm.partition else ()
    words = [f"{group.name}: {group.lr_factor:g} times that" for group in groups if group.lr_factor != 1]
    return f" ({', '.join(words)})" if words else ""


def _evaluated(lane: Lane, score: Score, reason: Reason) -> Evaluated:
    clock = (lane.steps, lane.epochs, lane.train_seconds)
    more = {} if score.by_class is None else asdict(score.by_class)
    return Evaluated(lane.number, *clock, score.accuracy, score.loss, reason, **more)


def _steps(lane: Lane, piece: Piece) -> StepsRecorded:
    return StepsRecorded(
        lane.number, piece.first_step, piece.train_seconds, piece.loss, piece.step_seconds, piece.due, lane.epochs
    )
