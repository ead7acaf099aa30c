"""RandomSubgroupsSGD against its twin, against torch.optim.SGD in both limits, and in steps worked out by hand."""

from __future__ import annotations

import pytest
import torch
from from_scratch_cases import assert_equal, drawn_for, losses_of, values
from optim_cases import assert_close_weights, assert_same_weights, batches, norm_net, small_net, train
from torch import nn

from multirate_core.from_scratch import RandomSubgroupsSGD
from multirate_core.from_scratch import random_subgroups as module
from multirate_core.from_scratch.random_subgroups import draw_active
from multirate_core.from_scratch.reference import train_random_subgroups

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("period", [1, 2, 5])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("fraction", [0.1, 0.6])
@pytest.mark.parametrize("steps", [10, 13])
def test_it_does_what_its_twin_does(
    period: int, momentum: float, weight_decay: float, fraction: float, steps: int
) -> None:
    ours, twin, data = small_net(torch.float64), small_net(torch.float64), batches(steps, dtype=torch.float64)
    options = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay, "period": period}
    optimizer = RandomSubgroupsSGD(ours.parameters(), **options, fraction=fraction, seed=3)
    train(ours, optimizer, data)
    train_random_subgroups(list(twin.parameters()), losses_of(twin, data), drawn_for(optimizer), **options)
    with optimizer.restored():
        assert_close_weights(ours, twin)


@pytest.mark.parametrize("limit", [{"period": 1, "fraction": 0.5}, {"period": 4, "fraction": 0.0}])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_period_1_and_fraction_0_are_torch_sgd_bit_for_bit(
    limit: dict[str, float], momentum: float, weight_decay: float
) -> None:
    ours, theirs, data = small_net(), small_net(), batches(15)
    options = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    train(ours, RandomSubgroupsSGD(ours.parameters(), **options, **limit), data)
    train(theirs, torch.optim.SGD(theirs.parameters(), **options), data)
    assert_same_weights(ours, theirs)


def test_a_cycle_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """L = ½(w₁ + 2 w₂ − b)², the second weight rests, k = 2, lr = 0.1, no momentum; b is 1, 2, 3, 4."""
    monkeypatch.setattr(module, "draw_active", lambda *_: torch.tensor([[1.0, 0.0]]))
    weight = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    optimizer = RandomSubgroupsSGD([weight], lr=0.1, period=2)
    seen, whole = [], []
    for b in (1.0, 2.0, 3.0, 4.0):
        optimizer.zero_grad()
        (0.5 * (weight[0, 0] + 2 * weight[0, 1] - b) ** 2).backward()
        optimizer.step()
        seen.append(weight.tolist()[0])
        with optimizer.restored():
            whole.append(weight.tolist()[0])
    # 1: residual 4, plain: (.6, 1.2). 2: residual 1, plain: (.5, 1), then w₂ is put away. 3: .5 − 3 = −2.5 → .75, put
    # back. 4: .75 + 2 − 4 = −1.25: w₁ += .125, w₂ += 2 · .1 · 2 · 1.25 = .5, then w₂ is put away again.
    assert seen == [pytest.approx(row, abs=1e-6) for row in ([0.6, 1.2], [0.5, 0.0], [0.75, 1.0], [0.875, 0.0])]
    assert whole == [pytest.approx(row, abs=1e-6) for row in ([0.6, 1.2], [0.5, 1.0], [0.75, 1.0], [0.875, 1.5])]


def test_a_resting_weight_keeps_its_momentum() -> None:
    model, data = small_net(), batches(6)
    optimizer = RandomSubgroupsSGD(model.parameters(), lr=0.1, momentum=0.9, period=4, fraction=0.5)
    train(model, optimizer, data[:4])
    before = [optimizer.state[weight]["momentum_buffer"].clone() for weight in model.parameters()]
    train(model, optimizer, data[4:])
    for weight, old in zip(model.parameters(), before, strict=True):
        now, rests = optimizer.state[weight]["momentum_buffer"], (weight == 0) & (weight.dim() > 1)
        assert torch.equal(now[rests], old[rests])
        assert not torch.equal(now, old)


def test_the_subset_is_zero_in_mid_cycle_and_comes_back_unchanged() -> None:
    model, data = small_net(), batches(12)
    optimizer = RandomSubgroupsSGD(model.parameters(), lr=0.1, period=4, fraction=0.3, seed=1)
    weight = model[2].weight
    states = []
    for batch in data:
        train(model, optimizer, [batch])
        states.append((optimizer.resting, weight.detach().clone()))
    assert [resting for resting, _ in states] == [False] * 3 + [True] * 3 + [False] + [True] * 3 + [False, True]
    zeros = [value == 0 for _, value in states[3:]]
    assert 0.1 < zeros[0].float().mean() < 0.5
    assert torch.equal(zeros[0], zeros[1]) and torch.equal(zeros[1], zeros[2])
    assert not zeros[3].any()
    assert not torch.equal(zeros[0], zeros[4])


def test_biases_norms_and_frozen_weights_never_rest() -> None:
    model = norm_net()
    model[0].weight.requires_grad_(False)
    optimizer = RandomSubgroupsSGD(model.parameters(), lr=0.01, period=3, fraction=0.9)
    train(model, optimizer, batches(4, (1, 8, 8)))
    assert optimizer.resting
    assert (model[5].weight == 0).float().mean() > 0.5
    assert all((value != 0).all() for value in (model[0].weight, model[1].weight, model[5].bias))


def test_the_weights_to_evaluate_are_shown_inside_the_block_only() -> None:
    model = small_net()
    optimizer = RandomSubgroupsSGD(model.parameters(), lr=0.1, period=3, fraction=0.5)
    train(model, optimizer, batches(4))
    thinned = values(model)
    with optimizer.restored():
        shown = values(model)
        with optimizer.restored():
            assert_equal(values(model), shown)
        assert_equal(values(model), shown)
    assert_equal(values(model), thinned)
    assert all((value != 0).all() for value in shown)
    assert not torch.equal(shown[0], thinned[0])


def test_what_is_written_while_weights_are_shown_stays() -> None:
    model = small_net()
    optimizer = RandomSubgroupsSGD(model.parameters(), lr=0.1, period=3, fraction=0.5)
    train(model, optimizer, batches(4))
    with optimizer.restored(), torch.no_grad():
        for weight in model.parameters():
            weight.fill_(7.0)
    assert set(model[0].weight.unique().tolist()) == {0.0, 7.0}
    with optimizer.restored():
        assert all((weight == 7.0).all() for weight in model.parameters())


def test_draws_depend_on_their_key_alone_and_have_the_asked_share() -> None:
    weight = torch.zeros(300, 200, dtype=torch.bfloat16)
    drawn = draw_active(weight, 0.3, (5, 0, 1, 2))
    assert drawn.dtype == torch.bfloat16
    assert abs(float((drawn == 0).float().mean()) - 0.3) < 0.01
    torch.manual_seed(9)
    assert torch.equal(draw_active(weight, 0.3, (5, 0, 1, 2)), drawn)
    assert not torch.equal(draw_active(weight, 0.3, (6, 0, 1, 2)), drawn)
    assert not torch.equal(draw_active(weight, 0.3, (5, 0, 1, 3)), drawn)


def test_training_draws_no_number_from_torchs_generator() -> None:
    model = small_net()
    optimizer = RandomSubgroupsSGD(model.parameters(), lr=0.1, period=2)
    before = torch.get_rng_state()
    train(model, optimizer, batches(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_groups_have_their_own_options_and_cycles() -> None:
    model, data = small_net(), batches(6)
    head, body = list(model[4].parameters()), [*model[0].parameters(), *model[2].parameters()]
    optimizer = RandomSubgroupsSGD([{"params": head, "fraction": 0.0}, {"params": body, "period": 2}], lr=0.1, period=3)
    seen = []
    for batch in data:
        train(model, optimizer, [batch])
        seen.append(((model[4].weight == 0).any().item(), (model[0].weight == 0).any().item()))
    assert seen == [(False, False), *[(False, True), (False, False)] * 2, (False, True)]


def test_a_shortened_period_still_lets_the_subset_catch_up_what_it_missed() -> None:
    weight = nn.Parameter(torch.full((4, 50), 10.0))
    optimizer = RandomSubgroupsSGD([weight], lr=0.1, period=5, fraction=0.5)
    for step in range(8):
        optimizer.zero_grad()
        weight.sum().backward()
        if step == 6:
            optimizer.param_groups[0]["period"] = 3  # the subset rests for two steps and not for four
        optimizer.step()
    with optimizer.restored():
        assert torch.allclose(weight, torch.tensor(10.0 - 8 * 0.1))  # all have moved by as much
