"""The lines that the page gives away train as the race's multirate arm does, whatever its recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from race_cases import HEAD_FAST, MULTIRATE, SGD
from recipe_cases import EPOCHS, STEPS_PER_EPOCH, plain_lanes, plain_net, plain_parts, training_images
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.config import ArmConfig, Budget, Execution, GroupSpec
from multirate_core.training.batches import TrainingOrder
from pages.components.board.snippet import snippet

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

FULL: dict[str, Any] = {"label_smoothing": 0.1, "clip_norm": 0.5, "weight_decay": 0.01, "decay_norms": False}
SCHEDULED = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 4, 0.5, ((0.5, 1), (0.5, 2))))
RATED = replace(MULTIRATE, partition=replace(HEAD_FAST, groups=SCHEDULED))


class Loader:
    """A data loader in the race's order; `shown` counts its batches."""

    def __init__(self) -> None:
        self.shown = 0
        self._order = TrainingOrder(training_images(), 16, 0, drop_single=False)

    def __len__(self) -> int:
        return STEPS_PER_EPOCH

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._order.take(STEPS_PER_EPOCH):
            self.shown += 1
            yield batch


def run(code: str) -> tuple[nn.Module, Loader, dict[str, Any]]:
    model, loader = plain_net(), Loader()
    names: dict[str, Any] = {"model": model, "loader": loader, "loss_fn": functional.cross_entropy}
    exec(compile(code, "snippet", "exec"), names)
    return model, loader, names


@pytest.mark.parametrize("arm", [MULTIRATE, RATED, replace(RATED, drift=False)], ids=["plain", "rated", "no drift"])
@pytest.mark.parametrize(
    "recipe",
    [
        {"schedule": "cosine", "warmup": 0.25, **FULL},
        {"schedule": "linear", "accumulate": 2, "momentum": 0.5, "nesterov": True},
        {"schedule": "one_cycle", "base": "adamw", "lr": 0.003, "accumulate": 8, **FULL},
        {"warmup": 0.5, "accumulate": 3, "label_smoothing": 0.3},
    ],
    ids=["cosine", "linear", "one_cycle", "warm-up"],
)
def test_the_lines_end_at_the_weights_of_the_race(arm: ArmConfig, recipe: dict[str, Any]) -> None:
    (lane,) = plain_lanes(arm, **recipe)
    lane.train(EPOCHS * STEPS_PER_EPOCH, 60.0)
    config = plain_parts(SGD, arm, **recipe).config
    assert arm.partition is not None
    model, loader, _ = run(snippet(arm.partition, replace(config, arms=(arm,))))
    assert loader.shown == lane.steps
    for ours, theirs in zip(model.parameters(), lane.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_with_a_budget_of_seconds_the_lines_follow_the_clock_and_end_with_it() -> None:
    config = plain_parts(MULTIRATE, schedule="linear", budget=Budget(seconds=0.2)).config
    begun = time.perf_counter()
    _, loader, names = run(snippet(HEAD_FAST, config))
    assert time.perf_counter() - begun >= 0.2
    assert loader.shown >= 1
    assert all(group["lr"] < 0.025 for group in names["optimizer"].param_groups)


def test_a_divided_batch_is_computed_as_the_race_computes() -> None:
    config = plain_parts(MULTIRATE, accumulate=2).config
    code = snippet(HEAD_FAST, replace(config, execution=Execution("bf16", channels_last=True)))
    assert "loss = loss_fn(model(some_x), some_y) * (len(some_y) / len(y))" in code
    one = snippet(HEAD_FAST, replace(config, execution=Execution(compile=True)))
    assert "(loss_fn(compiled(some_x), some_y) * (len(some_y) / len(y))).backward()" in one


def test_what_the_recipe_does_not_have_is_not_in_the_lines() -> None:
    code = snippet(HEAD_FAST, plain_parts(MULTIRATE, decay_norms=False).config)
    for word in ("lr_factor", "norms_apart", "clip", "parts", "EPOCHS", "import torch", "CrossEntropy"):
        assert word not in code
    assert "`loader` and `loss_fn` are your own" in code
    smoothed = snippet(HEAD_FAST, plain_parts(MULTIRATE, label_smoothing=0.1).config)
    assert "`model` and `loader` are your own" in smoothed
