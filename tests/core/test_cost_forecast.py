"""What is predicted for every arm of a race: means over the run's steps and phases, and the stored form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cost_cases import made_up

from multirate_core.config import ArmConfig, Budget, Execution, GroupSpec, PartitionSpec, RaceConfig, Recipe, Rule
from multirate_core.cost.calibration import Calibration, UpdateCost, Updates
from multirate_core.cost.forecast import (
    ArmForecast,
    forecast,
    from_text,
    partitioned,
    run_of,
    to_text,
)
from multirate_core.cost.predict import Partitioned, Run, predict, step_s
from multirate_core.errors import PartitionError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree

SGD = ArmConfig("sgd", "sgd")
FAST, SLOW = GroupSpec("fast", 1), GroupSpec("slow", 4)
RULES = (Rule("fc", "fast"), Rule("*", "slow"))


@cache
def tree() -> LayerTree:
    """The tree of the default network, which ships."""
    found = describe.read(describe.SHIPPED)
    assert isinstance(found, LayerTree)
    return found


@cache
def calibration() -> Calibration:
    """Made-up costs, with updates that take time."""
    updates = Updates(UpdateCost(1e-4, 1e-9), UpdateCost(2e-4, 2e-9), UpdateCost(1e-4, 1e-9))
    return replace(made_up(tree()), updates=updates)


def arm(*groups: GroupSpec, kind: str = "multirate", rules: Iterable[Rule] = RULES, drift: bool = True) -> ArmConfig:
    return ArmConfig(kind, kind, PartitionSpec(groups, tuple(rules)), drift)  # type: ignore[arg-type]


def config(*arms: ArmConfig, epochs: int = 4, **changes: Any) -> RaceConfig:
    return replace(RaceConfig(arms=arms, recipe=Recipe(batch_size=16), budget=Budget(epochs=epochs)), **changes)


def mean_s(**periods: int) -> float:
    """Mean seconds of a step in a run without end."""
    part = Partitioned(periods, partitioned(arm(FAST, SLOW), tree()).assignment)
    return predict(calibration(), part).mean_step_s


# Arms


def test_every_arm_has_a_step_and_its_ratio_to_the_plain_one() -> None:
    race = config(SGD, arm(FAST, SLOW), arm(FAST, SLOW, kind="frozen"))
    found = forecast(calibration(), race, tree(), Run())
    cost = predict(calibration(), partitioned(arm(FAST, SLOW), tree()))
    assert list(found) == ["sgd", "multirate", "frozen"]
    assert found["sgd"] == ArmForecast(pytest.approx(calibration().sgd_step_s), 1.0, 0.0)
    assert found["multirate"] == ArmForecast(cost.mean_step_s, cost.ratio, cost.uncertainty)
    assert found["frozen"].step_s == cost.frozen_step_s
    assert found["frozen"].ratio == pytest.approx(cost.frozen_step_s / calibration().sgd_step_s)
    assert found["frozen"].uncertainty == pytest.approx(0.02 * found["frozen"].ratio)
    assert found["frozen"].ratio < found["multirate"].ratio < 1


def test_arms_have_their_own_names_and_partitions() -> None:
    arms = [replace(arm(FAST, GroupSpec("slow", k)), name=f"k {k}") for k in (2, 8)]
    found = forecast(calibration(), config(*arms), tree(), Run())
    assert {name: each.step_s for name, each in found.items()} == {
        "k 2": mean_s(fast=1, slow=2),
        "k 8": mean_s(fast=1, slow=8),
    }


def test_the_run_of_a_race_is_averaged() -> None:
    race, run = config(SGD, arm(FAST, SLOW)), Run(steps=6, filled=0.8)
    found = forecast(calibration(), race, tree(), run)
    part = partitioned(arm(FAST, SLOW), tree())
    full = step_s(calibration(), part, ("fast", "slow"), filled=0.8)
    fast = step_s(calibration(), part, ("fast",), filled=0.8)
    assert found["multirate"].step_s == pytest.approx((2 * full + 4 * fast) / 6)
    assert found["sgd"].step_s < calibration().sgd_step_s
    assert found["multirate"].ratio == found["multirate"].step_s / found["sgd"].step_s


def test_lean_memory_is_a_matter_of_multirate_arms() -> None:
    race = config(SGD, arm(FAST, SLOW), arm(FAST, SLOW, kind="frozen"))
    plain = forecast(calibration(), race, tree(), Run())
    lean = forecast(calibration(), replace(race, execution=Execution(memory="lean")), tree(), Run())
    assert lean["multirate"].step_s == pytest.approx(plain["multirate"].step_s + calibration().recompute_s / 4)
    assert (lean["sgd"], lean["frozen"]) == (plain["sgd"], plain["frozen"])


@pytest.mark.parametrize("drift", [True, False])
def test_an_arm_says_whether_its_slow_part_drifts(drift: bool) -> None:
    assert partitioned(arm(FAST, SLOW, drift=drift), tree()).drift is drift


def test_a_partition_that_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(PartitionError):
        partitioned(arm(FAST, SLOW, rules=[Rule("no.such", "fast"), Rule("*", "slow")]), tree())


# Phases


def test_phases_count_with_their_epochs() -> None:
    phased = arm(FAST, GroupSpec("slow", 4, phases=((1, 1), (2, 2))))
    found = forecast(calibration(), config(phased, epochs=5), tree(), Run())
    expected = (1 * mean_s(fast=1, slow=1) + 2 * mean_s(fast=1, slow=2) + 2 * mean_s(fast=1, slow=4)) / 5
    assert found["multirate"].step_s == pytest.approx(expected)


@pytest.mark.parametrize(("epochs", "weights"), [(1, (1, 0)), (2, (1.5, 0.5)), (3, (1.5, 1.5))])
def test_phases_may_end_within_an_epoch_or_after_the_run(epochs: int, weights: tuple[float, float]) -> None:
    phased = arm(FAST, GroupSpec("slow", 8, phases=((1.5, 2),)))
    found = forecast(calibration(), config(phased, epochs=epochs), tree(), Run())
    means = mean_s(fast=1, slow=2), mean_s(fast=1, slow=8)
    expected = sum(weight * mean for weight, mean in zip(weights, means, strict=True)) / sum(weights)
    assert found["multirate"].step_s == pytest.approx(expected)


def test_groups_may_change_at_different_times() -> None:
    rules = (Rule("fc", "fast"), Rule("*bias", "mid"), Rule("*", "slow"))
    groups = (FAST, GroupSpec("mid", 2, phases=((2, 1),)), GroupSpec("slow", 6, phases=((1, 2), (2, 3))))
    phased = arm(*groups, rules=rules)
    assignment = partitioned(phased, tree()).assignment

    def mean(mid: int, slow: int) -> float:
        return predict(calibration(), Partitioned({"fast": 1, "mid": mid, "slow": slow}, assignment)).mean_step_s

    found = forecast(calibration(), config(phased, epochs=4), tree(), Run())
    expected = (mean(1, 2) + mean(1, 3) + mean(2, 3) + mean(2, 6)) / 4
    assert found["multirate"].step_s == pytest.approx(expected)


def test_in_phases_lean_memory_and_batches_that_are_not_whole_count_too() -> None:
    phased = arm(FAST, GroupSpec("slow", 4, phases=((2, 2),)))
    lean = config(phased, epochs=4, execution=Execution(memory="lean"))
    found = forecast(calibration(), lean, tree(), Run(steps=24, filled=0.5))
    part = partitioned(phased, tree())
    full = step_s(calibration(), part, ("fast", "slow"), lean=True, filled=0.5)
    fast = step_s(calibration(), part, ("fast",), lean=True, filled=0.5)
    assert found["multirate"].step_s == pytest.approx(((full + fast) / 2 + (full + 3 * fast) / 4) / 2)


def test_without_a_number_of_epochs_phases_do_not_count() -> None:
    phased = arm(FAST, GroupSpec("slow", 4, phases=((1, 1),)))
    found = forecast(calibration(), config(phased, budget=Budget(seconds=9.0)), tree(), Run())
    assert found["multirate"].step_s == mean_s(fast=1, slow=4)


# The steps of a race


@pytest.mark.parametrize(
    ("samples", "drop_single", "run"),
    [
        (96, False, Run(24, 1.0)),  # 6 whole batches of 16
        (90, False, Run(24, 90 / 96)),  # the sixth has 10
        (90, True, Run(24, 90 / 96)),
        (81, False, Run(24, 81 / 96)),  # the sixth has one
        (81, True, Run(20, 1.0)),  # and is left out
        (10, False, Run(4, 10 / 16)),  # fewer than a batch
        (1, False, Run(4, 1 / 16)),
        (0, False, Run()),  # unknown
        (0, True, Run()),
    ],
)
def test_the_steps_of_a_race_and_how_full_their_batches_are(samples: int, drop_single: bool, run: Run) -> None:
    assert run_of(config(SGD, epochs=4), samples, drop_single) == run


def test_a_budget_of_seconds_has_no_number_of_steps() -> None:
    assert run_of(config(SGD, budget=Budget(seconds=5.0)), 90) == Run(None, 90 / 96)


# The stored form


def test_a_forecast_survives_its_text() -> None:
    found = forecast(calibration(), config(SGD, arm(FAST, SLOW)), tree(), Run())
    assert from_text(to_text(found)) == found
    assert from_text(to_text({})) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "7", "null", "[]", '["sgd"]', '{"sgd": 3}', '{"sgd": null}', '{"sgd": []}', '{"sgd": [1, 1, 0]}'),
        '{"sgd": {"step_s": 1, "ratio": 1}}',
        '{"sgd": {"step_s": 1, "ratio": 1, "uncertainty": 0, "more": 1}}',
        '{"sgd": {"step_s": 1, "ratio": 1, "uncertainty": 0}, "b": {}}',
        "[" * 100_000,
    ],
)
def test_a_text_that_is_no_forecast_is_none(text: str) -> None:
    assert from_text(text) == {}
