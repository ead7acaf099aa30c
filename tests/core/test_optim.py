"""MultirateSGD is Algorithm 1: against torch.optim.SGD, against the plain twin, and against hand-worked numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_cases import (
    TiedNet,
    assert_close_weights,
    assert_same_weights,
    batches,
    norm_net,
    small_net,
    split_by_layer,
    train,
    train_twin,
)
from torch import Tensor, nn

from multirate_core.optim import MultirateSGD
from multirate_core.optim.reference import ReferenceGroup, train_multirate


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 1e-2), (0.9, 1e-2)])
@pytest.mark.parametrize("drift", [True, False])
def test_period_1_in_one_group_equals_sgd_bit_for_bit(
    foreach: bool | None, momentum: float, weight_decay: float, drift: bool
) -> None:
    ours, theirs, data = small_net(), small_net(), batches(50)
    options = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    losses = train(ours, MultirateSGD(ours.parameters(), drift=drift, **options), data)
    expected = train(theirs, torch.optim.SGD(theirs.parameters(), foreach=foreach, **options), data)
    assert losses == expected
    assert_same_weights(ours, theirs)
    assert losses[0] > min(losses)


@pytest.mark.parametrize("make", [small_net, norm_net])
def test_period_1_in_several_groups_equals_sgd_bit_for_bit(make: Callable[[], nn.Module]) -> None:
    ours, theirs = make(), make()
    data = batches(50, (1, 8, 8) if make is norm_net else (6,))
    own = [{"lr": 0.05}, {"momentum": 0.5, "weight_decay": 0.1}, {}]
    defaults = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
    our_groups = [{**group, **options} for group, options in zip(split_by_layer(ours, [1, 1, 1]), own, strict=True)]
    their_groups = [
        {"params": group["params"], **options}
        for group, options in zip(split_by_layer(theirs, [1, 1, 1]), own, strict=True)
    ]
    for number, group in enumerate(our_groups):
        group["name"] = f"part {number}"
    train(ours, MultirateSGD(our_groups, **defaults), data)
    train(theirs, torch.optim.SGD(their_groups, **defaults), data)
    assert_same_weights(ours, theirs)


def test_a_parameter_without_gradient_rests_as_in_sgd() -> None:
    def skipping(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
        for step, (x, y) in enumerate(batches(20)):
            optimizer.zero_grad()
            hidden = model[:4](x) if step % 3 else model[:2](x)  # some steps leave the second layer out
            nn.functional.cross_entropy(model[4](hidden), y).backward()
            optimizer.step()

    ours, theirs = small_net(), small_net()
    skipping(ours, MultirateSGD(ours.parameters(), lr=0.1, momentum=0.9))
    skipping(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9))
    assert_same_weights(ours, theirs)


def test_groups_with_their_own_options_equal_the_twin() -> None:
    ours, twin = small_net(torch.float64), small_net(torch.float64)
    data = batches(60, dtype=torch.float64)
    own = [
        {"lr": 0.05, "momentum": 0.0, "weight_decay": 0.1, "drift": True},
        {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0, "drift": False},
        {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.01, "drift": True},
    ]
    our_groups = [{**g, **o} for g, o in zip(split_by_layer(ours, [1, 2, 5]), own, strict=True)]
    train(ours, MultirateSGD(our_groups), data)
    twin_groups = zip(split_by_layer(twin, [1, 2, 5]), own, strict=True)
    train_twin(twin, [ReferenceGroup(g["params"], g["period"], **o) for g, o in twin_groups], data)  # type: ignore[arg-type]
    assert_close_weights(ours, twin)


def test_the_twin_with_period_1_is_sgd() -> None:
    twin, theirs, data = small_net(torch.float64), small_net(torch.float64), batches(50, dtype=torch.float64)
    train_twin(twin, [ReferenceGroup(list(twin.parameters()), 1, 0.1, 0.9, 1e-2)], data)
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2), data)
    assert_close_weights(twin, theirs)


def test_batch_norm_statistics_move_at_every_forward_and_equal_the_twin() -> None:
    ours, twin = norm_net().double(), norm_net().double()
    data = batches(30, (1, 8, 8), torch.float64)
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
    train(ours, MultirateSGD(split_by_layer(ours, [1, 4]), **options), data)
    groups = [ReferenceGroup(g["params"], g["period"], **options) for g in split_by_layer(twin, [1, 4])]  # type: ignore[arg-type]
    train_twin(twin, groups, data)
    assert ours[1].num_batches_tracked == 30
    assert_close_weights(ours, twin)  # running statistics included


@pytest.mark.parametrize("drift", [True, False])
def test_tied_weights_count_once_and_equal_the_twin(drift: bool) -> None:
    torch.manual_seed(0)
    ours, twin = TiedNet().double(), TiedNet().double()
    twin.load_state_dict(ours.state_dict())
    data = batches(30, dtype=torch.float64)

    def head_and_rest(model: TiedNet) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        rest = [w for name, w in model.named_parameters() if not name.startswith("head")]
        return list(model.head.parameters()), rest

    fast, slow = head_and_rest(ours)
    assert len(slow) == 3  # one weight, two biases
    groups = [{"params": fast, "name": "fast"}, {"params": slow, "name": "slow", "period": 3}]
    train(ours, MultirateSGD(groups, lr=0.05, momentum=0.9, drift=drift), data)
    fast, slow = head_and_rest(twin)
    train_twin(twin, [ReferenceGroup(w, k, 0.05, 0.9, drift=drift) for w, k in ((fast, 1), (slow, 3))], data)
    assert_close_weights(ours, twin)


WITH_DRIFT = [(0.6, 1.2), (0.14, 0.4), (-0.068, -0.4), (0.2316, -0.1464), (1.00736, 0.1072)]
WITHOUT_DRIFT = [(0.6, -0.4), (0.46, -0.4), (0.668, -0.4), (1.2684, -0.0808), (2.19808, -0.0808)]


@pytest.mark.parametrize(("drift", "expected"), [(True, WITH_DRIFT), (False, WITHOUT_DRIFT)])
def test_the_worked_example_comes_out_as_by_hand(drift: bool, expected: list[tuple[float, float]]) -> None:
    # L_t = (F + 2S - b_t)^2 / 2 with b = 1..5, lr = 0.1, momentum 0.9, k = 3
    fast = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    slow = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    groups = [{"params": [fast], "name": "fast"}, {"params": [slow], "name": "slow", "period": 3}]
    optimizer = MultirateSGD(groups, lr=0.1, momentum=0.9, drift=drift)
    path = []
    for target in range(1, 6):
        optimizer.zero_grad()
        (0.5 * (fast + 2 * slow - target) ** 2).backward()
        optimizer.step()
        path.append((fast.item(), slow.item()))
    assert path == [pytest.approx(point, abs=1e-12) for point in expected]


@pytest.mark.parametrize(("drift", "expected"), [(True, WITH_DRIFT), (False, WITHOUT_DRIFT)])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_the_twin_gives_the_worked_example_too(drift: bool, expected: list[tuple[float, float]], steps: int) -> None:
    fast = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    slow = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    groups = [ReferenceGroup([w], k, 0.1, 0.9, drift=drift) for w, k in ((fast, 1), (slow, 3))]
    train_multirate(groups, [lambda b=b: 0.5 * (fast + 2 * slow - b) ** 2 for b in range(1, steps + 1)])
    assert (fast.item(), slow.item()) == pytest.approx(expected[steps - 1], abs=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("k", [2, 5])
def test_a_cycle_moves_the_slow_part_as_far_with_drift_as_without(momentum: float, k: int) -> None:
    # Without interaction (fast and slow are separate sums, linear in the slow one) only the timing differs.
    ends = []
    for drift in (True, False):
        fast = nn.Parameter(torch.ones(3, dtype=torch.float64))
        slow = nn.Parameter(torch.ones(4, dtype=torch.float64))
        groups = [{"params": [fast], "name": "fast"}, {"params": [slow], "name": "slow", "period": k}]
        optimizer = MultirateSGD(groups, lr=0.1, momentum=momentum, drift=drift)
        cycle_ends = []
        for step in range(4 * k):
            optimizer.zero_grad()
            ((fast**2).sum() + (slow * torch.arange(1.0, 5.0)).sum() * (1 + step // k)).backward()
            optimizer.step()
            if step % k == k - 1:
                cycle_ends.append(slow.detach().clone())
        ends.append(torch.stack(cycle_ends))
    torch.testing.assert_close(ends[0], ends[1])
    assert (ends[0][0] != 1).all()


def test_a_scheduled_lr_scales_every_drift() -> None:
    fast, slow = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": [slow], "period": 4}], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for _ in range(4):
        optimizer.zero_grad()
        (fast + slow).sum().backward()
        optimizer.step()
        scheduler.step()
    assert slow.item() == -(1 + 0.5 + 0.25 + 0.125)


def one_step(optimizer: MultirateSGD, *weights: nn.Parameter) -> None:
    optimizer.zero_grad()
    sum((weight**2).sum() for weight in weights).backward()  # type: ignore[union-attr]
    optimizer.step()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 40), st.booleans())
def test_a_group_is_refreshed_exactly_when_its_period_divides_the_step(
    periods: list[int], steps: int, drift: bool
) -> None:
    weights = [nn.Parameter(torch.ones(2)) for _ in (1, *periods)]
    groups = [
        {"params": [w], "name": str(i), "period": k}
        for i, (w, k) in enumerate(zip(weights, (1, *periods), strict=True))
    ]
    optimizer = MultirateSGD(groups, lr=1e-3, momentum=0.9, drift=drift)
    for step in range(steps):
        expected = tuple(str(i) for i, k in enumerate((1, *periods)) if step % k == 0)
        assert optimizer.due_groups == expected
        assert tuple(str(i) for i, w in enumerate(weights) if w.requires_grad) == expected
        one_step(optimizer, *weights)
        assert optimizer.last_refreshed == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.sampled_from([0.0, 0.9]))
def test_a_changed_period_counts_from_the_last_refresh(schedule: list[int], momentum: float) -> None:
    fast, slow = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [fast]}, {"params": [slow], "name": "slow", "period": 6}]
    optimizer = MultirateSGD(groups, lr=1e-3, momentum=momentum)
    since, holds_momentum = 0, False
    for period in schedule:
        optimizer.param_groups[1]["period"] = period
        due = since >= period or not holds_momentum
        one_step(optimizer, fast, slow)
        assert ("slow" in optimizer.last_refreshed) == due
        since = 1 if due else since + 1
        # Without momentum a group of period 1 keeps nothing to drift along: it is due once more.
        holds_momentum = (momentum > 0 or period > 1) if due else holds_momentum


def test_raising_the_period_of_plain_sgd_in_mid_training_never_rests() -> None:
    fast, slow = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": [slow]}], lr=0.1)
    positions = [slow.item()]
    for step in range(6):
        optimizer.param_groups[1]["period"] = 1 if step < 2 else 4
        one_step(optimizer, fast, slow)
        positions.append(slow.item())
    assert all(later < earlier for earlier, later in itertools.pairwise(positions))


@pytest.mark.parametrize("drift", [True, False])
def test_every_group_is_due_at_step_0_even_if_its_period_was_raised_before(drift: bool) -> None:
    fast, slow = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": [slow], "period": 2}], lr=0.1, drift=drift)
    optimizer.param_groups[1]["period"] = 5
    one_step(optimizer, fast, slow)
    assert slow.item() == pytest.approx(1 - 0.1 * 2 * (1 if drift else 5))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_drift_switched_off_in_mid_cycle_ends_the_cycle_as_it_began(momentum: float) -> None:
    ends = []
    for switches in (False, True):
        fast, slow = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        groups = [{"params": [fast]}, {"params": [slow], "period": 4}]
        optimizer = MultirateSGD(groups, lr=0.1, momentum=momentum)
        for step in range(4):
            optimizer.param_groups[1]["drift"] = not (switches and step >= 2)
            one_step(optimizer, fast, slow)
        ends.append(slow.item())
    assert ends[0] == ends[1] == pytest.approx(1 - 4 * 0.1 * 2)


def test_a_due_group_that_the_loss_left_out_rests_and_stays_due() -> None:
    fast, slow = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": [slow], "period": 2}], lr=0.1, momentum=0.9)
    one_step(optimizer, fast, slow)
    one_step(optimizer, fast, slow)
    value = slow.item()
    one_step(optimizer, fast)
    assert slow.item() == value
    assert optimizer.due_groups == ("group 0", "group 1")
    one_step(optimizer, fast, slow)
    assert slow.item() < value
    assert optimizer.last_refreshed == ("group 0", "group 1")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_gradient_that_its_reader_overwrites_does_not_bend_the_drift(momentum: float) -> None:
    fast, slow = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": [slow], "period": 3}], lr=0.1, momentum=momentum)
    (fast**2 + slow**2).sum().backward()
    kept = slow.grad
    assert kept is not None
    optimizer.step()
    kept.fill_(1e9)
    one_step(optimizer, fast, slow)
    assert slow.item() == pytest.approx(1 - 2 * 0.1 * 2)


def test_a_step_without_any_gradient_did_not_happen() -> None:
    fast, slow = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = MultirateSGD([{"params": [fast]}, {"params": [slow], "period": 2}], lr=0.1, momentum=0.9)
    one_step(optimizer, fast, slow)
    place, values = optimizer.due_groups, (fast.detach().clone(), slow.detach().clone())
    optimizer.zero_grad()
    with pytest.warns(UserWarning, match=r"step\(\) found no gradient in the groups that were due \(group 0\)"):
        optimizer.step()
    optimizer.step()  # said once is enough
    assert optimizer.due_groups == place
    assert optimizer.last_refreshed == ()
    assert torch.equal(fast, values[0])
    assert torch.equal(slow, values[1])


def test_a_closure_is_called_once_with_gradients_enabled_and_its_loss_returned() -> None:
    ours, theirs, data = small_net(), small_net(), batches(10)
    optimizer = MultirateSGD(split_by_layer(ours, [1, 3]), lr=0.1, momentum=0.9)
    calls = []

    def closure_for(x: Tensor, y: Tensor) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(ours(x), y)
            loss.backward()
            calls.append(loss.item())
            return loss

        return closure

    losses = [optimizer.step(closure_for(x, y)).item() for x, y in data]
    assert losses == calls
    train(theirs, MultirateSGD(split_by_layer(theirs, [1, 3]), lr=0.1, momentum=0.9), data)
    assert_same_weights(ours, theirs)
