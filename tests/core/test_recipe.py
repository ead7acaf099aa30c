"""What a recipe asks for is what every arm's steps do: schedules, parts of a batch, smoothing, clipping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from race_cases import CPU, FROZEN, HEAD_FAST, MULTIRATE, SGD, race, tiny_config, tiny_split
from recipe_cases import (
    EPOCHS,
    STEPS_PER_EPOCH,
    plain_lanes,
    plain_net,
    plain_parts,
    rates_of,
    training_images,
)
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.config import ArmConfig, Budget, GroupSpec
from multirate_core.errors import ConfigError
from multirate_core.models.registry import BuiltModel
from multirate_core.optim import lr_factor
from multirate_core.race import race_lanes
from multirate_core.race.start import RaceParts, warm_up
from multirate_core.training.lane import Lane
from multirate_core.training.micro_batches import micro_batches
from multirate_core.training.timers import BorderTimer, HostTimer

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

ALL_ARMS = (SGD, MULTIRATE, FROZEN)
ALL_FAST = ArmConfig("all fast", "multirate", replace(HEAD_FAST, groups=(GroupSpec("fast", 1), GroupSpec("slow", 1))))
STEPS = EPOCHS * STEPS_PER_EPOCH


def rates_by_step(lane: Lane, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        lane.train(1, 60.0)
        found.append(rates_of(lane))
    return found


# Schedules


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "one_cycle"])
def test_every_arm_follows_the_same_schedule_over_its_steps(schedule: Any) -> None:
    wanted = [0.05 * lr_factor(step / STEPS, schedule, 0.2) for step in range(STEPS)]
    for lane in plain_lanes(*ALL_ARMS, schedule=schedule, warmup=0.2):
        found = rates_by_step(lane, STEPS)
        assert found == [[rate] * len(found[0]) for rate in wanted], lane.name


def test_a_schedule_scales_each_groups_own_rate() -> None:
    groups = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 3, 0.5))
    arm = replace(MULTIRATE, partition=replace(HEAD_FAST, groups=groups))
    (lane,) = plain_lanes(arm, schedule="linear")
    assert rates_by_step(lane, 4)[-1] == pytest.approx([0.1 * 0.75, 0.025 * 0.75])


def test_a_schedule_does_not_jump_between_pieces_of_any_length() -> None:
    whole, pieces = (plain_lanes(MULTIRATE, schedule="cosine", warmup=0.1)[0] for _ in range(2))
    losses = list(whole.train(STEPS, 60.0).loss)
    parts = [loss for steps in (1, 4, 2, 5) for loss in pieces.train(steps, 60.0).loss]
    assert parts == losses


class Clock:
    """Seconds that pass only while a step is timed: `step_s` for each."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._looks = 0

    def __call__(self) -> float:
        self._looks += 1
        return (self._looks - 1) // 2 * self._step_s  # begin, then start and stop of every step


@pytest.mark.parametrize("step_s", [0.5, 1.0])
def test_with_a_budget_of_seconds_the_schedule_follows_the_lanes_own_seconds_to_its_end(step_s: float) -> None:
    budget = Budget(seconds=10.0)
    for lane in plain_lanes(*ALL_ARMS, budget=budget, schedule="linear"):
        found = []
        while lane.train_seconds < 10.0:
            lane.timer = HostTimer(now=Clock(step_s))
            lane.train(1, 60.0)
            found.append(rates_of(lane)[0])
        steps = round(10 / step_s)
        assert found == pytest.approx([0.05 * (1 - step / steps) for step in range(steps)])


def test_within_a_piece_the_seconds_count_too_whether_the_clock_is_read_at_each_step_or_at_its_end() -> None:
    last = []
    for kind in ("live", "at the end"):
        (lane,) = plain_lanes(SGD, budget=Budget(seconds=8.0), schedule="linear")
        lane.timer = HostTimer(now=Clock(1.0))
        lane.train(2, 60.0)
        if kind == "at the end":
            seconds = iter((0.0, 0.0, 4.0))
            lane.timer = BorderTimer(wait=lambda: None, now=lambda it=seconds: next(it))  # type: ignore[misc]
        else:
            lane.timer = HostTimer(now=Clock(1.0))
        lane.train(4, 60.0)
        assert lane.train_seconds == 6.0
        last.append(rates_of(lane)[0])
    assert last == pytest.approx([0.05 * (1 - 5 / 8)] * 2)  # the sixth step begins after five seconds


# Parts of a batch


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (16, 16, [16]),
        (16, 8, [8, 8]),
        (16, 6, [6, 5, 5]),
        (10, 8, [5, 5]),
        (17, 8, [6, 6, 5]),
        (5, 2, [3, 2]),
        (1, 2, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_batch_is_divided_evenly_into_as_few_parts_as_fit(count: int, size: int, sizes: list[int]) -> None:
    images, labels = torch.arange(count * 2.0).view(count, 2), torch.arange(count)
    parts = micro_batches(images, labels, size)
    assert [len(part.labels) for part in parts] == sizes
    assert torch.equal(torch.cat([part.inputs for part in parts]), images)
    assert torch.equal(torch.cat([part.labels for part in parts]), labels)
    assert sum(part.share for part in parts) == pytest.approx(1.0)


@pytest.mark.parametrize("base", ["sgd", "adamw"])
@pytest.mark.parametrize("accumulate", [2, 5])
def test_a_batch_in_parts_is_the_same_step_as_the_whole_one(base: Any, accumulate: int) -> None:
    options = {"lr": 0.002 if base == "adamw" else 0.05, "base": base, "label_smoothing": 0.1, "clip_norm": 0.5}
    whole = plain_lanes(*ALL_ARMS, **options)
    parted = plain_lanes(*ALL_ARMS, accumulate=accumulate, **options)
    for one, other in zip(whole, parted, strict=True):
        first, second = one.train(STEPS, 60.0), other.train(STEPS, 60.0)
        assert list(second.loss) == pytest.approx(list(first.loss), rel=1e-4)
        assert second.due == first.due
        assert other.epochs == one.epochs == EPOCHS
        for ours, theirs in zip(other.model.parameters(), one.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_parts_of_a_step_ask_for_the_gradients_of_the_same_groups() -> None:
    (lane,) = plain_lanes(MULTIRATE, accumulate=2)
    passes: list[tuple[int, bool]] = []
    body = lane.model.get_parameter("body.1.weight")
    lane.model.get_submodule("head").register_forward_hook(
        lambda _, __, out: passes.append((len(out), body.requires_grad))
    )
    due = lane.train(STEPS_PER_EPOCH, 60.0).due
    assert list(due) == [3, 1, 1, 3, 1, 1]
    assert [size for size, _ in passes] == [8] * 10 + [5, 5]
    assert [wanted for _, wanted in passes] == [mask == 3 for mask in due for _ in range(2)]


def test_tests_take_no_larger_batch_for_the_sake_of_a_batch_in_parts() -> None:
    split, sizes = tiny_split(train=400, test=300), []

    def build(_: int) -> BuiltModel:
        net = plain_net()
        net.head.register_forward_hook(
            lambda head, _, out: sizes.append(len(out)) if not head.training else None  # type: ignore[func-returns-value]
        )
        return BuiltModel(net, ("head",), (0.5,), (0.25,), ())

    parts = plain_parts(SGD, batch_size=200, accumulate=4, budget=Budget(epochs=1))
    list(race_lanes(RaceParts(parts.config, build, split, parts.partitions, CPU), lambda: "go"))
    assert set(sizes) == {128, 44}


def test_batchnorm_that_gets_parts_of_one_image_is_refused_before_the_race() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    built = BuiltModel(net, ("3",), (0.5,), (0.25,), ())
    parts = plain_parts(SGD, batch_size=4, accumulate=4)
    with pytest.raises(ConfigError, match=r"cannot train on a batch of 1 .*of each part"):
        warm_up(RaceParts(parts.config, lambda _: built, tiny_split(), (None,), CPU), built, training_images())


# Loss


def first_batch() -> tuple[Tensor, Tensor]:
    rows = torch.randperm(90, generator=torch.Generator().manual_seed(0))[:16]
    return training_images().batch(rows)


def test_the_training_loss_is_smoothed_and_the_test_loss_is_not() -> None:
    inputs, labels = first_batch()
    wanted = functional.cross_entropy(plain_net()(inputs), labels, label_smoothing=0.2).item()
    everything, targets = training_images().batch(slice(0, 90))
    plain = functional.cross_entropy(plain_net()(everything), targets).item()
    for lane in plain_lanes(*ALL_ARMS, label_smoothing=0.2):
        assert lane.evaluate(training_images(), 16).loss == pytest.approx(plain, rel=1e-5)
        assert lane.train(1, 60.0).loss[0] == pytest.approx(wanted, rel=1e-5)
    assert wanted != pytest.approx(functional.cross_entropy(plain_net()(inputs), labels).item(), rel=1e-3)


# Clipping


def moves(lane: Lane) -> dict[str, Tensor]:
    """Take a step and return by how much every parameter moved, per unit of the learning rate."""
    before = {name: weight.detach().clone() for name, weight in lane.model.named_parameters()}
    lane.train(1, 60.0)
    return {name: (before[name] - weight.detach()) / 0.05 for name, weight in lane.model.named_parameters()}


def norm(moved: dict[str, Tensor], part: str = "") -> float:
    return torch.cat([move.flatten() for name, move in moved.items() if name.startswith(part)]).norm().item()


def test_no_step_moves_further_than_the_clipped_norm_of_all_its_gradients() -> None:
    free, clipped = (plain_lanes(*ALL_ARMS, momentum=0.0, clip_norm=limit) for limit in (None, 0.1))
    for one, other in zip(free, clipped, strict=True):
        assert norm(moves(one)) > 0.2
        assert norm(moves(other)) == pytest.approx(0.1, rel=1e-3)


def test_a_step_of_the_fast_part_clips_that_and_nothing_of_what_is_held() -> None:
    (lane,) = plain_lanes(MULTIRATE, momentum=0.0, clip_norm=0.1)
    full, fast = moves(lane), moves(lane)
    assert norm(full) == pytest.approx(0.1, rel=1e-3)
    assert norm(fast, "head") == pytest.approx(0.1, rel=1e-3)
    assert norm(fast, "body") == pytest.approx(norm(full, "body"), rel=1e-3)


def test_a_limit_that_is_never_reached_changes_nothing() -> None:
    free, wide = (plain_lanes(SGD, clip_norm=limit)[0] for limit in (None, 1e6))
    assert list(free.train(STEPS, 60.0).loss) == list(wide.train(STEPS, 60.0).loss)


# All of it


EVERYTHING: dict[str, Any] = {
    "schedule": "cosine",
    "warmup": 0.25,
    "label_smoothing": 0.1,
    "clip_norm": 0.5,
    "weight_decay": 0.01,
    "decay_norms": False,
    "accumulate": 2,
}


@pytest.mark.parametrize("nesterov", [False, True])
def test_with_period_one_everywhere_multirate_is_the_plain_arm_bit_for_bit(nesterov: bool) -> None:
    plain, ours = plain_lanes(SGD, ALL_FAST, nesterov=nesterov, **EVERYTHING)
    assert list(plain.train(STEPS, 60.0).loss) == list(ours.train(STEPS, 60.0).loss)
    for one, other in zip(plain.model.parameters(), ours.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_plain_arm_does_what_an_ordinary_loop_with_torchs_own_parts_does() -> None:
    (lane,) = plain_lanes(SGD, **EVERYTHING)
    losses = list(lane.train(STEPS, 60.0).loss)
    model, order = plain_net(), torch.Generator().manual_seed(0)
    weights = [weight for weight in model.parameters() if weight.dim() > 1]
    norms = [weight for weight in model.parameters() if weight.dim() <= 1]
    optimizer = torch.optim.SGD([{"params": weights}, {"params": norms, "weight_decay": 0}], 0.05, 0.9, 0, 0.01)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=STEPS // 4)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS * 3 // 4)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [STEPS // 4])
    wanted = []
    for _ in range(EPOCHS):
        rows = torch.randperm(90, generator=order)
        for first in range(0, 90, 16):
            inputs, labels = training_images().batch(rows[first : first + 16])
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), labels, label_smoothing=0.1)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            wanted.append(loss.item())
    assert losses == pytest.approx(wanted, rel=1e-4)


def test_a_divergence_names_the_largest_rate_of_a_schedule() -> None:
    events = list(race(tiny_config(SGD, recipe=replace(plain_parts(SGD, **EVERYTHING).config.recipe, lr=1e30))))
    assert any("with lr up to 1e+30. Try" in getattr(event, "message", "") for event in events)
