"""TwoCopiesSGD against its twin, against torch.optim.SGD at period 1, and in steps worked out by hand."""

from __future__ import annotations

import pytest
import torch
from from_scratch_cases import assert_equal, losses_of, values
from optim_cases import assert_close_weights, assert_same_weights, batches, norm_net, small_net, train
from torch import nn

from multirate_core.from_scratch import TwoCopiesSGD
from multirate_core.from_scratch.reference import train_two_copies

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("period", [1, 2, 5])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("steps", [10, 13])
def test_it_does_what_its_twin_does(period: int, momentum: float, weight_decay: float, steps: int) -> None:
    ours, twin, data = small_net(torch.float64), small_net(torch.float64), batches(steps, dtype=torch.float64)
    options = {"lr": 0.05, "momentum": momentum, "weight_decay": weight_decay, "period": period}
    optimizer = TwoCopiesSGD(ours.parameters(), **options)
    train(ours, optimizer, data)
    train_two_copies(list(twin.parameters()), losses_of(twin, data), **options)
    with optimizer.averaged():
        assert_close_weights(ours, twin)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_period_1_is_torch_sgd_bit_for_bit(momentum: float, weight_decay: float) -> None:
    ours, theirs, data = small_net(), small_net(), batches(15)
    options = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    train(ours, TwoCopiesSGD(ours.parameters(), **options, period=1), data)
    train(theirs, torch.optim.SGD(theirs.parameters(), **options), data)
    assert_same_weights(ours, theirs)


def test_a_cycle_worked_out_by_hand() -> None:
    """L = ½(w − b)², w₀ = 1, lr = 0.1, k = 2, momentum ½; b is 3, 1, 2."""
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = TwoCopiesSGD([weight], lr=0.1, momentum=0.5, period=2)
    seen, means = [], []
    for b in (3.0, 1.0, 2.0):
        optimizer.zero_grad()
        (0.5 * (weight - b) ** 2).backward()
        optimizer.step()
        seen.append(weight.item())
        with optimizer.averaged():
            means.append(weight.item())
    # 1: g = −2: fast 1.2, slow 1.4. 2: g = .2, p = −.8: fast 1.28; mean (1.28 + 1.4)/2 = 1.34.
    # 3: g = −.66: fast p = −1.06 → 1.446; slow p = −1 − .66 = −1.66 → 1.34 + .332 = 1.672.
    assert seen == pytest.approx([1.2, 1.34, 1.446], abs=1e-6)
    assert means == pytest.approx([1.3, 1.34, 1.559], abs=1e-6)


def test_the_parameters_at_the_end_of_a_cycle_are_the_mean_of_both_copies() -> None:
    model, alone, data = small_net(torch.float64), small_net(torch.float64), batches(4, dtype=torch.float64)
    optimizer = TwoCopiesSGD(model.parameters(), lr=0.1, period=4)
    train(model, optimizer, data[:3])
    slow = [optimizer.state[weight]["slow_copy"].clone() for weight in model.parameters()]
    train(model, optimizer, data[3:])
    train(alone, torch.optim.SGD(alone.parameters(), lr=0.1), data)
    large = small_net(torch.float64)
    train(large, torch.optim.SGD(large.parameters(), lr=0.4), data[:1])
    for mean, fast, kept, stepped in zip(values(model), values(alone), slow, values(large), strict=True):
        torch.testing.assert_close(kept, stepped)
        torch.testing.assert_close(mean, (fast + stepped) / 2)
    assert not optimizer.apart


def test_the_mean_is_shown_inside_the_block_only() -> None:
    model = small_net()
    optimizer = TwoCopiesSGD(model.parameters(), lr=0.1, period=3)
    train(model, optimizer, batches(2))
    assert optimizer.apart
    fast, slow = values(model), [optimizer.state[weight]["slow_copy"].clone() for weight in model.parameters()]
    with optimizer.averaged():
        shown = values(model)
        with optimizer.averaged():
            assert_equal(values(model), shown)
        assert_equal(values(model), shown)
    assert_equal(values(model), fast)
    for mean, a, b in zip(shown, fast, slow, strict=True):
        torch.testing.assert_close(mean, (a + b) / 2)
    assert not torch.equal(shown[0], fast[0])


def test_buffers_follow_the_forwards_of_the_fast_copy() -> None:
    """Nothing but the model's own forwards moves BatchNorm's statistics: as many updates as steps, never averaged."""
    model = norm_net()
    optimizer = TwoCopiesSGD(model.parameters(), lr=0.1, period=3)
    train(model, optimizer, batches(7, (1, 8, 8)))
    assert model[1].num_batches_tracked == 7
    before = model[1].running_mean.clone()
    with optimizer.averaged():
        assert torch.equal(model[1].running_mean, before)


def test_frozen_and_unused_parameters_stay() -> None:
    model = small_net()
    unused, frozen = nn.Parameter(torch.ones(3)), model[0].weight.requires_grad_(False)
    before = frozen.clone()
    train(model, TwoCopiesSGD([*model.parameters(), unused], lr=0.1, momentum=0.9, period=3), batches(7))
    assert torch.equal(frozen, before) and torch.equal(unused, torch.ones(3))


def test_groups_have_their_own_options_and_cycles() -> None:
    model = small_net()
    head, body = list(model[4].parameters()), [*model[0].parameters(), *model[2].parameters()]
    optimizer = TwoCopiesSGD([{"params": head, "period": 1, "lr": 0.01}, {"params": body}], lr=0.1, period=3)
    train(model, optimizer, batches(2))
    assert ["slow_copy" in optimizer.state.get(weight, {}) for weight in (head[0], body[0])] == [False, True]
