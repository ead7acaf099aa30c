"""The race engine on a tiny network: fairness, tests at the right places, budgets, stop, pause, divergence."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from race_cases import FROZEN, HEAD_FAST, MULTIRATE, SGD, only, race, tiny_config, tiny_split

from multirate_core.config import Budget, GroupSpec, Recipe
from multirate_core.events import Evaluated, Event, LaneClock, LaneEnded, Progress, StepsRecorded
from multirate_core.optim import MultirateSGD
from multirate_core.race import seed as seed_module
from multirate_core.race import start as start_module
from multirate_core.training.timers import HostTimer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class PacedTimer(HostTimer):
    """Says that every step took the same time and loading none."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self._step_s = step_s

    def stop(self) -> None:
        self._steps.append(self._step_s)
        self.trained_s += self._step_s


def losses(events: list[Event], lane: int) -> list[float]:
    return list(chain.from_iterable(part.loss for part in only(StepsRecorded, events, lane)))


def test_an_arm_has_the_same_losses_alone_and_in_company() -> None:
    together = list(race(tiny_config(SGD, MULTIRATE, FROZEN)))
    for lane, arm in enumerate((SGD, MULTIRATE, FROZEN)):
        alone = list(race(tiny_config(arm)))
        assert losses(alone, 0) == losses(together, lane)
        ends = [only(Evaluated, events, number)[-1] for events, number in ((alone, 0), (together, lane))]
        assert (ends[0].accuracy, ends[0].loss) == (ends[1].accuracy, ends[1].loss)


def test_the_slices_and_the_marks_leave_the_losses_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = list(race(tiny_config(SGD, MULTIRATE)))
    monkeypatch.setattr(seed_module, "SLICE_S", 1e-9)  # every step its own slice
    split = list(race(tiny_config(SGD, MULTIRATE)))
    assert len(only(StepsRecorded, split)) > len(only(StepsRecorded, usual))
    for lane in (0, 1):
        assert losses(split, lane) == losses(usual, lane)


def test_all_arms_of_a_seed_start_from_the_same_weights_and_see_the_same_first_batch() -> None:
    events = list(race(tiny_config(SGD, MULTIRATE, FROZEN, seeds=(0, 1))))
    for first in (0, 3):
        starts = {(e.accuracy, e.loss) for lane in range(first, first + 3) for e in only(Evaluated, events, lane)[:1]}
        assert len(starts) == 1
        assert len({losses(events, lane)[0] for lane in range(first, first + 3)}) == 1
    assert losses(events, 0)[0] != losses(events, 3)[0]


def test_the_host_process_keeps_its_own_random_numbers() -> None:
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    expected = (random.random(), float(np.random.rand()), float(torch.rand(1)))
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    list(race(tiny_config(SGD, MULTIRATE, budget=Budget(epochs=1))))
    assert (random.random(), float(np.random.rand()), float(torch.rand(1))) == expected


def test_steps_are_numbered_without_gaps_and_the_clock_is_the_sum_of_the_steps() -> None:
    events = list(race(tiny_config(SGD, MULTIRATE)))
    for lane in (0, 1):
        parts = only(StepsRecorded, events, lane)
        assert [part.first_step for part in parts] == [sum(len(p.loss) for p in parts[:i]) for i in range(len(parts))]
        seconds = list(chain.from_iterable(part.step_seconds for part in parts))
        assert len(seconds) == 12  # 2 epochs of 90 images in batches of 16
        assert parts[-1].train_seconds[-1] == pytest.approx(sum(seconds), rel=1e-5)
        assert only(LaneEnded, events, lane)[0].train_seconds == parts[-1].train_seconds[-1]
        assert (only(LaneEnded, events, lane)[0].steps, only(LaneEnded, events, lane)[0].epochs) == (12, 2.0)


def test_the_strip_shows_at_which_steps_each_group_had_a_gradient() -> None:
    events = list(race(tiny_config(SGD, MULTIRATE, FROZEN)))
    due = [list(chain.from_iterable(part.due for part in only(StepsRecorded, events, lane))) for lane in range(3)]
    assert due[0] == [0b1] * 12
    assert due[1] == [0b11, 0b01, 0b01] * 4  # bit 0 fast, bit 1 slow with k = 3
    assert due[2] == [0b01] * 12


def test_the_lane_with_the_least_training_time_is_always_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_module, "SLICE_S", 0.002)
    clocks = [0.0, 0.0, 0.0]
    events = race(tiny_config(SGD, MULTIRATE, FROZEN, budget=Budget(seconds=0.15)))
    last = -1
    for event in events:
        if isinstance(event, StepsRecorded):
            if event.lane != last:
                assert clocks[event.lane] <= min(clocks) + 1e-9
            last = event.lane
            clocks[event.lane] = event.train_seconds[-1]
    assert min(clocks) >= 0.15


def test_every_epoch_is_tested_once_and_the_end_is_called_end() -> None:
    events = list(race(tiny_config(SGD, MULTIRATE, budget=Budget(epochs=3))))
    for lane in (0, 1):
        tests = only(Evaluated, events, lane)
        assert [test.step for test in tests] == sorted({test.step for test in tests})
        assert (tests[0].step, tests[0].reason) == (0, "start")
        assert (tests[-1].step, tests[-1].reason) == (18, "end")
        assert {6, 12} <= {test.step for test in tests if test.reason == "epoch"}


def test_a_budget_in_seconds_has_twenty_equal_marks_shared_by_all_arms() -> None:
    events = list(race(tiny_config(SGD, MULTIRATE, budget=Budget(seconds=0.5))))
    for lane in (0, 1):
        tests = only(Evaluated, events, lane)
        steps = [s for part in only(StepsRecorded, events, lane) for s in part.train_seconds]
        for mark in range(1, 21):
            first = next(i for i, clock in enumerate(steps) if clock >= mark * 0.025)
            assert first + 1 in {test.step for test in tests}, f"mark {mark}"
        assert only(LaneEnded, events, lane)[0].train_seconds == steps[-1] >= 0.5 > steps[-2]


def test_a_race_is_tested_as_often_as_it_is_told_and_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_module, "slice_timer", lambda _: PacedTimer(1.0))
    few, many = (
        [test.step for test in only(Evaluated, list(race(tiny_config(SGD, evaluations=count))), 0)] for count in (1, 4)
    )
    assert few == [0, 6, 12]  # of twelve steps in two epochs
    assert many == [0, 3, 6, 9, 12]


def test_an_epoch_budget_spreads_twenty_marks_over_the_slowest_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = iter([1.0, 0.5])  # seconds of a step of SGD and of multirate
    monkeypatch.setattr(start_module, "slice_timer", lambda _: PacedTimer(next(pace)))
    events = list(race(tiny_config(SGD, MULTIRATE, budget=Budget(epochs=7))))
    assert [end.train_seconds for end in only(LaneEnded, events)] == [21.0, 42.0]  # multirate ends first
    for lane, step_s in ((0, 1.0), (1, 0.5)):
        last = 20 if lane == 0 else 10  # the same marks, every 2.1 s; multirate is done after ten of them
        marks = {math.ceil(2.1 * mark / step_s - 1e-9) for mark in range(1, last + 1)}
        epochs = {6 * epoch for epoch in range(8)}
        assert {test.step for test in only(Evaluated, events, lane)} == marks | epochs


def test_a_race_without_recorded_steps_has_the_same_tests() -> None:
    config = tiny_config(SGD, MULTIRATE, record_steps=False)
    quiet, loud = list(race(config)), list(race(tiny_config(SGD, MULTIRATE)))
    assert not only(StepsRecorded, quiet)
    assert [only(Evaluated, quiet, lane)[-1].loss for lane in (0, 1)] == [
        only(Evaluated, loud, lane)[-1].loss for lane in (0, 1)
    ]


def test_an_arm_that_diverges_ends_alone_and_keeps_its_finite_steps() -> None:
    fine = tiny_config(FROZEN, SGD, recipe=Recipe(lr=1e30, batch_size=16), budget=Budget(epochs=2))
    events = list(race(fine))
    ended = {end.lane: end for end in only(LaneEnded, events)}
    assert ended[1].outcome == "diverged"
    assert f"step {ended[1].steps + 1}" in ended[1].message and "1e+30" in ended[1].message
    assert "smaller lr" in ended[1].message
    assert all(np.isfinite(losses(events, 1)))
    assert len(losses(events, 1)) == ended[1].steps


def test_a_divergence_names_base_rule_and_rates() -> None:
    groups = (GroupSpec("fast", 1, 3.0), GroupSpec("slow", 3))
    arm = replace(MULTIRATE, partition=replace(HEAD_FAST, groups=groups))
    events = list(race(tiny_config(SGD, arm, recipe=Recipe(lr=1e30, batch_size=16, base="adamw"))))
    said = {end.lane: end.message for end in only(LaneEnded, events)}
    assert said[0].startswith("adamw: the loss was not finite") and "with lr 1e+30. Try" in said[0]
    assert "with lr 1e+30 (fast: 3 times that). Try" in said[1]


def test_the_others_go_on_when_one_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    from multirate_core.training import lane as lane_module

    real = lane_module.train_step
    calls: dict[int, int] = {}

    def spoil(forward: Any, arm: Any, images: Any, labels: Any) -> Any:
        calls[id(arm)] = calls.get(id(arm), 0) + 1
        loss = real(forward, arm, images, labels)
        spoiled = isinstance(arm.optimizer, MultirateSGD) and calls[id(arm)] == 5
        return loss * float("nan") if spoiled else loss

    monkeypatch.setattr(lane_module, "train_step", spoil)
    events = list(race(tiny_config(SGD, MULTIRATE)))
    ended = {end.lane: end for end in only(LaneEnded, events)}
    assert (ended[0].outcome, ended[0].steps) == ("finished", 12)
    assert (ended[1].outcome, ended[1].steps) == ("diverged", 4)
    assert "smaller k" in ended[1].message
    assert len(losses(events, 1)) == 4


def test_stop_ends_all_lanes_at_the_next_slice_and_starts_no_further_seed() -> None:
    asked = iter(["go", "go", "go", "stop"])
    events = list(race(tiny_config(SGD, MULTIRATE, seeds=(0, 1), budget=Budget(seconds=60)), lambda: next(asked)))
    ended = only(LaneEnded, events)
    assert [(end.lane, end.outcome) for end in ended] == [(0, "stopped"), (1, "stopped")]
    assert sum(end.steps for end in ended) > 0


class FakeTime:
    """Stands in for `time` where the race waits for requests: it moves only when somebody sleeps on it."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def perf_counter(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize("blocks", [False, True])
def test_a_pause_is_charged_as_paused_whether_the_control_blocks_or_not(
    blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTime()
    monkeypatch.setattr(seed_module, "time", fake)
    control = _blocking_control(fake) if blocks else _pausing_control(fake)
    events = list(race(tiny_config(SGD, MULTIRATE), control))
    for lane in (0, 1):
        clocks = only(LaneClock, events, lane)
        assert [clock.excluded["paused"] for clock in clocks] == pytest.approx([0.3] * len(clocks))
        assert clocks[-1].train_seconds > 0


def _pausing_control(fake: FakeTime) -> Callable[[], Any]:
    until = fake.seconds + 0.3 - 1e-6
    return lambda: "pause" if fake.seconds < until else "go"


def _blocking_control(fake: FakeTime) -> Callable[[], Any]:
    waits = iter([0.3])

    def control() -> str:
        fake.sleep(next(waits, 0.0))
        return "go"

    return control


def test_progress_rises_to_one_and_the_time_left_falls_to_nothing() -> None:
    events = list(race(tiny_config(SGD, MULTIRATE, seeds=(0, 1), budget=Budget(seconds=0.2))))
    progress = only(Progress, events)
    fractions = [each.fraction for each in progress]
    assert fractions == sorted(fractions)
    assert (progress[-1].fraction, progress[-1].seconds_left) == (1.0, 0.0)
    middle = [each for each in progress if 0.4 < each.fraction < 0.6]
    assert all(each.seconds_left is not None and each.seconds_left > 0 for each in middle)


def test_a_last_batch_of_one_image_is_left_out_because_of_batchnorm() -> None:
    events = list(race(tiny_config(SGD, budget=Budget(epochs=2)), split=tiny_split(train=33)))
    assert only(LaneEnded, events)[0].steps == 4
    events = list(race(tiny_config(SGD, budget=Budget(epochs=2)), split=tiny_split(train=34)))
    assert only(LaneEnded, events)[0].steps == 6
