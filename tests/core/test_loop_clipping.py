"""Gradient clipping between backward and step: it sees the gradients of the groups that are due, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from loop_cases import SGD, Rule, each_rule, each_split, loss_of, twin_run
from optim_cases import assert_close_weights, assert_same_weights, batches, small_net
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

LIMIT = 0.3  # below the norm of most steps here, above that of some


def clip_norm_by_hand(gradients: list[Tensor]) -> None:
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    for gradient in gradients:
        gradient *= min(1.0, LIMIT / (norm + 1e-6))


def clip_value_by_hand(gradients: list[Tensor]) -> None:
    for gradient in gradients:
        gradient.clamp_(-0.02, 0.02)


Clip = tuple[Callable[[nn.Module], object], Callable[[list[Tensor]], None]]
BY_NORM: Clip = (lambda model: clip_grad_norm_(model.parameters(), LIMIT), clip_norm_by_hand)
BY_VALUE: Clip = (lambda model: clip_grad_value_(model.parameters(), 0.02), clip_value_by_hand)


@each_rule
@each_split
@pytest.mark.parametrize("clip", [pytest.param(BY_NORM, id="norm"), pytest.param(BY_VALUE, id="value")])
def test_clipping_over_all_parameters_clips_what_is_due(rule: Rule, periods: Sequence[int], clip: Clip) -> None:
    ours, twin, free = (small_net(torch.float64) for _ in range(3))
    data = batches(20, dtype=torch.float64)
    optimizer = rule.optimizer(ours, periods)
    for batch in data:
        optimizer.zero_grad()
        loss_of(ours, batch).backward()
        clip[0](ours)
        optimizer.step()
    twin_run(rule, twin, periods, data, change=clip[1])
    twin_run(rule, free, periods, data)
    assert_close_weights(ours, twin)
    assert not torch.allclose(ours[4].weight, free[4].weight)


def test_on_a_full_step_the_fast_part_is_clipped_harder_than_alone() -> None:
    model = small_net()
    norms = []
    optimizer = SGD.optimizer(model, (1, 2))
    for batch in batches(2):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        head = torch.cat([weight.grad.flatten() for weight in model[4].parameters()]).norm()
        total = clip_grad_norm_(model.parameters(), LIMIT)
        norms.append((head, total))
        optimizer.step()
    (head_full, total_full), (head_fast, total_fast) = norms
    assert total_full > head_full
    torch.testing.assert_close(total_fast, head_fast)


@each_rule
def test_a_held_direction_is_not_clipped_again(rule: Rule) -> None:
    model = small_net()
    optimizer = rule.optimizer(model, (1, 4), lr=0.1)
    moves = []
    for step, batch in enumerate(batches(4)):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        if step > 0:
            clip_grad_norm_(model.parameters(), 1e-9)
        before = model[0].weight.detach().clone()
        optimizer.step()
        moves.append(model[0].weight.detach() - before)
    for move in moves[1:]:
        torch.testing.assert_close(move, moves[0], rtol=1e-4, atol=1e-7)
    assert moves[0].abs().max() > 1e-3


@each_rule
def test_clipping_of_parameters_that_rest_does_nothing(rule: Rule) -> None:
    clipped, plain = small_net(), small_net()
    first, second = rule.optimizer(clipped, (1, 3)), rule.optimizer(plain, (1, 3))
    for batch in batches(7):
        for model, optimizer in ((clipped, first), (plain, second)):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
        if "k=3" not in first.due_groups:
            assert clip_grad_norm_(clipped[:4].parameters(), 1e-9) == 0
        first.step()
        second.step()
    assert_same_weights(clipped, plain)
