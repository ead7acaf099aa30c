"""Several backward calls for one step, with the gradients cleared wherever people clear them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from loop_cases import Rule, each_rule, each_split, in_parts, joined, loss_of, twin_run
from optim_cases import Batch, assert_close_weights, assert_same_weights, batches, small_net
from torch import nn

from multirate_core.optim import MultirateOptimizer

pytestmark = pytest.mark.slow

Loop = Callable[[nn.Module, MultirateOptimizer, Sequence[Batch]], None]
MICRO = 3  # micro-batches per step


def accumulate(model: nn.Module, parts: Sequence[Batch]) -> None:
    for batch in parts:
        (loss_of(model, batch) / len(parts)).backward()


def cleared_first(model: nn.Module, optimizer: MultirateOptimizer, data: Sequence[Batch]) -> None:
    for parts in in_parts(data, MICRO):
        optimizer.zero_grad()
        accumulate(model, parts)
        optimizer.step()


def cleared_last(model: nn.Module, optimizer: MultirateOptimizer, data: Sequence[Batch]) -> None:
    for parts in in_parts(data, MICRO):
        accumulate(model, parts)
        optimizer.step()
        optimizer.zero_grad()


def cleared_to_zero(model: nn.Module, optimizer: MultirateOptimizer, data: Sequence[Batch]) -> None:
    for parts in in_parts(data, MICRO):
        optimizer.zero_grad(set_to_none=False)
        accumulate(model, parts)
        optimizer.step()


def model_cleared_first(model: nn.Module, optimizer: MultirateOptimizer, data: Sequence[Batch]) -> None:
    for parts in in_parts(data, MICRO):
        model.zero_grad()
        accumulate(model, parts)
        optimizer.step()


def model_cleared_last(model: nn.Module, optimizer: MultirateOptimizer, data: Sequence[Batch]) -> None:
    for parts in in_parts(data, MICRO):
        accumulate(model, parts)
        optimizer.step()
        model.zero_grad()


def step_on_every_third(model: nn.Module, optimizer: MultirateOptimizer, data: Sequence[Batch]) -> None:
    for i, batch in enumerate(data):
        (loss_of(model, batch) / MICRO).backward()
        if i % MICRO == MICRO - 1:
            optimizer.step()
            optimizer.zero_grad()


LOOPS = [cleared_first, cleared_last, cleared_to_zero, model_cleared_first, model_cleared_last, step_on_every_third]


@each_rule
@each_split
@pytest.mark.parametrize("loop", LOOPS)
def test_accumulated_micro_batches_equal_one_joined_batch(rule: Rule, periods: Sequence[int], loop: Loop) -> None:
    ours, twin = small_net(torch.float64), small_net(torch.float64)
    data = batches(13 * MICRO, dtype=torch.float64)
    loop(ours, rule.optimizer(ours, periods), data)
    twin_run(rule, twin, periods, [joined(parts) for parts in in_parts(data, MICRO)])
    assert_close_weights(ours, twin)


@each_rule
def test_every_loop_gives_the_same_numbers_bit_for_bit(rule: Rule) -> None:
    ends = []
    for loop in LOOPS:
        model = small_net()
        loop(model, rule.optimizer(model, (1, 3)), batches(10 * MICRO))
        ends.append(model)
    for other in ends[1:]:
        assert_same_weights(ends[0], other)


@each_rule
def test_clearing_twice_or_in_between_steps_changes_nothing(rule: Rule) -> None:
    # zero_grad frees the direction of a group that is due next; called twice or early, it must not matter.
    often, once = small_net(), small_net()
    optimizer = rule.optimizer(often, (1, 3))
    for batch in batches(9):
        optimizer.zero_grad()
        optimizer.zero_grad(set_to_none=False)
        loss_of(often, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    other = rule.optimizer(once, (1, 3))
    for batch in batches(9):
        loss_of(once, batch).backward()
        other.step()
        once.zero_grad()
    assert_same_weights(often, once)
