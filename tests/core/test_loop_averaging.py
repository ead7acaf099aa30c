"""Averages of the weights over time: SWA and EMA see the drifting parameters at every step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from loop_cases import Rule, each_rule, each_split, flags, loss_of, values
from optim_cases import assert_same_weights, batches, norm_net, small_net, train
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

pytestmark = pytest.mark.slow


@each_rule
@each_split
@pytest.mark.parametrize("start", [0, 4])
def test_the_swa_average_is_the_mean_of_the_weights_after_each_step(
    rule: Rule, periods: Sequence[int], start: int
) -> None:
    model, data = small_net(torch.float64), batches(12, dtype=torch.float64)
    optimizer = rule.optimizer(model, periods)
    train(model, optimizer, data[:start])
    averaged = AveragedModel(model)  # from step 4 on made while parameters rest
    seen = []
    for batch in data[start:]:
        train(model, optimizer, [batch])
        averaged.update_parameters(model)
        seen.append(values(model))
    for weight, path in zip(averaged.module.parameters(), zip(*seen, strict=True), strict=True):
        torch.testing.assert_close(weight.detach(), torch.stack(path).mean(0))
        assert not torch.equal(weight, path[0])


@each_rule
@each_split
def test_the_moving_average_is_that_of_the_weights_after_each_step(rule: Rule, periods: Sequence[int]) -> None:
    model = small_net(torch.float64)
    optimizer = rule.optimizer(model, periods)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    expected: list[torch.Tensor] = []
    for batch in batches(12, dtype=torch.float64):
        train(model, optimizer, [batch])
        averaged.update_parameters(model)
        now = values(model)
        expected = [0.7 * old + 0.3 * new for old, new in zip(expected or now, now, strict=True)]
    for weight, value in zip(averaged.module.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.detach(), value)


@each_rule
def test_averaging_leaves_the_training_and_its_flags_alone(rule: Rule) -> None:
    watched, plain, data = norm_net(), norm_net(), batches(9, (1, 8, 8))
    optimizer = rule.optimizer(watched, (1, 3))
    averaged = AveragedModel(watched, use_buffers=True)
    for step, batch in enumerate(data):
        train(watched, optimizer, [batch])
        averaged.update_parameters(watched)
        before = flags(watched)
        update_bn(data[: 1 + step], averaged)
        assert flags(watched) == before
    train(plain, rule.optimizer(plain, (1, 3)), data)
    assert_same_weights(watched, plain)


@each_rule
def test_update_bn_gives_the_averaged_network_statistics_of_its_own(rule: Rule) -> None:
    model, data = norm_net(), batches(8, (1, 8, 8))
    optimizer = rule.optimizer(model, (1, 3))
    averaged = AveragedModel(model)
    for batch in data:
        train(model, optimizer, [batch])
        averaged.update_parameters(model)
    update_bn(data, averaged)
    x = torch.cat([averaged.module[0](x) for x, _ in data])  # batches of one size: the mean of means
    torch.testing.assert_close(averaged.module[1].running_mean, x.mean((0, 2, 3)))
    assert not torch.allclose(averaged.module[1].running_mean, model[1].running_mean)


@each_rule
def test_swalr_brings_every_group_to_its_rate(rule: Rule) -> None:
    model = small_net()
    optimizer = rule.optimizer(model, (1, 2, 6))
    scheduler = SWALR(optimizer, swa_lr=0.01, anneal_epochs=5)
    rates = []
    for batch in batches(8):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        scheduler.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates[-1] == pytest.approx([0.01] * 3)
    assert all(low[0] >= high[0] for low, high in itertools.pairwise(rates))


@each_rule
def test_a_restored_copy_of_the_averaged_weights_trains_every_parameter(rule: Rule) -> None:
    # A copy made in mid-cycle has resting flags; releasing first (or loading into a fresh network) is the way out.
    model = small_net()
    optimizer = rule.optimizer(model, (1, 3))
    train(model, optimizer, batches(2))
    optimizer.release()
    averaged = AveragedModel(model)
    assert flags(averaged.module) == [True] * 6
    train(averaged.module, rule.theirs(averaged.module.parameters(), lr=0.1), batches(1))
    assert all(not torch.equal(a, b) for a, b in zip(averaged.module.parameters(), model.parameters(), strict=True))
