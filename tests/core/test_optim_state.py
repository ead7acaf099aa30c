"""The place in the cycle survives being saved, loaded, copied and pickled; groups may be added."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from optim_cases import assert_same_weights, batches, norm_net, small_net, split_by_layer, train
from torch import nn

from multirate_core.optim import MultirateSGD

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}


def through_a_file(value: object) -> object:
    """Save and load as a checkpoint does, with plain data only."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def flags(model: nn.Module) -> list[bool]:
    return [weight.requires_grad for weight in model.parameters()]


@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("steps", [0, 1, 2, 4, 5, 6])
def test_a_state_saved_in_mid_cycle_continues_bit_for_bit(drift: bool, momentum: float, steps: int) -> None:
    options = {**OPTIONS, "momentum": momentum, "drift": drift}
    data = batches(20)
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 2, 5]), **options)
    train(model, optimizer, data[:steps])
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})

    fresh = small_net()
    restored = MultirateSGD(split_by_layer(fresh, [1, 2, 5]), lr=1.0)  # the options come from the state
    fresh.load_state_dict(saved["model"])
    restored.load_state_dict(saved["optimizer"])
    assert restored.due_groups == optimizer.due_groups
    assert flags(fresh) == flags(model)
    # Step by step in turn: a momentum shared between the two would show.
    for batch in data[steps:]:
        assert train(fresh, restored, [batch]) == train(model, optimizer, [batch])
        assert restored.last_refreshed == optimizer.last_refreshed
    assert_same_weights(fresh, model)


def test_a_batch_norm_network_continues_bit_for_bit() -> None:
    data = batches(20, (1, 8, 8))
    model, fresh = norm_net(), norm_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 3, 4]), **OPTIONS)
    train(model, optimizer, data[:6])
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    restored = MultirateSGD(split_by_layer(fresh, [1, 3, 4]))
    fresh.load_state_dict(saved["model"])
    restored.load_state_dict(saved["optimizer"])
    assert train(fresh, restored, data[6:]) == train(model, optimizer, data[6:])
    assert_same_weights(fresh, model)


def test_loading_again_gives_the_same_state_dict() -> None:
    model, fresh = small_net(), small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), **OPTIONS)
    train(model, optimizer, batches(2))
    restored = MultirateSGD(split_by_layer(fresh, [1, 3]))
    restored.load_state_dict(optimizer.state_dict())
    state, expected = restored.state_dict(), optimizer.state_dict()
    assert state["param_groups"] == expected["param_groups"]
    assert state["state"].keys() == expected["state"].keys() == {0, 1, 2, 3, 4, 5}
    for i, entry in expected["state"].items():
        assert torch.equal(state["state"][i]["momentum_buffer"], entry["momentum_buffer"])


def test_frozen_parameters_are_restored_on_a_fresh_model() -> None:
    model, fresh = small_net(), small_net()
    model[2].weight.requires_grad_(False)
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), **OPTIONS)
    train(model, optimizer, batches(3))
    restored = MultirateSGD(split_by_layer(fresh, [1, 3]))
    restored.load_state_dict(optimizer.state_dict())
    assert flags(fresh) == flags(model) == [True, True, False, True, True, True]


def test_loading_into_a_copy_of_a_resting_model_unfreezes_what_was_only_resting() -> None:
    model, data = small_net(), batches(12)
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), **OPTIONS)
    train(model, optimizer, data[:2])
    twin = copy.deepcopy(model)  # its slow flags are off
    restored = MultirateSGD(split_by_layer(twin, [1, 3]))
    restored.load_state_dict(optimizer.state_dict())
    train(model, optimizer, data[2:])
    train(twin, restored, data[2:])
    assert_same_weights(twin, model)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_copied_or_pickled_pair_continues_bit_for_bit(duplicate: Callable, steps: int) -> None:
    model, data = small_net(), batches(15)
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), **OPTIONS)
    train(model, optimizer, data[:steps])
    other_model, other_optimizer = duplicate((model, optimizer))
    assert flags(other_model) == flags(model)
    losses = train(other_model, other_optimizer, data[steps:])
    assert other_optimizer.last_refreshed == ("k=1",)
    assert train(model, optimizer, data[steps:]) == losses
    assert_same_weights(other_model, model)


def test_a_group_added_in_mid_cycle_is_due_at_the_next_step_and_keeps_its_own_count() -> None:
    model, data = small_net(), batches(8)
    first, second, head = (list(model[i].parameters()) for i in (0, 2, 4))
    groups = [{"params": head, "name": "head"}, {"params": second, "name": "second", "period": 3}]
    for weight in first:
        weight.requires_grad_(False)
    optimizer = MultirateSGD(groups, **OPTIONS)
    train(model, optimizer, data[:2])
    for weight in first:
        weight.requires_grad_(True)
    optimizer.add_param_group({"params": first, "name": "first", "period": 2, "lr": 0.05})
    seen = []
    for batch in data[2:]:
        train(model, optimizer, [batch])
        seen.append(optimizer.last_refreshed)
    assert seen == [
        ("head", "first"),
        ("head", "second"),
        ("head", "first"),
        ("head",),
        ("head", "second", "first"),
        ("head",),
    ]
    assert optimizer.param_groups[2]["lr"] == 0.05
    assert optimizer.param_groups[2]["momentum"] == OPTIONS["momentum"]


def test_the_callers_groups_are_never_written_to_and_can_be_used_again() -> None:
    model = small_net()
    groups = split_by_layer(model, [1, 3])
    before = [dict(group) for group in groups]
    optimizer = MultirateSGD(groups, **OPTIONS)
    train(model, optimizer, batches(2))
    assert [group.keys() for group in groups] == [group.keys() for group in before]
    optimizer.release()
    assert MultirateSGD(groups).due_groups == ("k=1", "k=3")


def test_named_parameters_and_generators_are_taken() -> None:
    ours, theirs, data = small_net(), small_net(), batches(7)
    groups = [
        {"params": ((n, w) for n, w in ours.named_parameters() if n.startswith("4.")), "name": "fast"},
        {"params": ((n, w) for n, w in ours.named_parameters() if not n.startswith("4.")), "name": "s", "period": 3},
    ]
    optimizer = MultirateSGD(groups, **OPTIONS)
    assert optimizer.param_groups[0]["param_names"] == ["4.weight", "4.bias"]
    train(ours, optimizer, data)
    train(theirs, MultirateSGD(split_by_layer(theirs, [1, 3]), **OPTIONS), data)
    assert_same_weights(ours, theirs)


def test_an_empty_slow_group_is_allowed_and_equals_sgd() -> None:
    ours, theirs, data = small_net(), small_net(), batches(12)
    groups = [{"params": list(ours.parameters()), "name": "fast"}, {"params": [], "name": "slow", "period": 5}]
    optimizer = MultirateSGD(groups, **OPTIONS)
    train(ours, optimizer, data)
    train(theirs, torch.optim.SGD(theirs.parameters(), **OPTIONS), data)
    assert_same_weights(ours, theirs)
    assert optimizer.state_dict()["param_groups"][1]["params"] == []


def test_half_precision_parameters_beside_full_ones_train_in_one_group() -> None:
    weights = [nn.Parameter(torch.ones(3, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16, torch.float64)]
    fast = nn.Parameter(torch.ones(1))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": weights, "period": 2}], **OPTIONS)
    for _ in range(4):
        optimizer.zero_grad()
        (fast.sum() + sum(weight.float().sum() for weight in weights)).backward()
        optimizer.step()
    assert [optimizer.state[weight]["momentum_buffer"].dtype for weight in weights] == [w.dtype for w in weights]
    assert all((weight < 1).all() for weight in weights)
