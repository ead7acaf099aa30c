"""Before the clocks start: equal copies of one network for all arms, and a warm-up that no arm is billed for."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multirate_core.arms import ArmOptimizer, make_optimizer
from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.data.split import DataSplit
from multirate_core.data.texts import TextSplit
from multirate_core.errors import ConfigError
from multirate_core.lean import make_lean
from multirate_core.models.registry import BuiltModel
from multirate_core.partition import Partition
from multirate_core.training.batches import TrainingOrder, drops_single, steps_per_epoch
from multirate_core.training.forward import Forward
from multirate_core.training.lane import Lane, train_step
from multirate_core.training.randomness import Randomness, kept
from multirate_core.training.samples import Inputs, Samples, shape_of
from multirate_core.training.timers import slice_timer

WARM_UP_STEPS = 3  # the first with all groups due, the others as k says
WARM_UP_S = 1.0


@dataclass(frozen=True)
class RaceParts:
    """Everything a race needs, made or found.

    Args:
        config: what to race.
        build: returns the network of a seed, with its initial weights, on the CPU.
        split: the data.
        partitions: one per arm of the config; None for plain SGD.
        device: where to train.
    """

    config: RaceConfig
    build: Callable[[int], BuiltModel]
    split: DataSplit | TextSplit
    partitions: tuple[Partition | None, ...]
    device: torch.device


def make_lanes(parts: RaceParts, seed_index: int, built: BuiltModel, train: Samples) -> list[Lane]:
    """Return one lane per arm, all with the weights of `built`, the same data order and the same random states."""
    config = parts.config
    seed, batch_size = config.seeds[seed_index], config.recipe.batch_size
    single = drops_single(built.module, len(train), batch_size)
    return [
        Lane(
            number=seed_index * len(config.arms) + position,
            name=arm.name,
            arm=optimizer,
            forward=forward,
            order=TrainingOrder(train, batch_size, seed, single),
            randomness=Randomness(seed, parts.device),
            timer=slice_timer(parts.device),
            budget=config.budget,
        )
        for position, arm in enumerate(config.arms)
        for forward, optimizer in [_copy(parts, built, arm, parts.partitions[position])]
    ]


def warm_up(parts: RaceParts, built: BuiltModel, train: Samples) -> None:
    """Take a few steps of every arm on copies that are thrown away.

    The first steps of a process are slow (memory is fetched from the system, kernels are chosen); without this the
    first lane would pay for all. Each arm takes at least one step, then as many as fit into a second.

    Raises:
        ConfigError: BatchNorm gets one value per channel, from one image of one pixel, and cannot train on that.
    """
    begun = time.perf_counter()
    with kept(parts.device):
        for arm, partition in zip(parts.config.arms, parts.partitions, strict=True):
            forward, optimizer = _copy(parts, built, arm, partition, compiled=False)
            batch_size = parts.config.recipe.batch_size
            order = TrainingOrder(train, batch_size, 0, drops_single(forward.model, len(train), batch_size))
            for inputs, labels in order.take(WARM_UP_STEPS):
                _first_step(forward, optimizer, inputs, labels)
                if time.perf_counter() - begun > WARM_UP_S:
                    break


def _first_step(forward: Forward, arm: ArmOptimizer, inputs: Inputs, labels: Tensor) -> None:
    """Take a step; say it in words if the batch is too small for BatchNorm."""
    try:
        train_step(forward, arm, inputs, labels)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        size = min(len(labels), arm.recipe.micro_batch_size)
        raise ConfigError(
            f"BatchNorm cannot train on a batch of {size} where its feature map is one pixel, got images of "
            f"{' × '.join(map(str, shape_of(inputs)[2:]))}. Use a batch size ≥ 2 (of each part, where the batch is "
            "divided) or larger images."
        ) from error


def _copy(
    parts: RaceParts, built: BuiltModel, arm: ArmConfig, partition: Partition | None, compiled: bool | None = None
) -> tuple[Forward, ArmOptimizer]:
    """Return a copy of the network on the device, in train mode and as the race computes, with the arm's optimiser.

    Args:
        parts: of the race.
        built: the network to copy.
        arm: whose copy it is.
        partition: of the arm.
        compiled: None does what the race does.
    """
    config, execution = parts.config, parts.config.execution
    model = copy.deepcopy(built.module).to(parts.device).train()
    if execution.channels_last:
        model = model.to(memory_format=torch.channels_last)
    count, size = len(parts.split.train_labels), config.recipe.batch_size
    steps = steps_per_epoch(count, size, drops_single(model, count, size))
    optimizer = make_optimizer(arm, model, partition, config.recipe, steps)
    if execution.memory == "lean" and arm.kind == "multirate":
        _make_lean(model, optimizer)
    forward = Forward(model, execution.precision, execution.compile if compiled is None else compiled)
    return forward, optimizer


def _make_lean(model: nn.Module, arm: ArmOptimizer) -> None:
    """Recompute a multirate arm's blocks on full steps; say it in words if the network has none."""
    try:
        make_lean(model, arm.optimizer)
    except ConfigError as error:
        reason = str(error).partition(":")[0]
        raise ConfigError(f"memory 'lean' does not fit this network: {reason}. Use 'plain'.") from error
