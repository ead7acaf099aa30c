"""Norms and biases without weight decay: which they are, how their groups look, and what every arm makes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from race_cases import FROZEN, MULTIRATE, SGD, build_tiny, tiny_config
from torch import nn

from multirate_core.arms import ArmOptimizer, make_optimizer
from multirate_core.config import ArmConfig, GroupSpec, PartitionSpec, Recipe, Rule
from multirate_core.optim import MultirateSGD, base_name, norms_apart
from multirate_core.race.partitions import resolve_partitions
from multirate_core.training.forward import Forward
from multirate_core.training.lane import train_step

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

UNDECAYED = {"body.0.bias", "body.1.weight", "body.1.bias", "head.bias"}


def arm_of(arm: ArmConfig, **recipe: Any) -> tuple[nn.Module, ArmOptimizer]:
    model = build_tiny(0).module.eval()  # without dropout
    made = make_optimizer(arm, model, resolve_partitions(tiny_config(arm), model)[0], Recipe(lr=0.1, **recipe), 2)
    return model, made


def test_what_has_at_most_one_dimension_comes_into_a_group_of_its_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3))
    scale = nn.Parameter(torch.ones(()))
    groups = [
        {"params": model.parameters(), "name": "all", "lr": 0.5, "period": 1},
        {"params": [scale], "name": "scale", "period": 3, "weight_decay": 0.7},
        {"params": [model[0].weight]},
    ]
    before = [set(group) for group in groups]
    apart = norms_apart(groups)
    assert [[weight.dim() for weight in group["params"]] for group in apart] == [[4, 2], [1, 1, 1, 1], [0], [4]]
    assert [group.get("weight_decay") for group in apart] == [None, 0.0, 0.0, None]
    assert [base_name(group.get("name", "")) for group in apart] == ["all", "all", "scale", ""]
    assert [group.get("name") == "all" for group in apart] == [True, False, False, False]
    assert [(group.get("lr"), group.get("period")) for group in apart[:2]] == [(0.5, 1)] * 2
    assert [set(group) for group in groups] == before


def test_no_group_of_a_configuration_can_have_the_name_of_such_a_group() -> None:
    (_, apart) = norms_apart([{"params": nn.Linear(2, 2).parameters(), "name": "x"}])
    assert len(apart["name"]) > 40  # the limit of GroupSpec


@pytest.mark.parametrize("base", ["sgd", "adamw"])
@pytest.mark.parametrize("arm", [SGD, MULTIRATE, FROZEN], ids=lambda arm: arm.name)
def test_every_arm_decays_the_same_parameters(arm: ArmConfig, base: Any) -> None:
    model, made = arm_of(arm, base=base, weight_decay=0.3, decay_norms=False)
    names = {weight: name for name, weight in model.named_parameters()}
    decay = {
        names[weight]: group["weight_decay"] for group in made.optimizer.param_groups for weight in group["params"]
    }
    assert decay == {name: 0.0 if name in UNDECAYED else 0.3 for name in decay}
    assert decay.keys() == {name for name in names.values() if arm is not FROZEN or name.startswith("head")}
    assert {group["lr"] for group in made.optimizer.param_groups} == {0.1}


def test_what_is_left_out_does_not_shrink_and_the_rest_does() -> None:
    for arm in (SGD, MULTIRATE):
        model, made = arm_of(arm, momentum=0.0, weight_decay=0.5, decay_norms=False)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        made.optimizer.zero_grad()
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        made.optimizer.step()
        for name, weight in model.named_parameters():
            factor = 1.0 if name in UNDECAYED else 1.0 - 0.1 * 0.5
            torch.testing.assert_close(weight.detach(), before[name] * factor)


def test_groups_stay_whole_where_nothing_is_left_out() -> None:
    for recipe in ({"weight_decay": 0.5}, {"decay_norms": False}):
        assert len(arm_of(SGD, **recipe)[1].optimizer.param_groups) == 1
        assert len(arm_of(MULTIRATE, **recipe)[1].optimizer.param_groups) == 2


def test_mask_and_schedule_for_k_are_those_of_the_partitions_groups() -> None:
    groups = (GroupSpec("fast", 1), GroupSpec("slow", 3, phases=((1, 1), (2, 2))))
    arm = ArmConfig("multirate", "multirate", PartitionSpec(groups, (Rule("head", "fast"), Rule("*", "slow"))))
    seen = []
    for recipe in ({}, {"weight_decay": 0.1, "decay_norms": False}):
        model, made = arm_of(arm, **recipe)
        inputs, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
        masks = []
        for _ in range(12):
            masks.append(made.due())
            train_step(Forward(model), made, inputs, labels)
        seen.append(masks)
    assert seen[0] == seen[1] == [3, 3, 1, 3, 1, 3, 1, 1, 3, 1, 1, 3]
    assert isinstance(made.optimizer, MultirateSGD) and len(made.optimizer.param_groups) == 4
