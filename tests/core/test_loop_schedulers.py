"""torch's learning-rate schedulers drive a multirate optimiser as they drive any other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from loop_cases import ADAMW, NESTEROV, Rule, each_rule, each_split, loss_of
from optim_cases import assert_close_weights, assert_same_weights, batches, small_net
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

pytestmark = pytest.mark.slow

STEPS = 24
LR = 0.05
Make = Callable[[torch.optim.Optimizer], LRScheduler]


def one_cycle(optimizer: torch.optim.Optimizer, cycle_momentum: bool = False) -> LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS, cycle_momentum=cycle_momentum)


def one_cycle_of_momentum(optimizer: torch.optim.Optimizer) -> LRScheduler:
    return one_cycle(optimizer, cycle_momentum=True)


def warm_up_then_cosine(optimizer: torch.optim.Optimizer) -> LRScheduler:
    warm_up = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, STEPS - 5)
    return lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [5])


SCHEDULERS: dict[str, Make] = {
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 5, gamma=0.5),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "one cycle": one_cycle,
    "one cycle of momentum": one_cycle_of_momentum,
    "warm-up, then cosine": warm_up_then_cosine,
}
each_scheduler = pytest.mark.parametrize(
    "make",
    [pytest.param(make, id=name) for name, make in SCHEDULERS.items()],
)


def recorded(rule: Rule, make: Make) -> list[dict[str, Any]]:
    """The options of a group at each step, from the same scheduler on torch's own optimiser."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = rule.theirs([weight], lr=LR, **rule.options)
    scheduler = make(optimizer)
    seen = []
    for _ in range(STEPS):
        group = optimizer.param_groups[0]
        seen.append({key: group[key] for key in ("lr", *rule.options)})
        weight.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    return seen


@each_rule
@each_split
@each_scheduler
def test_a_scheduled_run_equals_the_twin(rule: Rule, periods: Sequence[int], make: Make) -> None:
    ours, twin_net = small_net(torch.float64), small_net(torch.float64)
    data = batches(STEPS, dtype=torch.float64)
    optimizer = rule.optimizer(ours, periods, lr=LR)
    scheduler = make(optimizer)
    for batch in data:
        optimizer.zero_grad()
        loss_of(ours, batch).backward()
        optimizer.step()
        scheduler.step()
    twin = rule.twin(twin_net, periods)
    for batch, options in zip(data, recorded(rule, make), strict=True):
        for own_rule in twin.rules:
            own_rule.param_groups[0].update({**options, "lr": 1.0})
        twin.step(loss_of(twin_net, batch), lr=options["lr"])
    assert_close_weights(ours, twin_net)


@pytest.mark.parametrize(("rule", "option"), [(NESTEROV, "momentum"), (ADAMW, "betas")], ids=["sgd", "adamw"])
def test_one_cycle_moves_the_momentum_too(rule: Rule, option: str) -> None:
    seen = [options[option] for options in recorded(rule, one_cycle_of_momentum)]
    model = small_net()
    optimizer = rule.optimizer(model, (1, 3))
    scheduler = one_cycle_of_momentum(optimizer)
    ours = []
    for batch in batches(STEPS):
        ours.append(optimizer.param_groups[1][option])
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        scheduler.step()
    assert ours == seen
    assert len(set(ours)) > 10


def test_groups_of_their_own_rates_keep_their_ratio() -> None:
    model = small_net()
    optimizer = ADAMW.optimizer(model, (1, 3))
    optimizer.param_groups[1]["lr"] = 0.01
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda step: 0.9**step, lambda step: 0.5**step])
    for batch in batches(4):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05 * 0.9**4, 0.01 * 0.5**4])


@each_rule
@each_scheduler
def test_optimiser_and_scheduler_saved_in_mid_cycle_continue_bit_for_bit(rule: Rule, make: Make) -> None:
    model, data, steps = small_net(), batches(STEPS), 6
    optimizer = rule.optimizer(model, (1, 5))
    scheduler = make(optimizer)
    for batch in data[:steps]:
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        scheduler.step()
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), scheduler.state_dict()))
    fresh = small_net()
    restored = rule.optimizer(fresh, (1, 5), lr=1.0)
    other = make(restored)
    for part, state in zip((fresh, restored, other), saved, strict=True):
        part.load_state_dict(state)
    for batch in data[steps:]:
        for net, each, schedule in ((model, optimizer, scheduler), (fresh, restored, other)):
            each.zero_grad()
            loss_of(net, batch).backward()
            each.step()
            schedule.step()
        assert [group["lr"] for group in restored.param_groups] == [group["lr"] for group in optimizer.param_groups]
    assert_same_weights(fresh, model)


@each_rule
def test_a_plateau_scheduler_lowers_the_rate_of_the_drift(rule: Rule) -> None:
    model = small_net()
    optimizer = rule.optimizer(model, (1, 6))
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    moves = []
    for batch in batches(4):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        before = model[0].weight.detach().clone()
        optimizer.step()
        moves.append((model[0].weight.detach() - before).norm().item())
        scheduler.step(1.0)  # no progress: from the second call on the rate falls tenfold
    assert moves == pytest.approx([moves[0], moves[0], moves[0] / 10, moves[0] / 100], rel=1e-3)
