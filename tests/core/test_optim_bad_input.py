"""What the optimiser refuses: in words, with an error of the project, and before anything has changed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from optim_cases import batches, small_net, split_by_layer, train
from torch import nn

from multirate_core.errors import ConfigError, MultirateError, PartitionError
from multirate_core.optim import MultirateSGD

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def two_groups(**slow: Any) -> list[dict[str, Any]]:
    fast, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    return [{"params": [fast], "name": "fast"}, {"params": [other], "name": "slow", "period": 2, **slow}]


@pytest.mark.parametrize("period", [0, -1, 1.5, math.nan, math.inf, True, "3", None, 10**9])
def test_a_period_that_is_no_whole_number_from_1_is_refused(period: object) -> None:
    with pytest.raises(ConfigError, match=r"'slow'.*period must be a whole number .*got") as caught:
        MultirateSGD(two_groups(period=period))
    assert repr(period) in str(caught.value)


@pytest.mark.parametrize("lr", [0, 0.0, -0.1, math.nan, math.inf, "0.1", None, True, torch.tensor(0.1)])
def test_a_learning_rate_that_is_not_positive_and_finite_is_refused(lr: object) -> None:
    with pytest.raises(ConfigError, match=r"lr of group 'fast' must be a finite number .*got"):
        MultirateSGD(two_groups(), lr=lr)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"lr of group 'slow' must be a finite number .*got"):
        MultirateSGD(two_groups(lr=lr))


@pytest.mark.parametrize("momentum", [1.0, 1, -0.1, 2, math.nan, math.inf, "0.9", False])
def test_a_momentum_outside_0_to_1_is_refused(momentum: object) -> None:
    with pytest.raises(ConfigError, match=r"momentum of group 'fast' must be a finite number ≥ 0 and < 1, got"):
        MultirateSGD(two_groups(), momentum=momentum)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight_decay", [-1e-4, math.nan, math.inf, "0"])
def test_a_negative_or_infinite_weight_decay_is_refused(weight_decay: object) -> None:
    with pytest.raises(ConfigError, match=r"weight_decay of group 'slow' must be a finite number ≥ 0, got"):
        MultirateSGD(two_groups(weight_decay=weight_decay))


@pytest.mark.parametrize("drift", [1, "yes", None])
def test_a_drift_that_is_no_bool_is_refused(drift: object) -> None:
    with pytest.raises(ConfigError, match="drift of group 'slow' must be True or False, got"):
        MultirateSGD(two_groups(drift=drift))


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown options \['peroid'\].*allowed:.*period"):
        MultirateSGD(two_groups(peroid=3))


def test_a_group_without_parameters_key_or_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'params'"):
        MultirateSGD([{"name": "fast"}])
    with pytest.raises(ConfigError, match="name must be a text"):
        MultirateSGD([{"params": [nn.Parameter(torch.ones(1))], "name": 3}])


def test_no_group_of_period_1_is_refused_with_the_periods() -> None:
    groups = two_groups()
    groups[0]["period"] = 4
    with pytest.raises(PartitionError, match=r"no group has period 1, got \{'fast': 4, 'slow': 2\}.*Set one"):
        MultirateSGD(groups)


def test_an_empty_or_frozen_fast_group_is_refused() -> None:
    groups = two_groups()
    groups[0]["params"][0].requires_grad_(False)
    with pytest.raises(PartitionError, match=r"fast group \('fast'\) is empty or frozen"):
        MultirateSGD(groups)
    groups[0]["params"] = []
    with pytest.raises(PartitionError, match=r"fast group \('fast'\) is empty or frozen"):
        MultirateSGD(groups)


@pytest.mark.parametrize("named", [True, False])
def test_a_parameter_in_two_groups_is_refused_and_both_are_named(named: bool) -> None:
    shared, other = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(1))
    fast: list[Any] = [("head.weight", shared)] if named else [shared]
    slow: list[Any] = [("body.bias", other), ("body.weight", shared)] if named else [other, shared]
    label = "'body.weight'" if named else "1 of group 'slow'"
    with pytest.raises(
        PartitionError, match=rf"parameter {label} of shape \(2, 3\) is in two groups, 'fast' and 'slow'"
    ):
        MultirateSGD([{"params": fast, "name": "fast"}, {"params": slow, "name": "slow", "period": 2}])


def test_a_parameter_listed_twice_and_two_groups_of_one_name_are_refused() -> None:
    weight, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    with pytest.raises(PartitionError, match="is listed twice in group 'group 0'"):
        MultirateSGD([weight, weight])
    with pytest.raises(PartitionError, match="two groups are called 'fast'"):
        MultirateSGD([{"params": [weight], "name": "fast"}, {"params": [other], "name": "fast"}])


def test_an_added_group_that_is_refused_leaves_the_optimiser_as_it_was() -> None:
    groups = two_groups()
    optimizer = MultirateSGD(groups)
    with pytest.raises(PartitionError, match="in two groups"):
        optimizer.add_param_group({"params": groups[0]["params"], "name": "again"})
    with pytest.raises(ConfigError, match="period"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "period": 0})
    assert [group["name"] for group in optimizer.param_groups] == ["fast", "slow"]


def test_complex_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"parameter 0 of group 'group 0'.*complex \(torch.complex64\)"):
        MultirateSGD([nn.Parameter(torch.ones(2, dtype=torch.complex64))])


def test_sparse_gradients_are_refused_before_anything_moves() -> None:
    torch.manual_seed(0)
    table, head = nn.Embedding(5, 3, sparse=True), nn.Linear(3, 2)
    groups = [
        {"params": list(head.parameters()), "name": "fast"},
        {"params": list(table.parameters()), "name": "slow", "period": 2},
    ]
    optimizer = MultirateSGD(groups, lr=0.1)
    before = [weight.detach().clone() for weight in (*head.parameters(), *table.parameters())]
    head(table(torch.tensor([0, 1]))).sum().backward()
    with pytest.raises(ConfigError, match=r"gradient of parameter 0 of group 'slow'.*is sparse.*sparse=False"):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, (*head.parameters(), *table.parameters()), strict=True))


@pytest.mark.parametrize(("period", "error"), [(0, ConfigError), (2.5, ConfigError), (2, PartitionError)])
def test_a_period_spoiled_during_training_is_refused_before_anything_moves(period: Any, error: type) -> None:
    groups = two_groups()
    weights = [group["params"][0] for group in groups]
    optimizer = MultirateSGD(groups, lr=0.1)
    sum(weight.sum() for weight in weights).backward()
    optimizer.param_groups[0]["period"] = period
    with pytest.raises(error, match="period"):
        optimizer.step()
    assert all((weight == 1).all() for weight in weights)


def saved_by_sgd(model: nn.Module) -> dict[str, Any]:
    groups = [{"params": group["params"]} for group in split_by_layer(model, [1, 3])]
    return torch.optim.SGD(groups, lr=0.1).state_dict()


def other_groups(state: dict[str, Any]) -> None:
    state["param_groups"].append(copy.deepcopy(state["param_groups"][1]))


def other_name(state: dict[str, Any]) -> None:
    state["param_groups"][1]["name"] = "body"


def other_count(state: dict[str, Any]) -> None:
    state["param_groups"][1]["params"].pop()


def other_shape(state: dict[str, Any]) -> None:
    state["state"][3]["momentum_buffer"] = torch.zeros(7)


def lost_momentum(state: dict[str, Any]) -> None:
    del state["state"][2]


def bad_period(state: dict[str, Any]) -> None:
    state["param_groups"][1]["period"] = 0


def bad_place(state: dict[str, Any]) -> None:
    state["param_groups"][1]["drifting"] = [0, 99]


def no_groups(state: dict[str, Any]) -> None:
    del state["param_groups"]


def nothing_fast(state: dict[str, Any]) -> None:
    state["param_groups"][0]["period"] = 2


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (other_groups, PartitionError, "saved with 3 groups, this optimiser has 2"),
        (other_name, PartitionError, "another name: got 'body', expected 'k=3'"),
        (other_count, PartitionError, "another size: got 3, expected 4"),
        (other_shape, PartitionError, r"saved with shape \(7,\), expected \(8,\)"),
        (lost_momentum, ConfigError, "no direction for parameter 0 of group 'k=3'"),
        (bad_period, ConfigError, "period must be a whole number"),
        (bad_place, ConfigError, "place in the cycle of group 'k=3' is damaged"),
        (no_groups, ConfigError, "an optimiser state has 'state' and 'param_groups'"),
        (nothing_fast, PartitionError, "no group has period 1"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_before_anything_changes(
    spoil: Callable[[dict[str, Any]], None], error: type[MultirateError], words: str
) -> None:
    model, twin, data = small_net(), small_net(), batches(8)
    optimizer, same = (MultirateSGD(split_by_layer(m, [1, 3]), lr=0.1, momentum=0.9) for m in (model, twin))
    train(model, optimizer, data[:2]), train(twin, same, data[:2])
    state = copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, data[2:3]), train(twin, same, data[2:3])
    spoil(state)
    with pytest.raises(error, match=words):
        optimizer.load_state_dict(state)
    assert train(model, optimizer, data[3:]) == train(twin, same, data[3:])  # as if nothing had happened


def test_a_state_of_another_optimiser_is_refused() -> None:
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]))
    with pytest.raises(ConfigError, match=r"lacks \['name', 'drift', 'period'.*another optimiser"):
        optimizer.load_state_dict(saved_by_sgd(model))


def test_a_state_with_other_parameter_names_is_refused() -> None:
    def named(prefix: str) -> MultirateSGD:
        return MultirateSGD([(prefix + name, weight) for name, weight in small_net().named_parameters()])

    with pytest.raises(PartitionError, match=r"another parameter: got 'b\.0\.weight', expected 'a\.0\.weight'"):
        named("a.").load_state_dict(named("b.").state_dict())
