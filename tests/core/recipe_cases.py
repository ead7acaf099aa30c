"""Lanes of a small network without BatchNorm and dropout, so that a batch in parts is the whole batch again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from race_cases import CPU, tiny_config, tiny_split
from torch import nn

from multirate_core.config import ArmConfig, Budget, Recipe
from multirate_core.models.registry import BuiltModel
from multirate_core.race.partitions import resolve_partitions
from multirate_core.race.start import RaceParts, make_lanes
from multirate_core.training.batches import Images
from multirate_core.training.lane import Lane

STEPS_PER_EPOCH = 6  # of 90 images in batches of 16; the last one has 10
EPOCHS = 2


def plain_net() -> nn.Sequential:
    """A network whose parameters are `body.*` and `head.*`."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.ReLU())
        return nn.Sequential(OrderedDict(body=body, head=nn.Linear(8, 3)))


def training_images() -> Images:
    split = tiny_split()
    return Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU)


def plain_parts(*arms: ArmConfig, budget: Budget | None = None, **recipe: Any) -> RaceParts:
    chosen = Recipe(**{"lr": 0.05, "batch_size": 16, **recipe})
    config = tiny_config(*arms, recipe=chosen, budget=budget or Budget(epochs=EPOCHS))
    return RaceParts(config, lambda _: plain_built(), tiny_split(), resolve_partitions(config, plain_net()), CPU)


def plain_built() -> BuiltModel:
    return BuiltModel(plain_net(), ("head",), (0.5,), (0.25,), ())


def plain_lanes(*arms: ArmConfig, budget: Budget | None = None, **recipe: Any) -> list[Lane]:
    return make_lanes(plain_parts(*arms, budget=budget, **recipe), 0, plain_built(), training_images())


def rates_of(lane: Lane) -> list[float]:
    return [group["lr"] for group in lane.arm.optimizer.param_groups]
