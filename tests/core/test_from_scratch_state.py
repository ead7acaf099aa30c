"""Both from-scratch optimisers: saved in mid-cycle, resumed bit for bit, copied; and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from from_scratch_cases import assert_equal, through_a_file, values
from optim_cases import assert_same_weights, batches, norm_net, small_net, train
from torch import nn

from multirate_core.errors import ConfigError, MultirateError, PartitionError
from multirate_core.from_scratch import RandomSubgroupsSGD, TwoCopiesSGD

pytestmark = pytest.mark.slow

KINDS: list[Any] = [RandomSubgroupsSGD, TwoCopiesSGD]
OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2, "period": 3}
both = pytest.mark.parametrize("kind", KINDS)


def shown(optimizer: Any) -> Any:
    return optimizer.restored() if isinstance(optimizer, RandomSubgroupsSGD) else optimizer.averaged()


@both
@pytest.mark.parametrize("while_shown", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 6, 10])
def test_a_state_saved_in_mid_cycle_continues_bit_for_bit(
    kind: Any, while_shown: bool, momentum: float, steps: int
) -> None:
    data = batches(16, (1, 8, 8))
    model, fresh = norm_net(), norm_net()
    optimizer = kind(model.parameters(), **{**OPTIONS, "momentum": momentum})
    train(model, optimizer, data[:steps])
    if while_shown:
        with shown(optimizer):
            saved: Any = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    else:
        saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    restored = kind(fresh.parameters(), lr=1.0)  # the options come from the state
    fresh.load_state_dict(saved["model"])
    restored.load_state_dict(saved["optimizer"])
    assert_equal(values(fresh), values(model))
    for batch in data[steps:]:  # in turn: a tensor shared between the two would show
        assert train(fresh, restored, [batch]) == train(model, optimizer, [batch])
    assert_same_weights(fresh, model)
    with shown(optimizer), shown(restored):
        assert_same_weights(fresh, model)


@both
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("while_shown", [False, True])
def test_a_copied_or_pickled_pair_continues_bit_for_bit(kind: Any, duplicate: Callable, while_shown: bool) -> None:
    model, data = small_net(), batches(12)
    optimizer = kind(model.parameters(), **OPTIONS)
    train(model, optimizer, data[:4])
    if while_shown:
        with shown(optimizer):
            other_model, other = duplicate((model, optimizer))
    else:
        other_model, other = duplicate((model, optimizer))
    assert train(other_model, other, data[4:]) == train(model, optimizer, data[4:])
    assert_same_weights(other_model, model)


@both
def test_a_resumed_run_goes_on_with_other_random_states(kind: Any) -> None:
    """Nothing hangs on torch's or NumPy's global generators."""
    model, fresh, data = small_net(), small_net(), batches(12)
    optimizer, restored = kind(model.parameters(), **OPTIONS), kind(fresh.parameters(), **OPTIONS)
    train(model, optimizer, data[:5])
    fresh.load_state_dict(model.state_dict())
    restored.load_state_dict(optimizer.state_dict())
    train(model, optimizer, data[5:])
    torch.manual_seed(77)
    train(fresh, restored, data[5:])
    assert_same_weights(fresh, model)


@both
def test_a_step_without_gradients_did_not_happen(kind: Any) -> None:
    model, twin, data = small_net(), small_net(), batches(9)
    optimizer, other = kind(model.parameters(), **OPTIONS), kind(twin.parameters(), **OPTIONS)
    for batch in data:
        train(model, optimizer, [batch])
        optimizer.zero_grad()
        optimizer.step()
        train(twin, other, [batch])
    assert_same_weights(model, twin)


@both
def test_a_closure_gives_the_same_as_the_plain_loop(kind: Any) -> None:
    model, twin, data = small_net(), small_net(), batches(7)
    optimizer = kind(model.parameters(), **OPTIONS)
    losses = []
    for x, y in data:

        def closure(x: Any = x, y: Any = y) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    assert losses == train(twin, kind(twin.parameters(), **OPTIONS), data)
    assert_same_weights(model, twin)


@both
def test_gradients_are_left_as_they_are(kind: Any) -> None:
    model, data = small_net(), batches(5)
    optimizer = kind(model.parameters(), **OPTIONS)
    for x, y in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        before = [weight.grad.clone() for weight in model.parameters()]
        optimizer.step()
        assert_equal([weight.grad for weight in model.parameters()], before)


@both
@pytest.mark.parametrize("while_shown", ["step", "load_state_dict"])
def test_stepping_and_loading_are_refused_while_weights_are_shown(kind: Any, while_shown: str) -> None:
    model = small_net()
    optimizer = kind(model.parameters(), **OPTIONS)
    train(model, optimizer, batches(4))
    state = optimizer.state_dict()
    with shown(optimizer), pytest.raises(ConfigError, match=rf"{while_shown}\(\) was called while.*Leave the"):
        optimizer.step() if while_shown == "step" else optimizer.load_state_dict(state)


@both
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": 0.0}, "lr must be a finite number > 0"),
        ({"lr": math.nan}, "lr must be a finite number"),
        ({"momentum": 1.0}, "momentum must be a finite number ≥ 0 and < 1"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number ≥ 0"),
        ({"period": 0}, "period must be a whole number ≥ 1, got 0"),
        ({"period": 1.5}, "period must be a whole number"),
        ({"period": True}, "period must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused(kind: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kind([nn.Parameter(torch.ones(2))], **options)
    with pytest.raises(ConfigError, match=words):
        kind([{"params": [nn.Parameter(torch.ones(2))], **options}])


@pytest.mark.parametrize("fraction", [1.0, -0.1, 2, math.nan, "0.5", None, True])
def test_a_fraction_outside_0_to_1_is_refused(fraction: Any) -> None:
    with pytest.raises(ConfigError, match="fraction must be a finite number ≥ 0 and < 1, got"):
        RandomSubgroupsSGD([nn.Parameter(torch.ones(2))], fraction=fraction)


@pytest.mark.parametrize("seed", [-1, 1.0, 2**63, None])
def test_a_seed_that_is_no_whole_number_from_0_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number from 0"):
        RandomSubgroupsSGD([nn.Parameter(torch.ones(2))], seed=seed)


@both
def test_unknown_options_missing_parameters_and_complex_ones_are_refused(kind: Any) -> None:
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(ConfigError, match=r"unknown options \['perod'\].*allowed: params.*period"):
        kind([{"params": [weight], "perod": 3}])
    with pytest.raises(ConfigError, match="'params'"):
        kind([{"lr": 0.1}])
    optimizer = kind([weight])
    with pytest.raises(ConfigError, match=r"parameter 0 of shape \(2,\) is complex"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, dtype=torch.complex64))]})
    assert len(optimizer.param_groups) == 1


@both
def test_sparse_gradients_are_refused_before_anything_moves(kind: Any) -> None:
    torch.manual_seed(0)
    table, head = nn.Embedding(5, 3, sparse=True), nn.Linear(3, 2)
    optimizer = kind([*head.parameters(), *table.parameters()], lr=0.1)
    before = [*values(head), *values(table)]
    head(table(torch.tensor([0, 1]))).sum().backward()
    with pytest.raises(ConfigError, match=r"gradient of parameter 2 of group 0.*is sparse.*sparse=False"):
        optimizer.step()
    assert_equal([*values(head), *values(table)], before)


@both
def test_an_option_spoiled_during_training_is_refused_before_anything_moves(kind: Any) -> None:
    model, data = small_net(), batches(1)
    optimizer = kind(model.parameters(), **OPTIONS)
    before = values(model)
    optimizer.param_groups[0]["period"] = 0
    with pytest.raises(ConfigError, match="period"):
        train(model, optimizer, data)
    assert_equal(values(model), before)


def no_groups(state: dict[str, Any]) -> None:
    del state["param_groups"]


def more_groups(state: dict[str, Any]) -> None:
    state["param_groups"].append(copy.deepcopy(state["param_groups"][0]))


def fewer_parameters(state: dict[str, Any]) -> None:
    state["param_groups"][0]["params"].pop()


def of_sgd(state: dict[str, Any]) -> None:
    model = small_net()
    state.update(torch.optim.SGD(model.parameters(), lr=0.1).state_dict())


def other_shape(state: dict[str, Any]) -> None:
    entry = state["state"][0]
    entry[next(iter(entry))] = torch.zeros(7)


def bad_place(state: dict[str, Any]) -> None:
    state["param_groups"][0]["step_in_cycle"] = -1


def bad_option(state: dict[str, Any]) -> None:
    state["param_groups"][0]["momentum"] = 2.0


@both
@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (no_groups, ConfigError, "an optimiser state has 'state' and 'param_groups'"),
        (more_groups, PartitionError, r"groups of \[6, 6\] parameters, this optimiser has \[6\]"),
        (fewer_parameters, PartitionError, r"groups of \[5\] parameters"),
        (of_sgd, ConfigError, "lacks .*another optimiser"),
        (other_shape, PartitionError, r"saved with shape \(7,\), expected \(8, 6\)"),
        (bad_place, ConfigError, "step_in_cycle must be a whole number"),
        (bad_option, ConfigError, "momentum must be"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_before_anything_changes(
    kind: Any, spoil: Callable[[dict[str, Any]], None], error: type[MultirateError], words: str
) -> None:
    model, twin, data = small_net(), small_net(), batches(8)
    optimizer, same = kind(model.parameters(), **OPTIONS), kind(twin.parameters(), **OPTIONS)
    train(model, optimizer, data[:4]), train(twin, same, data[:4])
    state = copy.deepcopy(optimizer.state_dict())
    spoil(state)
    with pytest.raises(error, match=words):
        optimizer.load_state_dict(state)
    assert train(model, optimizer, data[4:]) == train(twin, same, data[4:])  # as if nothing had happened
