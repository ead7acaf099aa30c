"""Nesterov and AdamW as base rules: against torch's own optimisers, by hand, and what they hold in memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from optim_cases import assert_same_weights, batches, norm_net, small_net, split_by_layer, train
from torch import nn

from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateAdamW, MultirateSGD

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("foreach", [None, True, False])
def test_nesterov_with_period_1_equals_sgd_bit_for_bit(weight_decay: float, foreach: bool | None) -> None:
    ours, theirs, data = norm_net(), norm_net(), batches(40, (1, 8, 8))
    options: dict[str, Any] = {"lr": 0.05, "momentum": 0.9, "weight_decay": weight_decay, "nesterov": True}
    losses = train(ours, MultirateSGD(split_by_layer(ours, [1, 1]), foreach=foreach, **options), data)
    assert losses == train(theirs, torch.optim.SGD(theirs.parameters(), **options), data)
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2, 0.5])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.9), (0.5, 0.9)])
def test_adamw_with_period_1_equals_torch_within_rounding(
    drift: bool, weight_decay: float, betas: tuple[float, float]
) -> None:
    ours, theirs, data = small_net(torch.float64), small_net(torch.float64), batches(100, dtype=torch.float64)
    options: dict[str, Any] = {"lr": 0.01, "betas": betas, "weight_decay": weight_decay}
    train(ours, MultirateAdamW(ours.parameters(), drift=drift, **options), data)
    train(theirs, torch.optim.AdamW(theirs.parameters(), **options), data)
    for weight, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-12, atol=1e-12)


def test_adamw_by_hand() -> None:
    # L_t = g_t·θ with g = 3, 0, 0, 1 and k = 3, lr = 0.1, β = (0.5, 0.5), ε = 1e-8, λ = 0.2, θ₀ = 1.
    # Refresh 1: m̂ = 3, √v̂ = 3, u = 1 + 0.2·1 = 1.2; three drifts of 0.12 end at 0.64. Refresh 2: m = 0.75 + 0.5,
    # v = 2.25 + 0.5, both divided by 0.75; u = 1.6667 / 1.9149 + 0.2·0.64.
    fast, slow = nn.Parameter(torch.zeros(1, dtype=torch.float64)), nn.Parameter(torch.ones(1, dtype=torch.float64))
    groups = [{"params": [fast]}, {"params": [slow], "period": 3}]
    optimizer = MultirateAdamW(groups, lr=0.1, betas=(0.5, 0.5), weight_decay=0.2)
    seen = []
    for gradient in (3.0, 7.0, 7.0, 1.0):  # those of the second and third step are never computed
        optimizer.zero_grad()
        (gradient * slow + fast).sum().backward()
        optimizer.step()
        seen.append(slow.item())
    second = (1.25 / 0.75) / math.sqrt(2.75 / 0.75) + 0.2 * 0.64
    assert seen == pytest.approx([0.88, 0.76, 0.64, 0.64 - 0.1 * second], rel=1e-8)


def test_the_betas_of_a_slow_group_count_refreshes_and_not_steps() -> None:
    model = small_net()
    optimizer = MultirateAdamW(split_by_layer(model, [1, 5]), lr=0.01)
    train(model, optimizer, batches(12))
    counts = {
        group["name"]: {optimizer.state[w]["refreshes"] for w in group["params"]} for group in optimizer.param_groups
    }
    assert counts == {"k=1": {12}, "k=5": {3}}


@pytest.mark.parametrize("rule", ["adamw", "nesterov", "plain"])
def test_a_held_direction_is_freed_before_the_gradient_that_replaces_it_comes(rule: str) -> None:
    model = small_net()
    groups = split_by_layer(model, [1, 3])
    slow = groups[1]["params"]
    if rule == "adamw":
        optimizer: Any = MultirateAdamW(groups, lr=0.01)
    else:
        optimizer = MultirateSGD(
            groups, lr=0.01, momentum=0.9 if rule == "nesterov" else 0.0, nesterov=rule == "nesterov"
        )
    held = []
    for batch in batches(7):
        optimizer.zero_grad()
        held.append(sum("direction" in optimizer.state.get(weight, {}) for weight in slow))  # type: ignore[attr-defined]
        nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    assert held == [0, 4, 4, 0, 4, 4, 0]
    fast = groups[0]["params"]
    assert not any("direction" in optimizer.state.get(weight, {}) for weight in fast)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"betas": (0.9, 1.0)}, "the second beta of group 'group 0' must be a finite number ≥ 0 and < 1, got 1.0"),
        ({"betas": (-0.1, 0.9)}, "the first beta of group 'group 0' must be a finite number ≥ 0 and < 1, got -0.1"),
        ({"betas": 0.9}, r"betas of group 'group 0' must be two numbers, got 0.9. Use \(0.9, 0.999\)"),
        ({"eps": 0.0}, "eps of group 'group 0' must be a finite number > 0, got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay of group 'group 0' must be a finite number ≥ 0"),
        ({"foreach": 1}, r"foreach of group 'group 0' \(if not None\) must be True or False, got 1"),
    ],
)
def test_adamw_refuses_options_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MultirateAdamW([nn.Parameter(torch.ones(2))], **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nesterov": True}, "nesterov of group 'group 0' needs a momentum > 0, got 0"),
        ({"nesterov": 1, "momentum": 0.9}, "nesterov of group 'group 0' must be True or False, got 1"),
        ({"betas": (0.9, 0.9)}, "unexpected keyword"),
    ],
)
def test_sgd_refuses_options_that_do_not_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, TypeError), match=words):
        MultirateSGD([nn.Parameter(torch.ones(2))], **options)


def test_a_state_of_the_other_base_rule_is_refused() -> None:
    model = small_net()
    adamw = MultirateAdamW(split_by_layer(model, [1, 3]), lr=0.01)
    train(model, adamw, batches(2))
    sgd = MultirateSGD(split_by_layer(small_net(), [1, 3]), lr=0.01)
    with pytest.raises(ConfigError, match=r"a saved group lacks \['momentum', 'nesterov'\]: .*MultirateSGD.state_dict"):
        sgd.load_state_dict(adamw.state_dict())
