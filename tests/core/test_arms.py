"""The arms: which optimiser they get, what they train and which groups they say are due."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from race_cases import CPU, FROZEN, HEAD_FAST, MULTIRATE, SGD, build_tiny, tiny_config, tiny_split
from torch import nn

from multirate_core.arms import make_optimizer
from multirate_core.config import ArmConfig, GroupSpec, Recipe
from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateSGD
from multirate_core.partition import Partition
from multirate_core.race.partitions import resolve_partitions
from multirate_core.training.batches import Images
from multirate_core.training.forward import Forward
from multirate_core.training.lane import train_step

RECIPE = Recipe(lr=0.05, momentum=0.8, weight_decay=0.01, batch_size=16)


def partition_of(arm: ArmConfig, model: nn.Module) -> Partition | None:
    return resolve_partitions(tiny_config(arm), model)[0]


def take_steps(arm: ArmConfig, steps: int) -> tuple[nn.Module, list[int]]:
    """Train a tiny network and return it with the masks of due groups."""
    model = build_tiny(0).module
    made = make_optimizer(arm, model, partition_of(arm, model), RECIPE)
    split = tiny_split()
    inputs, labels = Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU).batch(slice(0, 16))
    masks = []
    for _ in range(steps):
        masks.append(made.due())
        train_step(Forward(model), made, inputs, labels)
    return model, masks


def test_the_sgd_arm_is_torchs_own_sgd_with_the_recipe() -> None:
    model = build_tiny(0).module
    made = make_optimizer(SGD, model, None, RECIPE)
    assert type(made.optimizer) is torch.optim.SGD
    group = made.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.05, 0.8, 0.01)
    assert len(group["params"]) == len(list(model.parameters()))


def test_the_multirate_arm_has_the_groups_of_its_partition_and_the_same_recipe() -> None:
    model = build_tiny(0).module
    made = make_optimizer(replace(MULTIRATE, drift=False), model, partition_of(MULTIRATE, model), RECIPE)
    assert isinstance(made.optimizer, MultirateSGD)
    assert made.groups == ("fast", "slow") and made.cycle == 3
    for group, period in zip(made.optimizer.param_groups, (1, 3), strict=True):
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.05, 0.8, 0.01)
        assert (group["period"], group["drift"]) == (period, False)


def test_the_multirate_mask_names_the_groups_that_get_a_gradient() -> None:
    _, masks = take_steps(MULTIRATE, 7)
    assert masks == [0b11, 0b01, 0b01, 0b11, 0b01, 0b01, 0b11]


def test_bits_follow_the_partitions_groups_even_where_one_is_empty() -> None:
    groups = (GroupSpec("empty", 2), GroupSpec("slow", 2), GroupSpec("fast", 1))
    arm = replace(MULTIRATE, partition=replace(HEAD_FAST, groups=groups))
    _, masks = take_steps(arm, 3)
    assert masks == [0b110, 0b100, 0b110]


def test_the_frozen_arm_leaves_slow_weights_alone_while_their_statistics_move() -> None:
    start = build_tiny(0).module.state_dict()
    model, masks = take_steps(FROZEN, 3)
    for name, value in model.state_dict().items():
        moved = not torch.equal(value, start[name])
        assert moved == (name.startswith("head.") or "running" in name or "num_batches" in name), name
    assert masks == [0b01] * 3


def test_the_frozen_arm_asks_autograd_for_nothing_below_its_fast_part() -> None:
    model, _ = take_steps(FROZEN, 1)
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == {
        "head.weight",
        "head.bias",
    }


@pytest.mark.parametrize("arm", [MULTIRATE, FROZEN])
def test_an_arm_without_its_partition_is_refused(arm: ArmConfig) -> None:
    with pytest.raises(ConfigError, match="needs a partition"):
        make_optimizer(arm, build_tiny(0).module, None, RECIPE)
