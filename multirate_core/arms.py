"""What is compared: the plain base rule (SGD or AdamW), its multirate form, and training with the slow part frozen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from multirate_core.config import ArmConfig, Recipe
from multirate_core.errors import ConfigError, PartitionError
from multirate_core.optim import (
    MultirateAdamW,
    MultirateOptimizer,
    MultirateSGD,
    PeriodSchedule,
    base_name,
    lr_factor,
    norms_apart,
    phases_in_steps,
)
from multirate_core.partition import Partition, param_groups


@dataclass(frozen=True)
class ArmOptimizer:
    """An arm's optimiser and which groups it looks at.

    Args:
        optimizer: drives an ordinary loop.
        groups: names of the groups, in the order of the arm's partition; one group "all" for the plain base rule.
        due: returns a bit mask; bit g is set if group g gets a gradient at the *next* step.
        cycle: steps after which the pattern of due groups has been seen, the longest period that is not a phase.
        recipe: what a step is beside the optimiser: how the batch is divided, the loss, the clipping.
        all_gradients: a context in which every trained parameter may have a gradient, whatever step comes next.
        after_step: called after each `optimizer.step()`: moves the schedule of the periods on, if there is one.
        set_rates: called before each step with the run's progress, from 0 to 1: sets the learning rate of every group.
    """

    optimizer: torch.optim.Optimizer
    groups: tuple[str, ...]
    due: Callable[[], int]
    cycle: int
    recipe: Recipe
    all_gradients: Callable[[], AbstractContextManager[None]] = nullcontext
    after_step: Callable[[], None] = lambda: None
    set_rates: Callable[[float], None] = lambda _: None


def make_optimizer(
    arm: ArmConfig, model: nn.Module, partition: Partition | None, recipe: Recipe, steps_per_epoch: int = 1
) -> ArmOptimizer:
    """Make the optimiser of an arm on its own copy of the model; parameters that it never trains are frozen.

    Args:
        arm: what to make.
        model: all its parameters that should train have `requires_grad`; "frozen" clears it on the slow ones. BatchNorm
            statistics of a frozen part keep moving, as they do in the other arms: they are no parameters.
        partition: needed by "multirate" and "frozen".
        recipe: the same for every arm. A group's `lr_factor` counts wherever there are groups: in "multirate", and in
            "frozen" for those of period 1; the schedule of the learning rate scales all of them alike.
        steps_per_epoch: turns the epochs of a group's phases into steps, >= 1.

    Raises:
        ConfigError: the arm needs a partition and has none.
        PartitionError: nothing would train at every step.
    """
    made = _make(arm, model, partition, recipe, steps_per_epoch)
    return replace(made, set_rates=_lr_schedule(made.optimizer, recipe)) if recipe.varies_lr else made


def _make(
    arm: ArmConfig, model: nn.Module, partition: Partition | None, recipe: Recipe, steps_per_epoch: int
) -> ArmOptimizer:
    if arm.kind == "sgd":
        trainable = [weight for weight in model.parameters() if weight.requires_grad]
        groups = _decayed([{"params": trainable}], recipe)
        return ArmOptimizer(_torch_optimizer(groups, recipe), ("all",), lambda: 1, 1, recipe)
    if partition is None:
        raise ConfigError(f"the arm {arm.name!r} of kind {arm.kind!r} needs a partition, got none. Give it one.")
    groups = _groups(partition, model, recipe)
    if arm.kind == "frozen":
        return _frozen(model, partition, groups, recipe)
    optimizer = _multirate_optimizer(groups, recipe, arm.drift)
    return _multirate(optimizer, partition, recipe, steps_per_epoch)


def _lr_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe) -> Callable[[float], None]:
    """Return a function that sets every group's lr to its own largest one times the schedule's factor."""
    largest = [group["lr"] for group in optimizer.param_groups]

    def set_rates(progress: float) -> None:
        factor = lr_factor(progress, recipe.schedule, recipe.warmup)
        for group, lr in zip(optimizer.param_groups, largest, strict=True):
            group["lr"] = lr * factor

    return set_rates


def _groups(partition: Partition, model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the parameter groups, each with its own lr."""
    factors = {group.name: group.lr_factor for group in partition.groups}
    groups = [{**group, "lr": recipe.lr * factors[group["name"]]} for group in param_groups(partition, model)]
    return _decayed(groups, recipe)


def _decayed(groups: list[dict[str, Any]], recipe: Recipe) -> list[dict[str, Any]]:
    """Return the groups with norms and biases apart, if there is a weight decay that leaves them out."""
    return groups if recipe.decay_norms or recipe.weight_decay == 0 else norms_apart(groups)


def _multirate(
    optimizer: MultirateOptimizer, partition: Partition, recipe: Recipe, steps_per_epoch: int
) -> ArmOptimizer:
    """Return Algorithm 1 over the groups of the partition."""
    names = tuple(group.name for group in partition.groups)
    bit = {name: 1 << position for position, name in enumerate(names)}
    cycle = max(group.period for group in partition.groups)

    def due() -> int:
        return sum({bit[base_name(name)] for name in optimizer.due_groups})

    made = ArmOptimizer(optimizer, names, due, cycle, recipe, optimizer.all_gradients)
    phases_of = {group.name: group.phases for group in partition.groups if group.phases}
    phases = {
        group["name"]: phases_in_steps(phases_of[base_name(group["name"])], steps_per_epoch)
        for group in optimizer.param_groups
        if base_name(group["name"]) in phases_of
    }
    if not phases:
        return made
    schedule = PeriodSchedule(optimizer, phases)
    return replace(made, after_step=lambda: _move_on(schedule, optimizer))


def _move_on(schedule: PeriodSchedule, optimizer: MultirateOptimizer) -> None:
    """Count one step; where a period changed, plan the next step with it."""
    before = [group["period"] for group in optimizer.param_groups]
    schedule.step()
    if before != [group["period"] for group in optimizer.param_groups]:
        optimizer.zero_grad()


def _frozen(model: nn.Module, partition: Partition, groups: list[dict[str, Any]], recipe: Recipe) -> ArmOptimizer:
    """Return torch's optimiser over the groups of period 1; every other parameter stays as it is."""
    options = ("params", "lr", "weight_decay")  # torch's own know no period
    fast = [{key: group[key] for key in options if key in group} for group in groups if group["period"] == 1]
    if not fast:
        raise PartitionError("no parameter is in a group of period 1: nothing would train. Move one to the fast group.")
    trained = {id(weight) for group in fast for weight in group["params"]}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in trained)
    mask = sum(1 << position for position, group in enumerate(partition.groups) if group.period == 1)
    names = tuple(group.name for group in partition.groups)
    return ArmOptimizer(_torch_optimizer(fast, recipe), names, lambda: mask, 1, recipe)


def _torch_optimizer(params: list[Any], recipe: Recipe) -> torch.optim.Optimizer:
    """Return torch's own optimiser, so that the race is against the real thing."""
    if recipe.base == "adamw":
        return torch.optim.AdamW(params, lr=recipe.lr, weight_decay=recipe.weight_decay)
    momentum, nesterov = recipe.momentum, recipe.nesterov
    return torch.optim.SGD(params, lr=recipe.lr, momentum=momentum, weight_decay=recipe.weight_decay, nesterov=nesterov)


def _multirate_optimizer(groups: list[dict[str, Any]], recipe: Recipe, drift: bool) -> MultirateOptimizer:
    if recipe.base == "adamw":
        return MultirateAdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, drift=drift)
    return MultirateSGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        drift=drift,
        nesterov=recipe.nesterov,
    )
