"""Mixed precision: scaled gradients, steps that are skipped because one overflowed, and autocast."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from loop_cases import SGD, Rule, each_rule, each_split, flags, loss_of, twin_run, values
from optim_cases import Batch, assert_close_weights, assert_same_weights, batches, small_net
from torch import nn
from torch.amp import GradScaler

from multirate_core.optim import MultirateOptimizer

pytestmark = pytest.mark.slow


def scaled_step(model: nn.Module, optimizer: MultirateOptimizer, scaler: GradScaler, batch: Batch) -> None:
    optimizer.zero_grad()
    scaler.scale(loss_of(model, batch)).backward()
    scaler.step(optimizer)
    scaler.update()


def spoilt(batch: Batch) -> Batch:
    """The same batch with a number that makes every gradient overflow."""
    return torch.full_like(batch[0], torch.inf), batch[1]


@each_rule
@each_split
def test_scaled_gradients_equal_plain_ones(rule: Rule, periods: Sequence[int]) -> None:
    ours, twin = small_net(torch.float64), small_net(torch.float64)
    data = batches(15, dtype=torch.float64)
    optimizer, scaler = rule.optimizer(ours, periods), GradScaler("cpu", init_scale=1024.0, growth_interval=4)
    for batch in data:
        scaled_step(ours, optimizer, scaler, batch)
    twin_run(rule, twin, periods, data)
    assert scaler.get_scale() == 1024 * 2 ** (15 // 4)
    assert_close_weights(ours, twin)


@each_rule
@each_split
@pytest.mark.parametrize("skipped", [(0,), (1, 2), (3, 6), (4, 5, 7)], ids=str)
def test_a_skipped_step_did_not_happen(rule: Rule, periods: Sequence[int], skipped: Sequence[int]) -> None:
    ours, twin = small_net(torch.float64), small_net(torch.float64)
    data = batches(14, dtype=torch.float64)
    optimizer, scaler = rule.optimizer(ours, periods), GradScaler("cpu", init_scale=64.0)
    for step, batch in enumerate(data):
        if step in skipped:
            due, before = optimizer.due_groups, values(ours)
            scaled_step(ours, optimizer, scaler, spoilt(batch))
            assert scaler.get_scale() == 64 / 2 ** (1 + skipped.index(step))
            assert optimizer.due_groups == due
            assert all(torch.equal(now, then) for now, then in zip(values(ours), before, strict=True))
        scaled_step(ours, optimizer, scaler, batch)
    twin_run(rule, twin, periods, data)
    assert_close_weights(ours, twin)


@each_rule
def test_three_skipped_steps_in_a_row_with_other_clearing_leave_no_trace(rule: Rule) -> None:
    skipping, plain = small_net(), small_net()
    first, second = rule.optimizer(skipping, (1, 3)), rule.optimizer(plain, (1, 3))
    scaler, other = GradScaler("cpu", init_scale=64.0), GradScaler("cpu", init_scale=64.0)
    for step, batch in enumerate(batches(10)):
        for trial in range(3 if step in (0, 2, 3) else 0):
            scaler.scale(loss_of(skipping, spoilt(batch))).backward()
            scaler.step(first)
            scaler.update()
            (first, skipping)[trial % 2].zero_grad()
        scaled_step(skipping, first, scaler, batch)
        scaled_step(plain, second, other, batch)
        assert flags(skipping) == flags(plain)
    assert_same_weights(skipping, plain)  # a scale that is a power of two changes no digit


@each_rule
def test_unscaling_and_clipping_before_a_scaled_step_clips_true_gradients(rule: Rule) -> None:
    scaled, plain = small_net(torch.float64), small_net(torch.float64)
    first, second = rule.optimizer(scaled, (1, 3)), rule.optimizer(plain, (1, 3))
    scaler = GradScaler("cpu", init_scale=2.0**16)
    for step, batch in enumerate(batches(12, dtype=torch.float64)):
        if step in (3, 5):
            first.zero_grad()
            scaler.scale(loss_of(scaled, spoilt(batch))).backward()
            scaler.unscale_(first)
            nn.utils.clip_grad_norm_(scaled.parameters(), 0.3)
            scaler.step(first)
            scaler.update()
        first.zero_grad()
        scaler.scale(loss_of(scaled, batch)).backward()
        scaler.unscale_(first)
        nn.utils.clip_grad_norm_(scaled.parameters(), 0.3)
        scaler.step(first)
        scaler.update()
        second.zero_grad()
        loss_of(plain, batch).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
        second.step()
    assert_close_weights(scaled, plain)


def test_an_overflow_in_the_slow_part_alone_skips_the_whole_full_step_and_a_fast_step_cannot_see_it() -> None:
    model = small_net()
    optimizer, scaler = SGD.optimizer(model, (1, 2)), GradScaler("cpu", init_scale=4.0)
    model[0].weight.register_hook(lambda gradient: gradient * torch.inf)
    before = values(model)
    scaled_step(model, optimizer, scaler, batches(1)[0])
    assert all(torch.equal(now, then) for now, then in zip(values(model), before, strict=True))
    assert optimizer.due_groups == ("k=1", "k=2")
    assert scaler.get_scale() == 2


@each_rule
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_without_a_scaler_a_gradient_that_is_not_finite_goes_in_as_in_torchs_own(rule: Rule, number: float) -> None:
    model = small_net()
    optimizer = rule.optimizer(model, (1, 2))
    optimizer.zero_grad()
    (loss_of(model, batches(1)[0]) * number).backward()
    optimizer.step()
    assert not torch.isfinite(model[0].weight).any()


@each_rule
@each_split
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_it_equals_the_twin_under_autocast(
    rule: Rule, periods: Sequence[int], dtype: torch.dtype
) -> None:
    ours, twin_net = small_net(), small_net()
    optimizer, twin = rule.optimizer(ours, periods), rule.twin(twin_net, periods)
    scaler = GradScaler("cpu", init_scale=128.0, enabled=dtype == torch.float16)
    for batch in batches(15):
        with torch.autocast("cpu", dtype):
            assert ours[:4](batch[0]).dtype == dtype
            loss = loss_of(ours, batch)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        with torch.autocast("cpu", dtype):
            loss = loss_of(twin_net, batch)
        # Scaled and unscaled as ours: half precision rounds small gradients away.
        twin.step(scaler.scale(loss), change=lambda gradients: [g.div_(scaler.get_scale()) for g in gradients])
        for weight, expected in zip(ours.parameters(), twin_net.parameters(), strict=True):
            torch.testing.assert_close(weight, expected, rtol=2e-3, atol=2e-5)
            expected.data.copy_(weight)  # one rounding difference must not grow through half precision
    assert optimizer.state[ours[0].weight]["direction" if rule is not SGD else "momentum_buffer"].dtype == torch.float32


def test_a_scaler_and_an_optimiser_saved_right_after_a_skipped_step_continue_bit_for_bit() -> None:
    model, data = small_net(), batches(10)
    optimizer, scaler = SGD.optimizer(model, (1, 3)), GradScaler("cpu", init_scale=64.0)
    for batch in data[:4]:
        scaled_step(model, optimizer, scaler, batch)
    scaled_step(model, optimizer, scaler, spoilt(data[4]))
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), scaler.state_dict()))
    fresh = small_net()
    restored, other = SGD.optimizer(fresh, (1, 3)), GradScaler("cpu")
    for part, state in zip((fresh, restored, other), saved, strict=True):
        part.load_state_dict(state)
    for batch in data[4:]:
        scaled_step(model, optimizer, scaler, batch)
        scaled_step(fresh, restored, other, batch)
    assert_same_weights(fresh, model)
