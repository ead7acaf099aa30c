"""Every base rule × drift × k × momentum × decay × number of groups × way of calling torch, against the plain twins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optim_cases import Batch, assert_close_weights, batches, small_net, split_by_layer, train
from torch import nn

from multirate_core.optim import MultirateAdamW, MultirateOptimizer, MultirateSGD
from multirate_core.optim.reference import ReferenceAdamWGroup, ReferenceGroup, train_multirate, train_multirate_adamw

pytestmark = pytest.mark.slow

DATA = batches(30, dtype=torch.float64)


def make_sgd(groups: list[dict[str, Any]], foreach: bool, **options: Any) -> MultirateOptimizer:
    return MultirateSGD(groups, foreach=foreach, **options)


def train_sgd_twin(model: nn.Module, groups: list[dict[str, Any]], options: dict[str, Any]) -> None:
    twins = [ReferenceGroup(group["params"], group["period"], **options) for group in groups]
    train_multirate(twins, [lambda batch=batch: loss_of(model, batch) for batch in DATA])


def make_adamw(groups: list[dict[str, Any]], foreach: bool, **options: Any) -> MultirateOptimizer:
    betas = (options.pop("beta1"), options.pop("beta2"))
    return MultirateAdamW(groups, foreach=foreach, betas=betas, **options)


def train_adamw_twin(model: nn.Module, groups: list[dict[str, Any]], options: dict[str, Any]) -> None:
    twins = [ReferenceAdamWGroup(group["params"], group["period"], **options) for group in groups]
    train_multirate_adamw(twins, [lambda batch=batch: loss_of(model, batch) for batch in DATA])


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


SGD = [
    {"lr": 0.02, "momentum": 0.0},
    {"lr": 0.02, "momentum": 0.9},
    {"lr": 0.02, "momentum": 0.9, "nesterov": True},
]
ADAMW = [{"lr": 0.003, "beta1": 0.9, "beta2": 0.999}, {"lr": 0.003, "beta1": 0.0, "beta2": 0.9}]
RULES = [(make_sgd, train_sgd_twin, rule) for rule in SGD] + [(make_adamw, train_adamw_twin, rule) for rule in ADAMW]
NAMES = ["sgd", "momentum", "nesterov", "adamw", "adamw without first moment"]


@pytest.mark.parametrize("foreach", [True, False], ids=["foreach", "loop"])
@pytest.mark.parametrize("extra", [(), (11,)], ids=["2 groups", "3 groups"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05], ids=["", "decay"])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("drift", [True, False], ids=["drift", "at once"])
@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_rule_equals_its_twin(
    rule: Any, drift: bool, k: int, weight_decay: float, extra: tuple[int, ...], foreach: bool
) -> None:
    make, train_twin, numbers = rule
    ours, twin, start = (small_net(torch.float64) for _ in range(3))
    options = {**numbers, "weight_decay": weight_decay, "drift": drift}
    optimizer = make(split_by_layer(ours, [1, k, *extra]), foreach, **options)
    train(ours, optimizer, DATA)
    train_twin(twin, split_by_layer(twin, [1, k, *extra]), options)
    assert_close_weights(ours, twin)
    assert all(not torch.equal(a, b) for a, b in zip(ours.parameters(), start.parameters(), strict=True))
