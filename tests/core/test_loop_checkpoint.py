"""Saved, copied and pickled in mid-cycle with every base rule, and resumed elsewhere; interrupted and looked at."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence

import pytest
import torch
from loop_cases import ADAMW, NESTEROV, Rule, each_rule, each_split, flags, loss_of, values
from optim_cases import assert_same_weights, batches, small_net, train
from torch import nn

pytestmark = pytest.mark.slow

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


def through_a_file(value: object, device: str = "cpu") -> dict:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True, map_location=device)


@pytest.mark.parametrize("rule", [pytest.param(NESTEROV, id="nesterov"), pytest.param(ADAMW, id="adamw")])
@each_split
@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("cleared", [True, False])
def test_a_state_saved_in_mid_cycle_continues_bit_for_bit(
    rule: Rule, periods: Sequence[int], drift: bool, cleared: bool
) -> None:
    data = batches(12)
    for steps in (0, 1, 2, 3, 5, 6):
        model, fresh = small_net(), small_net()
        optimizer, restored = rule.optimizer(model, periods, drift=drift), rule.optimizer(fresh, periods, lr=1.0)
        train(model, optimizer, data[:steps])
        if cleared:
            optimizer.zero_grad()  # between the two, directions that are about to be replaced are free already
        saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        fresh.load_state_dict(saved["model"])
        restored.load_state_dict(saved["optimizer"])
        assert restored.due_groups == optimizer.due_groups
        assert flags(fresh) == flags(model)
        for batch in data[steps:]:
            assert train(fresh, restored, [batch]) == train(model, optimizer, [batch])
            assert restored.last_refreshed == optimizer.last_refreshed
        assert_same_weights(fresh, model)


@each_rule
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("steps", [2, 3])
def test_a_run_moved_to_another_device_and_back_goes_on(rule: Rule, device: str, steps: int) -> None:
    # Bit for bit on the same device; on another one the kernels round differently, so float64 and a tolerance.
    model, data = small_net(torch.float64), batches(12, dtype=torch.float64)
    optimizer = rule.optimizer(model, (1, 3))
    train(model, optimizer, data[:steps])
    here, place = model, optimizer
    for target, part in ((device, data[steps:7]), ("cpu", data[7:])):
        saved = through_a_file({"model": here.state_dict(), "optimizer": place.state_dict()}, target)
        here = small_net(torch.float64).to(target)
        place = rule.optimizer(here, (1, 3))
        here.load_state_dict(saved["model"])
        place.load_state_dict(saved["optimizer"])
        tensors = [value for state in place.state.values() for value in state.values() if torch.is_tensor(value)]
        assert {value.device.type for value in tensors} == {target}
        train(here, place, [(x.to(target), y.to(target)) for x, y in part])
        train(model, optimizer, part)
        assert place.last_refreshed == optimizer.last_refreshed
    for weight, expected in zip(here.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(
            weight, expected, rtol=0 if device == "cpu" else 1e-9, atol=0 if device == "cpu" else 1e-12
        )


@pytest.mark.parametrize("rule", [pytest.param(NESTEROV, id="nesterov"), pytest.param(ADAMW, id="adamw")])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_copied_or_pickled_pair_continues_bit_for_bit(rule: Rule, duplicate: Callable, steps: int) -> None:
    model, data = small_net(), batches(12)
    optimizer = rule.optimizer(model, (1, 3))
    train(model, optimizer, data[:steps])
    other_model, other = duplicate((model, optimizer))
    assert type(other) is rule.ours
    assert flags(other_model) == flags(model)
    for batch in data[steps:]:  # in turn: a shared direction or moment would show
        assert train(other_model, other, [batch]) == train(model, optimizer, [batch])
    assert_same_weights(other_model, model)


@each_rule
def test_a_state_handed_over_without_a_file_shares_no_tensor_with_its_source(rule: Rule) -> None:
    model, fresh, alone, data = small_net(), small_net(), small_net(), batches(10)
    optimizer, restored = rule.optimizer(model, (1, 3)), rule.optimizer(fresh, (1, 3))
    train(model, optimizer, data[:2])
    fresh.load_state_dict(model.state_dict())
    restored.load_state_dict(optimizer.state_dict())
    for batch in data[2:]:
        assert train(fresh, restored, [batch]) == train(model, optimizer, [batch])
    train(alone, rule.optimizer(alone, (1, 3)), data)
    assert_same_weights(model, alone)
    assert_same_weights(fresh, alone)


@each_rule
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_an_optimiser_that_was_loaded_copied_or_pickled_before_can_be_loaded_again(
    rule: Rule, duplicate: Callable
) -> None:
    # Wrappers load a state when they take the optimiser over, and their own checkpoint is then the second one.
    model, data = small_net(), batches(10)
    optimizer = rule.optimizer(model, (1, 3))
    train(model, optimizer, data[:2])
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    fresh = small_net()
    restored = rule.optimizer(fresh, (1, 3))
    restored.load_state_dict(restored.state_dict())
    fresh, restored = duplicate((fresh, restored))
    for _ in range(2):
        fresh.load_state_dict(saved["model"])
        restored.load_state_dict(saved["optimizer"])
    assert train(fresh, restored, data[2:]) == train(model, optimizer, data[2:])
    assert_same_weights(fresh, model)


@each_rule
def test_a_copied_optimiser_under_a_scheduler_has_a_step_of_its_own(rule: Rule) -> None:
    model = small_net()
    optimizer = rule.optimizer(model, (1, 3))
    torch.optim.lr_scheduler.StepLR(optimizer, 2)  # replaces optimizer.step by a counting one
    train(model, optimizer, batches(2))
    other_model, other = copy.deepcopy((model, optimizer))
    before = values(model)
    train(other_model, other, batches(3))
    assert all(torch.equal(now, then) for now, then in zip(values(model), before, strict=True))
    assert not torch.equal(other_model[0].weight, model[0].weight)


@each_rule
@each_split
def test_an_exception_between_backward_and_step_costs_that_batch_only(rule: Rule, periods: Sequence[int]) -> None:
    broken, plain, data = small_net(), small_net(), batches(14)
    optimizer = rule.optimizer(broken, periods)
    for step, batch in enumerate(data):
        if step in (0, 2, 3, 6):
            with pytest.raises(KeyError):
                interrupted(broken, optimizer, data[0])
        train(broken, optimizer, [batch])
    train(plain, rule.optimizer(plain, periods), data)
    assert_same_weights(broken, plain)


def interrupted(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    optimizer.zero_grad()
    loss_of(model, batch).backward()
    raise KeyError


@each_rule
def test_an_exception_inside_a_closure_leaves_the_cycle_where_it_was(rule: Rule) -> None:
    broken, plain, data = small_net(), small_net(), batches(8)
    optimizer = rule.optimizer(broken, (1, 3))
    for batch in data:
        due = optimizer.due_groups
        with pytest.raises(KeyError):
            optimizer.step(lambda batch=batch: interrupted(broken, optimizer, batch))
        assert optimizer.due_groups == due
        train(broken, optimizer, [batch])
    train(plain, rule.optimizer(plain, (1, 3)), data)
    assert_same_weights(broken, plain)


@each_rule
@each_split
def test_evaluating_and_logging_all_gradients_between_steps_changes_nothing(rule: Rule, periods: Sequence[int]) -> None:
    watched, plain, data = small_net(), small_net(), batches(14)
    optimizer = rule.optimizer(watched, periods)
    norms = []
    for batch in data:
        watched.eval()
        with torch.no_grad():
            assert torch.isfinite(watched(batch[0])).all()
        watched.train()
        with optimizer.all_gradients():
            optimizer.zero_grad()
            loss_of(watched, batch).backward()
            norms.append(nn.utils.get_total_norm([weight.grad for weight in watched.parameters()]))
        before = [weight.grad for weight in watched.parameters()]
        assert [gradient is not None for gradient in before] == flags(watched)
        train(watched, optimizer, [batch])
    train(plain, rule.optimizer(plain, periods), data)
    assert_same_weights(watched, plain)
    assert all(norm > 0 for norm in norms)


@each_rule
def test_gradients_logged_between_backward_and_step_are_the_full_ones_and_the_step_is_unchanged(rule: Rule) -> None:
    watched, plain, data = small_net(), small_net(), batches(8)
    optimizer, other = rule.optimizer(watched, (1, 3)), rule.optimizer(plain, (1, 3))
    for batch in data:
        optimizer.zero_grad()
        with optimizer.all_gradients():
            loss_of(watched, batch).backward()  # one backward for both: the log and the step
            assert all(weight.grad is not None for weight in watched.parameters())
            optimizer.step()
        train(plain, other, [batch])
        assert flags(watched) == flags(plain)
    assert_same_weights(watched, plain)
