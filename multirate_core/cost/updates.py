"""Seconds of the optimisers' own work: per call, per tensor, per number, with a gradient and without.

The real optimisers of a race run on the real parameters, once with all of them due, once with all but the smallest
drifting, and the same on the smaller half of the tensors. Two sizes tell what a tensor costs and what a number costs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from multirate_core.arms import ArmOptimizer, make_optimizer
from multirate_core.config import ArmConfig, GroupSpec, PartitionSpec, Rule
from multirate_core.cost.calibration import UpdateCost, Updates
from multirate_core.cost.clocks import Clock
from multirate_core.cost.subject import Subject
from multirate_core.optim import MultirateOptimizer
from multirate_core.partition import Partition

REPEATS = 5
MOST_S = 0.6  # of one measurement: a large network is measured less often
FAST = "fast"
NEVER = 1_000_000  # a period that no measurement reaches
TINY_LR = 1e-12  # the weights should hardly move

Weights = Mapping[str, nn.Parameter]


def measure_updates(subject: Subject, clock: Clock) -> Updates:
    """Return what the optimisers of the subject's recipe cost."""
    everything = subject.trainable
    by_size = sorted(everything, key=lambda name: everything[name].numel())
    sizes = (everything, {name: everything[name] for name in by_size[: max(1, len(by_size) // 2)]})
    plain, fresh, drift = (
        _solve([_seconds(subject, clock, part, kind) for part in sizes], sizes) for kind in ("plain", "fresh", "drift")
    )
    return Updates(plain, fresh, drift)


def _solve(seconds: Sequence[float], sizes: Sequence[Weights]) -> UpdateCost:
    """Return the cost per tensor and per number from two measurements; neither is below 0."""
    (all_s, some_s), (tensors, few) = seconds, map(len, sizes)
    numbers, little = (sum(weight.numel() for weight in part.values()) for part in sizes)
    area = tensors * little - few * numbers
    if area == 0:
        return UpdateCost(0.0, all_s / numbers)
    per_tensor = min(max((all_s * little - some_s * numbers) / area, 0.0), all_s / tensors)
    return UpdateCost(per_tensor, max(all_s - per_tensor * tensors, 0.0) / numbers)


def _seconds(subject: Subject, clock: Clock, part: Weights, kind: str) -> float:
    """Return the median seconds of one update of these parameters: of a step and the `zero_grad` before it."""
    smallest = min(part, key=lambda name: part[name].numel())
    drifting = {name for name in part if kind == "drift" and name != smallest}
    with _training_only(subject, part):
        groups = {name: "slow" if name in drifting else FAST for name in part}
        optimizer = (plain_arm(subject) if kind == "plain" else multirate_arm(subject, groups)).optimizer
        gradients = {name: torch.full_like(part[name], 1e-6) for name in part}
        times: list[float] = []
        for number in range(REPEATS + 2):
            for name in part:
                first = number == 0  # every group gets a gradient once, and has something to drift along then
                part[name].grad = gradients[name] if first or name not in drifting else None
            clock.settle()
            begun = clock.mark()
            _update(subject, optimizer)
            times += _lap(clock, begun)
            if number > 2 and sum(times) > MOST_S:
                break
        if isinstance(optimizer, MultirateOptimizer):
            optimizer.release()
    return statistics.median(times[2:])


def plain_arm(subject: Subject) -> ArmOptimizer:
    """Return the plain optimiser that a race would make for the parameters that train."""
    return make_optimizer(ArmConfig("sgd", "sgd"), subject.model, None, replace(subject.recipe, lr=TINY_LR))


def multirate_arm(subject: Subject, assignment: Mapping[str, str]) -> ArmOptimizer:
    """Return the multirate optimiser that a race would make.

    Args:
        subject: whose parameters it updates.
        assignment: of parameters to groups; those outside `FAST` get one gradient and then none.
    """
    names = dict.fromkeys((FAST, *assignment.values()))
    groups = tuple(GroupSpec(name, 1 if name == FAST else NEVER) for name in names)
    partition = Partition(groups, assignment)
    arm = ArmConfig("multirate", "multirate", PartitionSpec(groups, (Rule("*", FAST),)))
    return make_optimizer(arm, subject.model, partition, replace(subject.recipe, lr=TINY_LR))


def _update(subject: Subject, optimizer: torch.optim.Optimizer) -> None:
    if subject.recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(subject.model.parameters(), subject.recipe.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _lap(clock: Clock, begun: Any) -> list[float]:
    first, last = clock.read([begun, clock.mark()])
    return [last - first]


@contextmanager
def _training_only(subject: Subject, part: Weights) -> Iterator[None]:
    """Let only these parameters train inside the `with` block, and all of them afterwards."""
    for name, weight in subject.trainable.items():
        weight.requires_grad_(name in part)
    try:
        yield
    finally:
        for weight in subject.trainable.values():
            weight.requires_grad_(True)
            weight.grad = None
