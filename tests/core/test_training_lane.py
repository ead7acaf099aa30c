"""One lane: its steps are an ordinary loop's, its tests leave no trace, its limits hold for every kind of timer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from race_cases import CPU, MULTIRATE, SGD, build_tiny, tiny_config, tiny_parts, tiny_split
from torch.nn import functional

from multirate_core.race.start import make_lanes, warm_up
from multirate_core.training.batches import Images, TrainingOrder, steps_per_epoch
from multirate_core.training.evaluation import evaluate
from multirate_core.training.forward import Forward
from multirate_core.training.lane import Lane
from multirate_core.training.randomness import Randomness
from multirate_core.training.timers import BorderTimer, HostTimer


def images(train: int = 90) -> Images:
    split = tiny_split(train)
    return Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU)


def lane_of(*arms: Any, position: int = 0) -> Lane:
    parts = tiny_parts(tiny_config(*arms))
    return make_lanes(parts, 0, build_tiny(0), images())[position]


def test_a_lane_of_plain_sgd_does_what_an_ordinary_loop_does() -> None:
    lane = lane_of(SGD)
    piece = lane.train(12, 60.0)
    model = build_tiny(0).module
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    expected = []
    order = torch.Generator().manual_seed(0)
    data = images()
    with Randomness(0, CPU).active():
        for _ in range(2):
            rows = torch.randperm(90, generator=order)
            for first in range(0, 90, 16):
                inputs, labels = data.batch(rows[first : first + 16])
                optimizer.zero_grad()
                loss = functional.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
                expected.append(loss.item())
    assert list(piece.loss) == expected
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), lane.model.parameters(), strict=True))


def test_a_test_between_steps_changes_nothing_that_the_training_sees() -> None:
    tested, untouched = lane_of(MULTIRATE), lane_of(MULTIRATE)
    for lane in (tested, untouched):
        lane.train(2, 60.0)
    flags = [weight.requires_grad for weight in tested.model.parameters()]
    gradients = [weight.grad for weight in tested.model.parameters()]
    state = torch.get_rng_state()
    tested.evaluate(images(30), 16)
    assert [weight.requires_grad for weight in tested.model.parameters()] == flags
    assert [weight.grad for weight in tested.model.parameters()] == gradients
    assert not all(flags)  # the slow part rests at this step, and the test kept it so
    assert all(module.training for module in tested.model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert list(tested.train(7, 60.0).loss) == list(untouched.train(7, 60.0).loss)


def test_a_module_that_was_in_eval_mode_stays_there() -> None:
    model = build_tiny(0).module
    model.body[1].eval()
    evaluate(Forward(model), images(30), 16)
    assert (model.training, model.body[1].training, model.body[3].training) == (True, False, True)


def test_the_score_is_that_of_the_whole_part_at_once() -> None:
    model, data = build_tiny(0).module, images(90)
    score = evaluate(Forward(model), data, 7)
    model.eval()
    inputs, labels = data.batch(slice(0, 90))
    logits = model(inputs)
    assert score.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert score.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_a_piece_ends_at_either_limit_and_takes_at_least_one_step() -> None:
    lane = lane_of(SGD)
    assert len(lane.train(3, 60.0).loss) == 3
    assert len(lane.train(3, 0.0).loss) == 1
    piece = lane.train(1000, 0.01)
    assert piece.trained_s >= 0.01 > piece.trained_s - piece.step_seconds[-1] - 1e-6
    assert lane.steps == 4 + len(piece.loss)
    assert piece.train_seconds[-1] == pytest.approx(lane.train_seconds)


def test_batches_are_normalised_and_an_epoch_shows_every_image_once() -> None:
    data = images(10)
    order = TrainingOrder(data, 4, 0, drop_single=False)
    batches = list(order.take(3))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    seen = torch.cat([inputs for inputs, _ in batches]).flatten(1)
    raw = (tiny_split(10).train_images.float() / 255 - 0.5) / 0.25
    assert sorted(seen.sum(1).tolist()) == pytest.approx(sorted(raw.flatten(1).sum(1).tolist()), abs=1e-3)


@pytest.mark.parametrize(
    ("count", "batch", "single", "expected"),
    [
        (90, 16, False, 6),
        (96, 16, False, 6),
        (97, 16, False, 7),
        (97, 16, True, 6),
        (1, 16, True, 1),
        (5, 16, False, 1),
    ],
)
def test_the_number_of_steps_in_an_epoch(count: int, batch: int, single: bool, expected: int) -> None:
    assert steps_per_epoch(count, batch, single) == expected


def test_a_batch_that_is_not_asked_for_stays_the_next_one() -> None:
    data = images(90)
    whole = [labels.tolist() for _, labels in TrainingOrder(data, 16, 5, False).take(8)]
    order = TrainingOrder(data, 16, 5, False)
    parts: list[list[int]] = []
    for _ in range(4):
        for taken, (_, labels) in enumerate(order.take(6), start=1):
            parts.append(labels.tolist())
            if taken == 2:
                break
    assert parts == whole


class Ticks:
    """A clock that moves on by one second at every look."""

    seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


def test_the_host_timer_tells_steps_from_loading() -> None:
    timer = HostTimer(now=Ticks())
    timer.begin()
    for _ in range(3):
        timer.start()
        timer.stop()
    assert timer.trained_s == 3.0
    assert timer.finish().step_s == [1.0, 1.0, 1.0]
    assert timer.finish().loading_s == 3.0


def test_the_border_timer_divides_what_passes_between_two_waits() -> None:
    waits: list[str] = []
    timer = BorderTimer(wait=lambda: waits.append("wait"), now=Ticks())
    timer.begin()
    for _ in range(4):
        timer.start()
        timer.stop()
    times = timer.finish()
    assert times.step_s == [0.25] * 4
    assert times.loading_s == 1.0
    assert len(waits) == 3  # before the batches, before the first step, after the last one


def test_a_timer_that_is_read_only_afterwards_gives_the_same_losses_and_plans_its_steps() -> None:
    live, planned = lane_of(SGD), lane_of(SGD)
    planned.timer = BorderTimer(wait=lambda: None)
    expected = live.train(30, 60.0)
    first = planned.train(30, 60.0)
    assert len(first.loss) == 1  # nothing is known yet
    rest = planned.train(29, 60.0)
    assert [*first.loss, *rest.loss] == list(expected.loss)
    few = planned.train(1000, 3 * (planned.step_s or 0.0))
    assert len(few.loss) in (3, 4)


def test_the_mean_step_leaves_the_first_one_out() -> None:
    lane = lane_of(SGD)
    assert lane.step_s is None
    clock = iter([0.0, 0.0, 10.0, 10.0, 11.0, 11.0, 12.0])
    lane.timer = HostTimer(now=lambda: next(clock))
    lane.train(3, 60.0)
    assert lane.train_seconds == 12.0
    assert lane.step_s == 1.0


def test_a_warm_up_leaves_weights_and_random_states_as_they_were() -> None:
    parts = tiny_parts(tiny_config(SGD, MULTIRATE))
    built = build_tiny(0)
    before = [weight.clone() for weight in built.module.state_dict().values()]
    state = torch.get_rng_state()
    warm_up(parts, built, images())
    after = list(built.module.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
