"""What may change while training: periods and their schedule, frozen parameters; and what must not: the model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from optim_cases import assert_same_weights, batches, small_net, split_by_layer, train
from torch import nn

from multirate_core.errors import ConfigError, PartitionError
from multirate_core.optim import MultirateAdamW, MultirateOptimizer, MultirateSGD, PeriodSchedule, phases_in_steps
from multirate_core.partition.by_name import param_groups_by_rules

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

RULES: list[Any] = [
    lambda groups: MultirateSGD(groups, lr=0.05, momentum=0.9),
    lambda groups: MultirateSGD(groups, lr=0.05),
    lambda groups: MultirateAdamW(groups, lr=0.01),
]
every_rule = pytest.mark.parametrize("make", RULES, ids=["momentum", "plain", "adamw"])


def refreshed(
    model: nn.Module, optimizer: MultirateOptimizer, schedule: PeriodSchedule | None, steps: int
) -> list[bool]:
    """Train and return at which steps the group of the second name got a gradient."""
    name = optimizer.param_groups[1]["name"]
    seen = []
    for batch in batches(steps):
        train(model, optimizer, [batch])
        seen.append(name in optimizer.last_refreshed)
        if schedule is not None:
            schedule.step()
    return seen


@every_rule
def test_a_schedule_grows_k(make: Any) -> None:
    model = small_net()
    optimizer = make(split_by_layer(model, [1, 4]))
    schedule = PeriodSchedule(optimizer, {"k=4": [(3, 1), (4, 2)]})
    seen = refreshed(model, optimizer, schedule, 16)
    # A fast group holds no direction beside a momentum: without one the first longer cycle begins with a gradient.
    expected = [0, 1, 2, 4, 6, 10, 14] if make is RULES[0] else [0, 1, 2, 3, 5, 9, 13]
    assert [step for step, due in enumerate(seen) if due] == expected
    assert optimizer.param_groups[1]["period"] == 4


def test_a_schedule_that_holds_the_period_changes_nothing() -> None:
    model, same = small_net(), small_net()
    ours, theirs = (MultirateSGD(split_by_layer(m, [1, 3]), lr=0.1, momentum=0.9) for m in (model, same))
    refreshed(model, ours, PeriodSchedule(ours, {"k=3": [(5, 3)]}), 12)
    refreshed(same, theirs, None, 12)
    assert_same_weights(model, same)


@pytest.mark.parametrize("steps", [0, 1, 4, 6, 11])
@every_rule
def test_a_schedule_resumes_where_it_was(make: Any, steps: int) -> None:
    phases = {"k=5": [(3, 1), (4, 2)]}
    model, fresh = small_net(), small_net()
    optimizer, again = make(split_by_layer(model, [1, 5])), make(split_by_layer(fresh, [1, 5]))
    schedule = PeriodSchedule(optimizer, phases)
    refreshed(model, optimizer, schedule, steps)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), schedule.state_dict()))
    resumed = PeriodSchedule(again, phases)
    fresh.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    resumed.load_state_dict(saved[2])
    assert refreshed(fresh, again, resumed, 12) == refreshed(model, optimizer, schedule, 12)
    assert_same_weights(fresh, model)
    assert again.param_groups[1]["period"] == 5


@pytest.mark.parametrize(
    ("phases", "error", "words"),
    [
        ({"slow": [(3, 1)]}, ConfigError, "no group is called 'slow'; there are 'k=1', 'k=4'"),
        ({"k=4": [(0, 1)]}, ConfigError, "the steps of a phase of 'k=4' must be a whole number from 1"),
        ({"k=4": [(3, 1.5)]}, ConfigError, "the period of a phase of 'k=4' must be a whole number from 1"),
        ({"k=4": [3]}, ConfigError, r"a phase of 'k=4' must be \(steps, period\), got 3"),
        ({"k=1": [(3, 2)]}, PartitionError, "no group has period 1"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(phases: Any, error: type[Exception], words: str) -> None:
    optimizer = MultirateSGD(split_by_layer(small_net(), [1, 4]), lr=0.1)
    with pytest.raises(error, match=words):
        PeriodSchedule(optimizer, phases)
    assert [group["period"] for group in optimizer.param_groups] == [1, 4]


@pytest.mark.parametrize("state", [{}, {"steps": 3, "final": {"other": 3}}, {"steps": -1, "final": {"k=4": 4}}])
def test_a_schedules_state_that_does_not_fit_is_refused(state: dict[str, Any]) -> None:
    optimizer = MultirateSGD(split_by_layer(small_net(), [1, 4]), lr=0.1)
    schedule = PeriodSchedule(optimizer, {"k=4": [(2, 1)]})
    with pytest.raises(ConfigError):
        schedule.load_state_dict(state)
    assert (schedule.steps, optimizer.param_groups[1]["period"]) == (0, 1)


def test_periods_are_set_together_or_not_at_all() -> None:
    optimizer = MultirateSGD(split_by_layer(small_net(), [1, 4]), lr=0.1)
    for periods, error in (
        ({"k=4": 2, "gone": 3}, ConfigError),
        ({"k=4": 0}, ConfigError),
        ({"k=1": 2}, PartitionError),
    ):
        with pytest.raises(error):
            optimizer.set_periods(periods)
        assert [group["period"] for group in optimizer.param_groups] == [1, 4]
    optimizer.set_periods({"k=1": 2, "k=4": 1})  # they may change places
    assert [group["period"] for group in optimizer.param_groups] == [2, 1]


@every_rule
def test_a_parameter_frozen_in_mid_cycle_stops_at_once_and_moves_again_when_its_group_is_due(make: Any) -> None:
    model = small_net()
    optimizer = make(split_by_layer(model, [1, 3]))
    bystander = model[0].bias
    train(model, optimizer, batches(2))
    before, beside = model[0].weight.detach().clone(), bystander.detach().clone()
    optimizer.freeze([model[0].weight])
    assert model[0].weight.grad is None
    train(model, optimizer, batches(3))  # drift, refresh, drift
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(bystander, beside)
    optimizer.unfreeze([model[0].weight])
    moved = []
    for batch in batches(3):
        was = model[0].weight.detach().clone()
        train(model, optimizer, [batch])
        moved.append(not torch.equal(model[0].weight, was))
    assert moved == [False, True, True]  # it has no direction to drift along before its group's next gradient


def test_freezing_a_module_equals_building_the_optimiser_on_a_frozen_one() -> None:
    ours, theirs, data = small_net(), small_net(), batches(20)
    theirs[0].requires_grad_(False)
    late = MultirateSGD(split_by_layer(ours, [1, 3]), lr=0.1, momentum=0.9)
    late.freeze(ours[0].parameters())
    early = MultirateSGD(split_by_layer(theirs, [1, 3]), lr=0.1, momentum=0.9)
    assert train(ours, late, data) == train(theirs, early, data)
    assert_same_weights(ours, theirs)


def test_freezing_the_whole_fast_part_or_a_stranger_is_refused_and_nothing_changes() -> None:
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1)
    with pytest.raises(
        PartitionError, match=r"no trainable parameter has period 1: the fast group .* is empty or frozen"
    ):
        optimizer.freeze(model.parameters())
    with pytest.raises(PartitionError, match=r"a parameter of shape \(2,\) is in no group of this optimiser"):
        optimizer.freeze([model[0].weight, nn.Parameter(torch.ones(2))])
    assert all(weight.requires_grad for weight in model.parameters())
    assert [group["frozen"] for group in optimizer.param_groups] == [[], []]


def test_what_was_frozen_late_is_saved() -> None:
    model, fresh = small_net(), small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1, momentum=0.9)
    train(model, optimizer, batches(2))
    optimizer.freeze([model[2].bias])
    restored = MultirateSGD(split_by_layer(fresh, [1, 3]), lr=0.1)
    fresh.load_state_dict(model.state_dict())
    restored.load_state_dict(optimizer.state_dict())
    assert train(fresh, restored, batches(8)) == train(model, optimizer, batches(8))
    assert_same_weights(fresh, model)


def test_a_new_head_is_noticed() -> None:
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1)
    optimizer.require_covers(model)
    train(model, optimizer, batches(1))
    optimizer.require_covers(model)  # resting parameters are covered too
    model[4] = nn.Linear(8, 5)
    with pytest.raises(
        PartitionError, match=r"in no group: 4\.weight, 4\.bias; in a group but not in the model: .*k=1"
    ):
        optimizer.require_covers(model)
    with pytest.warns(UserWarning, match="if layers were replaced after the optimiser was built, build it again"):
        train(model, optimizer, batches(1))


def test_a_parameter_frozen_and_left_out_is_covered() -> None:
    model = small_net()
    model[0].requires_grad_(False)
    MultirateSGD(model[2:].parameters(), lr=0.1).require_covers(model)


@every_rule
def test_a_model_converted_after_the_first_step_is_refused_before_anything_moves(make: Any) -> None:
    model = small_net()
    optimizer = make(split_by_layer(model, [1, 2]))
    train(model, optimizer, batches(2))
    model.double()
    before = copy.deepcopy(model.state_dict())
    words = r"was changed after the optimiser had begun: its state has shape .* float32 on cpu, the parameter .*float64"
    data = batches(1, dtype=torch.float64)
    if make is RULES[1]:  # without a state nothing is out of place
        train(model, optimizer, data)
        return
    with pytest.raises(ConfigError, match=words):
        train(model, optimizer, data)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_second_optimiser_does_not_take_resting_parameters_for_frozen() -> None:
    model = small_net()
    first = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1)
    train(model, first, batches(1))
    for build in (
        lambda: MultirateSGD(split_by_layer(model, [1, 2]), lr=0.1),
        lambda: MultirateAdamW(model.parameters()),
        lambda: param_groups_by_rules(model, {"fast": 1, "slow": 3}, [("4", "fast"), ("*", "slow")]),
    ):
        with pytest.raises(ConfigError, match=r"rests in another multirate optimiser, .* Call release\(\) on that"):
            build()
    first.release()
    second = MultirateSGD(split_by_layer(model, [1, 2]), lr=0.1)
    assert [group["frozen"] for group in second.param_groups] == [[], []]


def test_a_parameter_that_its_user_froze_is_not_called_resting() -> None:
    model = small_net()
    first = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1)
    train(model, first, batches(1))
    first.freeze([model[0].weight])
    first.release()
    second = MultirateSGD(split_by_layer(model, [1, 2]), lr=0.1)
    assert [group["frozen"] for group in second.param_groups] == [[], [2]]


def test_a_schedule_whose_later_phase_cannot_be_is_refused_at_once() -> None:
    optimizer = MultirateSGD(split_by_layer(small_net(), [1, 4]), lr=0.1)
    with pytest.raises(PartitionError, match=r"no group has period 1, got .*'k=1': 2"):
        PeriodSchedule(optimizer, {"k=1": [(1000, 1), (1000, 2)]})
    schedule = PeriodSchedule(optimizer, {"k=1": [(2, 1)], "k=4": [(3, 2)]})
    with pytest.raises(PartitionError, match="no group has period 1"):
        schedule.load_state_dict({"steps": 0, "final": {"k=1": 3, "k=4": 4}})
    assert schedule.state_dict() == {"steps": 0, "final": {"k=1": 1, "k=4": 4}}


@pytest.mark.parametrize(("before", "after", "at"), [(5, 2, 7), (2, 5, 9), (5, 1, 3), (1, 4, 6)])
def test_without_drift_a_changed_period_neither_repeats_nor_loses_steps(before: int, after: int, at: int) -> None:
    fast, slow = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"params": [fast]}, {"params": [slow], "period": before, "name": "slow", "drift": False}]
    optimizer = MultirateSGD(groups, lr=1.0)
    covered = []
    for step in range(24):
        if step == at:
            optimizer.set_periods({"slow": after})
        optimizer.zero_grad()
        (fast + slow).sum().backward()  # the gradient is 1: a parameter that moves for n steps moves by n
        optimizer.step()
        covered.append(-slow.item() - (step + 1))
    assert min(covered) >= 0  # it never lags behind the steps that were taken
    assert max(covered) <= max(before, after) - 1  # and is ahead by the rest of one cycle at most
    assert covered[-1] == (optimizer.param_groups[1]["jumped"] - optimizer.param_groups[1]["steps_since_refresh"])


def test_what_drifts_is_checked_before_anything_moves_too() -> None:
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 5]), lr=0.1)  # no momentum: only the direction is held
    train(model, optimizer, batches(2))
    model.double()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match="was changed after the optimiser had begun"):
        train(model, optimizer, batches(1, dtype=torch.float64))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_layers_may_be_frozen_by_hand_after_release() -> None:
    model = small_net()
    first = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1)
    train(model, first, batches(2))
    first.release()
    model[0].requires_grad_(False)
    model[4].bias.requires_grad_(False)
    second = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1)
    assert [group["frozen"] for group in second.param_groups] == [[1], [2, 3]]


def test_a_group_that_is_frozen_as_a_whole_is_never_due() -> None:
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 2]), lr=0.1)
    optimizer.freeze(optimizer.param_groups[1]["params"])
    for batch in batches(4):
        assert optimizer.due_groups == ("k=1",)
        train(model, optimizer, [batch])


def test_phases_in_epochs_become_steps_without_adding_up_their_rounding() -> None:
    assert phases_in_steps([(0.5, 1), (0.5, 2), (0.5, 3)], 3) == [(2, 1), (1, 2), (1, 3)]
    assert phases_in_steps([(2, 1), (0.001, 4)], 10) == [(20, 1), (1, 4)]
    assert phases_in_steps([], 10) == []


def test_a_module_is_frozen_and_thawed_by_itself_as_by_its_parameters() -> None:
    body, head = nn.Linear(3, 3), nn.Linear(3, 2)
    optimizer = MultirateSGD([{"params": [*body.parameters(), *head.parameters()]}], lr=0.1)
    optimizer.freeze(body)
    assert not any(weight.requires_grad for weight in body.parameters())
    optimizer.unfreeze(body)
    assert all(weight.requires_grad for weight in body.parameters())
    with pytest.raises(PartitionError, match="in no group"):
        optimizer.freeze(nn.Linear(3, 3))
