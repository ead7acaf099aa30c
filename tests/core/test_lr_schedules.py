"""Schedules of the learning rate: against torch's own schedulers, by hand, and out of range."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR

from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateSGD, lr_factor
from multirate_core.recipe import Schedule

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

STEPS = 40


def rates_of(make: Callable[[Optimizer], LRScheduler]) -> list[float]:
    """The learning rates of a run with one of torch's schedulers, from a largest one of 1."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ours(schedule: Any, warmup: float = 0.0) -> list[float]:
    return [lr_factor(step / STEPS, schedule, warmup) for step in range(STEPS)]


def warmed(optimizer: Optimizer, after: LRScheduler) -> LRScheduler:
    rise = LinearLR(optimizer, start_factor=0.01, total_iters=STEPS // 4)
    return SequentialLR(optimizer, [rise, after], milestones=[STEPS // 4])


@pytest.mark.parametrize(
    ("schedule", "warmup", "make"),
    [
        ("cosine", 0.0, lambda o: CosineAnnealingLR(o, STEPS)),
        ("linear", 0.0, lambda o: LinearLR(o, 1.0, 0.0, STEPS)),
        ("constant", 0.25, lambda o: LinearLR(o, 0.01, total_iters=STEPS // 4)),
        ("cosine", 0.25, lambda o: warmed(o, CosineAnnealingLR(o, STEPS * 3 // 4))),
        ("linear", 0.25, lambda o: warmed(o, LinearLR(o, 1.0, 0.0, STEPS * 3 // 4))),
        # Torch's one cycle ends with the last step, ours with the run: one more step, and the same step at the top.
        ("one_cycle", 0.25, lambda o: one_cycle(o, STEPS // 4)),
        ("one_cycle", 0.0, lambda o: one_cycle(o, round(STEPS * 0.3))),
    ],
)
def test_a_schedule_is_torchs_own(schedule: Schedule, warmup: float, make: Callable[[Optimizer], LRScheduler]) -> None:
    assert ours(schedule, warmup) == pytest.approx(rates_of(make), rel=1e-9, abs=1e-12)


def one_cycle(optimizer: Optimizer, top: int) -> LRScheduler:
    share = (top + 1) / (STEPS + 1)
    return OneCycleLR(optimizer, max_lr=1.0, total_steps=STEPS + 1, pct_start=share, cycle_momentum=False)


def test_schedules_worked_by_hand() -> None:
    assert ours("constant") == [1.0] * STEPS
    assert [lr_factor(share, "cosine") for share in (0, 1 / 3, 0.5, 2 / 3)] == pytest.approx([1, 0.75, 0.5, 0.25])
    assert [lr_factor(share, "linear", 0.5) for share in (0, 0.25, 0.5, 0.75)] == pytest.approx([0.01, 0.505, 1, 0.5])
    assert [lr_factor(share, "one_cycle") for share in (0, 0.15, 0.3)] == pytest.approx([0.04, 0.52, 1])


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_a_schedule_never_exceeds_its_largest_rate_and_ends_with_the_run(schedule: Schedule, warmup: float) -> None:
    assert max(ours(schedule, warmup)) == pytest.approx(1.0, abs=0.01)
    assert all(0 < factor <= 1 for factor in ours(schedule, warmup))
    end = {"constant": 1.0, "one_cycle": 4e-6}.get(schedule, 0.0)
    assert lr_factor(1.0, schedule, warmup) == pytest.approx(end, abs=1e-12)
    assert lr_factor(1.5, schedule, warmup) == lr_factor(1.0, schedule, warmup)


def test_a_schedule_or_a_warm_up_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="schedule must be one of constant, cosine, linear, one_cycle, got 'step'"):
        lr_factor(0.0, "step")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"warmup must be a finite number ≥ 0 and < 1, got 1\.0"):
        lr_factor(0.0, "cosine", 1.0)


def test_a_slow_group_drifts_at_the_rate_of_each_moment() -> None:
    fast, slow = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    groups = [{"params": [fast], "name": "fast"}, {"params": [slow], "name": "slow", "period": 4}]
    optimizer = MultirateSGD(groups, lr=0.1, momentum=0.0)
    rates = LambdaLR(optimizer, lambda step: lr_factor(step / 4, "linear"))
    places = [1.0]
    for _ in range(4):
        optimizer.zero_grad()
        (fast + slow).sum().backward()  # both gradients are 1
        optimizer.step()
        rates.step()
        places.append(slow.item())
    moves = [before - after for before, after in pairwise(places)]
    assert moves == pytest.approx([0.1, 0.075, 0.05, 0.025], rel=1e-5)
