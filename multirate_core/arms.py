"""What is compared: plain SGD, multirate SGD, and training with the slow part frozen, each as one optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from multirate_core.config import ArmConfig, Recipe
from multirate_core.errors import ConfigError, PartitionError
from multirate_core.optim import MultirateSGD
from multirate_core.partition import Partition, param_groups


@dataclass(frozen=True)
class ArmOptimizer:
    """An arm's optimiser and which groups it looks at.

    Args:
        optimizer: drives an ordinary loop; nothing else has to be called.
        groups: names of the groups, in the order of the arm's partition; one group "all" for plain SGD.
        due: returns a bit mask; bit g is set if group g gets a gradient at the *next* step.
        cycle: steps after which the pattern of due groups has been seen, the longest period.
    """

    optimizer: torch.optim.Optimizer
    groups: tuple[str, ...]
    due: Callable[[], int]
    cycle: int


def make_optimizer(arm: ArmConfig, model: nn.Module, partition: Partition | None, recipe: Recipe) -> ArmOptimizer:
    """Make the optimiser of an arm on its own copy of the model; parameters that it never trains are frozen.

    Args:
        arm: what to make.
        model: all its parameters that should train have `requires_grad`; "frozen" clears it on the slow ones. BatchNorm
            statistics of a frozen part keep moving, as they do in the other arms: they are no parameters.
        partition: needed by "multirate" and "frozen".
        recipe: lr, momentum and weight decay, the same for every arm.

    Raises:
        ConfigError: the arm needs a partition and has none.
        PartitionError: nothing would train at every step.
    """
    if arm.kind == "sgd":
        return _sgd(model, recipe)
    if partition is None:
        raise ConfigError(f"the arm {arm.name!r} of kind {arm.kind!r} needs a partition, got none. Give it one.")
    return _multirate(arm, model, partition, recipe) if arm.kind == "multirate" else _frozen(model, partition, recipe)


def _sgd(model: nn.Module, recipe: Recipe) -> ArmOptimizer:
    """Return torch's own SGD over everything, so that the race is against the real thing."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    return ArmOptimizer(_torch_sgd(trainable, recipe), ("all",), lambda: 1, cycle=1)


def _multirate(arm: ArmConfig, model: nn.Module, partition: Partition, recipe: Recipe) -> ArmOptimizer:
    """Return Algorithm 1 over the groups of the partition."""
    optimizer = MultirateSGD(
        param_groups(partition, model),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        drift=arm.drift,
    )
    names = tuple(group.name for group in partition.groups)
    bit = {name: 1 << position for position, name in enumerate(names)}
    cycle = max(group.period for group in partition.groups)
    return ArmOptimizer(optimizer, names, lambda: sum(bit[name] for name in optimizer.due_groups), cycle)


def _frozen(model: nn.Module, partition: Partition, recipe: Recipe) -> ArmOptimizer:
    """Return torch's SGD over the groups of period 1; every other parameter stays as it is."""
    fast: list[nn.Parameter] = []
    for group in param_groups(partition, model):
        if group["period"] == 1:
            fast += group["params"]
    if not fast:
        raise PartitionError("no parameter is in a group of period 1: nothing would train. Move one to the fast group.")
    trained = {id(weight) for weight in fast}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in trained)
    mask = sum(1 << position for position, group in enumerate(partition.groups) if group.period == 1)
    names = tuple(group.name for group in partition.groups)
    return ArmOptimizer(_torch_sgd(fast, recipe), names, lambda: mask, cycle=1)


def _torch_sgd(weights: list[nn.Parameter], recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(weights, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
