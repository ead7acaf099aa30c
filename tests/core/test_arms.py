"""The arms: which optimiser they get, what they train and which groups they say are due."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from race_cases import CPU, FROZEN, HEAD_FAST, MULTIRATE, SGD, build_tiny, tiny_config, tiny_split
from torch import Tensor, nn

from multirate_core.arms import make_optimizer
from multirate_core.config import ArmConfig, GroupSpec, Recipe
from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateAdamW, MultirateSGD
from multirate_core.partition import Partition
from multirate_core.race.partitions import resolve_partitions
from multirate_core.training.batches import Images
from multirate_core.training.forward import Forward
from multirate_core.training.lane import train_step

RECIPE = Recipe(lr=0.05, momentum=0.8, weight_decay=0.01, batch_size=16)


def partition_of(arm: ArmConfig, model: nn.Module) -> Partition | None:
    return resolve_partitions(tiny_config(arm), model)[0]


def sixteen() -> tuple[Tensor, Tensor]:
    split = tiny_split()
    return Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU).batch(slice(0, 16))


def take_steps(arm: ArmConfig, steps: int, steps_per_epoch: int = 1) -> tuple[nn.Module, list[int]]:
    """Train a tiny network and return it with the masks of due groups."""
    model = build_tiny(0).module
    made = make_optimizer(arm, model, partition_of(arm, model), RECIPE, steps_per_epoch)
    inputs, labels = sixteen()
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


def rated(*groups: GroupSpec, arm: ArmConfig = MULTIRATE) -> ArmConfig:
    return replace(arm, partition=replace(HEAD_FAST, groups=groups))


def test_with_the_base_adamw_the_plain_and_the_frozen_arm_are_torchs_own_adamw() -> None:
    recipe = Recipe(lr=0.002, weight_decay=0.03, base="adamw")
    for arm in (SGD, FROZEN):
        model = build_tiny(0).module
        made = make_optimizer(arm, model, partition_of(FROZEN, model), recipe)
        assert type(made.optimizer) is torch.optim.AdamW
        group = made.optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (0.002, 0.03, (0.9, 0.999), 1e-8)


def test_with_the_base_adamw_the_multirate_arm_is_its_multirate_form() -> None:
    model = build_tiny(0).module
    recipe = Recipe(lr=0.002, weight_decay=0.03, base="adamw")
    made = make_optimizer(replace(MULTIRATE, drift=False), model, partition_of(MULTIRATE, model), recipe)
    assert isinstance(made.optimizer, MultirateAdamW)
    for group in made.optimizer.param_groups:
        assert (group["lr"], group["weight_decay"], group["drift"]) == (0.002, 0.03, False)


def test_nesterov_reaches_every_arm() -> None:
    for arm in (SGD, MULTIRATE, FROZEN):
        model = build_tiny(0).module
        made = make_optimizer(arm, model, partition_of(arm, model), replace(RECIPE, nesterov=True))
        assert [group["nesterov"] for group in made.optimizer.param_groups] == [True] * len(made.optimizer.param_groups)


def test_a_groups_lr_factor_counts_where_there_are_groups() -> None:
    groups = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 3, 0.5))
    for arm, lrs in ((MULTIRATE, [0.1, 0.025]), (FROZEN, [0.1])):
        model = build_tiny(0).module
        own = rated(*groups, arm=arm)
        made = make_optimizer(own, model, partition_of(own, model), RECIPE)
        assert [group["lr"] for group in made.optimizer.param_groups] == lrs


def test_a_schedule_for_k_runs_step_by_step_and_the_mask_follows_it() -> None:
    arm = rated(GroupSpec("fast", 1), GroupSpec("slow", 3, phases=((1, 1), (2, 2))))
    assert take_steps(arm, 12, steps_per_epoch=2)[1] == [3, 3, 1, 3, 1, 3, 1, 1, 3, 1, 1, 3]
    assert take_steps(MULTIRATE, 4, steps_per_epoch=2)[1] == [3, 1, 1, 3]


def test_a_lower_k_makes_a_group_due_at_once_and_the_mask_says_so() -> None:
    arm = rated(GroupSpec("fast", 1), GroupSpec("slow", 2, phases=((4, 100),)))
    assert take_steps(arm, 7, steps_per_epoch=1)[1] == [3, 1, 1, 1, 3, 1, 3]


def test_the_mask_with_a_schedule_names_the_groups_that_had_a_gradient() -> None:
    arm = rated(GroupSpec("fast", 1), GroupSpec("slow", 4, phases=((1.5, 1), (0.1, 3), (1, 2))))
    model, masks = build_tiny(0).module, []
    made = make_optimizer(arm, model, partition_of(arm, model), RECIPE, 4)
    assert isinstance(made.optimizer, MultirateSGD)
    for _ in range(20):
        due = made.due()
        train_step(Forward(model), made, *sixteen())
        masks.append((due, sum({"fast": 1, "slow": 2}[name] for name in made.optimizer.last_refreshed)))
    assert all(due == refreshed for due, refreshed in masks)
    assert len(set(masks)) == 2


def test_a_schedule_of_an_empty_group_is_passed_over() -> None:
    arm = rated(GroupSpec("fast", 1), GroupSpec("slow", 3), GroupSpec("empty", 2, phases=((1, 1),)))
    assert take_steps(arm, 4)[1] == [3, 1, 1, 3]


@pytest.mark.parametrize("arm", [MULTIRATE, FROZEN])
def test_an_arm_without_its_partition_is_refused(arm: ArmConfig) -> None:
    with pytest.raises(ConfigError, match="needs a partition"):
        make_optimizer(arm, build_tiny(0).module, None, RECIPE)
