"""Predictions from known costs: every number by hand, shares of steps by counting."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from multirate_core.cost.calibration import Calibration, Peaks, UpdateCost, Updates
from multirate_core.cost.fit import scaled
from multirate_core.cost.operations import BackwardCosts, OperationCost, UnitCost
from multirate_core.cost.predict import (
    STEPS_TO_COUNT,
    Partitioned,
    Run,
    due_shares,
    pass_s,
    predict,
    speed_up_curve,
    step_s,
)

# Three layers in a row; the second one has two parameters. Powers of two, so that sums are exact.
CHAIN = (
    OperationCost("a", (), 0.0, 0.5, (UnitCost(0, 99.0, 3.0),)),  # nothing to pass on to: alone, never beside
    OperationCost("b", (0,), 2.0, 0.25, (UnitCost(1, 1.0, 2.0), UnitCost(2, 0.5, 1.0))),
    OperationCost("c", (1,), 3.0, 0.125, (UnitCost(3, 1.5, 4.0),)),
)
# A skip from the first layer around the second one; the third adds the two up and has no parameters.
SKIP = (
    OperationCost("a", (), 0.0, 0.0, (UnitCost(0, 0.0, 1.0),)),
    OperationCost("b", (0,), 2.0, 0.0, (UnitCost(1, 4.0, 8.0),)),
    OperationCost("", (0, 1), 16.0, 0.0, ()),
    OperationCost("head", (2,), 32.0, 0.0, (UnitCost(2, 64.0, 128.0),)),
)
NAMES = ("a.weight", "b.weight", "b.bias", "c.weight")
NUMBERS = (10, 20, 30, 40)
FREE = UpdateCost(0.0, 0.0)
UPDATES = Updates(plain=UpdateCost(1.0, 0.5), fresh=UpdateCost(2.0, 0.25), drift=UpdateCost(0.5, 0.125))


def known(**changes: Any) -> Calibration:
    """A calibration of the chain: 10 s without gradients, twice the operations' seconds, updates as above."""
    base = Calibration(
        facts={},
        parameters=NAMES,
        numbers=NUMBERS,
        operations=scaled(CHAIN, 2.0, 2.0),
        modules={},
        base_s=10.0,
        updates=UPDATES,
        sgd_step_s=100.0,
        recompute_s=8.0,
        transfer_s=0.0,
        spread=0.02,
        peaks=Peaks(1000, 1100, 600),
        took_s=1.0,
        rounds=5,
    )
    return replace(base, **changes)


def split(*groups: str, **periods: int) -> Partitioned:
    """Parameters in order -> groups; periods by group."""
    return Partitioned(periods, dict(zip(NAMES, groups, strict=True)))


HEAD_FAST = split("slow", "slow", "slow", "fast", fast=1, slow=5)


# Operations


@pytest.mark.parametrize(
    ("due", "seconds"),
    [
        (set(), 0.0),
        ({3}, 0.125 + 4.0),
        ({1}, (0.25 + 2.0) + (0.125 + 3.0)),
        ({1, 2}, (0.25 + 2.0 + 1.0) + (0.125 + 3.0)),
        ({2, 3}, (0.25 + 1.0) + (0.125 + 3.0 + 1.5)),
        ({0}, (0.5 + 3.0) + (0.25 + 2.0) + (0.125 + 3.0)),
        ({0, 3}, (0.5 + 3.0) + (0.25 + 2.0) + (0.125 + 3.0 + 1.5)),
        ({0, 1, 2, 3}, (0.5 + 3.0) + (0.25 + 2.0 + 1.0 + 0.5) + (0.125 + 3.0 + 1.5)),
    ],
)
def test_in_a_chain_everything_behind_the_earliest_due_parameter_runs(due: set[int], seconds: float) -> None:
    assert BackwardCosts(CHAIN).seconds(due) == seconds


@pytest.mark.parametrize(
    ("due", "seconds"), [({2}, 128.0), ({1}, 8.0 + 16 + 32), ({0}, 1.0 + 2 + 16 + 32), ({0, 2}, 1.0 + 2 + 16 + 32 + 64)]
)
def test_beside_a_skip_the_skipped_layer_runs_only_for_what_lies_before_it(due: set[int], seconds: float) -> None:
    assert BackwardCosts(SKIP).seconds(due) == seconds


def test_a_pass_is_its_base_and_the_operations_that_run() -> None:
    assert pass_s(known(), ()) == 10.0
    assert pass_s(known(), ["c.weight"]) == 10.0 + 2 * 4.125
    assert pass_s(known(), ["c.weight", "no.such"]) == 10.0 + 2 * 4.125


# Steps


def test_a_step_is_a_pass_and_the_updates_of_what_is_due_and_of_what_drifts() -> None:
    fast = 10 + 2 * 4.125 + (2 * 1 + 0.25 * 40) + (0.5 * 3 + 0.125 * 60)
    full = 10 + 2 * ((0.5 + 3.0) + (0.25 + 2.0 + 1.0 + 0.5) + (0.125 + 3.0 + 1.5)) + (2 * 4 + 0.25 * 100)
    found = predict(known(), HEAD_FAST)
    assert (found.fast_step_s, found.full_step_s) == (fast, full)
    assert found.mean_step_s == pytest.approx((full + 4 * fast) / 5)
    assert found.sgd_step_s == 100.0  # as it was measured
    assert found.ratio == pytest.approx((full + 4 * fast) / 500)
    assert found.ratio_limit == fast / 100
    assert found.uncertainty == pytest.approx(0.02 * found.ratio)


def test_a_frozen_step_has_torchs_own_update_of_the_fast_part_and_nothing_drifts() -> None:
    assert predict(known(), HEAD_FAST).frozen_step_s == 10 + 2 * 4.125 + (1 * 1 + 0.5 * 40)


def test_with_a_period_of_1_every_step_is_full() -> None:
    found = predict(known(), split("slow", "slow", "slow", "fast", fast=1, slow=1))
    assert found.fast_step_s == found.full_step_s == found.mean_step_s
    assert found.ratio_limit == found.ratio


def test_without_costs_of_updates_the_ratio_is_the_papers_formula() -> None:
    full, fast = 10 + 2 * BackwardCosts(CHAIN).seconds(range(4)), 10 + 2 * 4.125
    free = known(updates=Updates(FREE, FREE, FREE), sgd_step_s=full)
    rho = fast / full
    for k in (2, 3, 5, 10, 1000):
        found = predict(free, split("slow", "slow", "slow", "fast", fast=1, slow=k))
        assert found.ratio == pytest.approx(1 / k + (1 - 1 / k) * rho)
        assert found.ratio_limit == pytest.approx(rho)


def test_groups_with_periods_of_their_own_are_weighed_by_their_steps() -> None:
    three = split("late", "mid", "mid", "fast", fast=1, mid=2, late=4)
    seconds = {
        due: step_s(known(), three, due) for due in (("fast",), ("fast", "mid"), ("fast", "mid", "late"))
    }  # of 4 steps two are fast, one has mid, one has all
    mean = (2 * seconds[("fast",)] + seconds[("fast", "mid")] + seconds[("fast", "mid", "late")]) / 4
    assert predict(known(), three).mean_step_s == pytest.approx(mean)


def test_lean_memory_computes_again_only_where_a_slow_group_is_due() -> None:
    plain, lean = predict(known(), HEAD_FAST), predict(known(), HEAD_FAST, lean=True)
    assert lean.fast_step_s == plain.fast_step_s and lean.ratio_limit == plain.ratio_limit
    assert lean.full_step_s == plain.full_step_s + 8
    assert lean.mean_step_s == pytest.approx(plain.mean_step_s + 8 / 5)
    assert lean.frozen_step_s == plain.frozen_step_s
    three = split("late", "mid", "mid", "fast", fast=1, mid=2, late=4)
    some = ("fast", "mid")
    assert step_s(known(), three, some, lean=True) == step_s(known(), three, some) + 8
    everything = split("fast", "fast", "fast", "fast", fast=1)
    # Where nothing is slow, lean takes every step for a full one.
    assert predict(known(), everything, lean=True).full_step_s == predict(known(), everything).full_step_s + 8.0


def test_batches_that_are_not_whole_have_shorter_passes_and_the_same_updates() -> None:
    whole, part = predict(known(), HEAD_FAST), predict(known(), HEAD_FAST, lean=True, run=Run(filled=0.75))
    fast_update, full_update, plain_update = 2 * 1 + 10 + 1.5 + 7.5, 2 * 4 + 25, 4 + 50
    assert part.fast_step_s == pytest.approx(0.75 * (whole.fast_step_s - fast_update) + fast_update)
    assert part.full_step_s == pytest.approx(0.75 * (whole.full_step_s + 8 - full_update) + full_update)
    assert part.sgd_step_s == 0.75 * (100 - plain_update) + plain_update
    assert part.frozen_step_s == 0.75 * (10 + 2 * 4.125) + 21


def test_a_short_run_has_more_full_steps_than_one_without_end() -> None:
    endless = predict(known(), HEAD_FAST)
    short = predict(known(), HEAD_FAST, run=Run(steps=6))  # steps 0 and 5 are full
    assert short.mean_step_s == pytest.approx((2 * endless.full_step_s + 4 * endless.fast_step_s) / 6)
    assert predict(known(), HEAD_FAST, run=Run(steps=1)).mean_step_s == endless.full_step_s


# Memory and gradients between GPUs


def test_gradients_are_exchanged_where_they_are_due() -> None:
    found = predict(known(), HEAD_FAST)
    assert (found.sgd_allreduce_bytes, found.multirate_allreduce_bytes) == (4 * 100, 4 * (40 + 60 / 5))
    three = split("late", "mid", "mid", "fast", fast=1, mid=2, late=4)
    assert predict(known(), three).multirate_allreduce_bytes == 4 * (40 + 50 / 2 + 10 / 4)


def test_the_peaks_are_those_that_were_counted() -> None:
    found = predict(known(), HEAD_FAST)
    assert (found.sgd_peak_bytes, found.multirate_peak_bytes, found.lean_peak_bytes) == (1000, 1100, 600)


@pytest.mark.parametrize("peaks", [None, Peaks(1000, 1100, None)])
def test_peaks_that_are_not_known_are_not_told(peaks: Peaks | None) -> None:
    found = predict(known(peaks=peaks), HEAD_FAST)
    assert found.lean_peak_bytes is None
    assert (found.multirate_peak_bytes is None) == (found.sgd_peak_bytes is None) == (peaks is None)


def test_without_drift_slow_groups_cost_nothing_between_their_gradients() -> None:
    calibration = known()
    resting = replace(HEAD_FAST, drift=False)
    slow = HEAD_FAST.due({"slow"})
    numbers = dict(zip(calibration.parameters, calibration.numbers, strict=True))
    moved = calibration.updates.drift.seconds(len(slow), sum(numbers[name] for name in slow))
    drifting, still = predict(calibration, HEAD_FAST), predict(calibration, resting)
    assert moved > 0 and still.fast_step_s == pytest.approx(drifting.fast_step_s - moved)
    assert still.full_step_s == drifting.full_step_s


# Shares of steps


def counted(periods: dict[str, int], steps: Sequence[int]) -> dict[frozenset[str], float]:
    due = Counter(frozenset(name for name, period in periods.items() if step % period == 0) for step in steps)
    return {names: count / len(steps) for names, count in due.items()}


@pytest.mark.parametrize(
    "lengths",
    [
        *([1], [1, 5], [1, 1, 4], [1, 2, 4], [1, 2, 4, 8], [1, 3, 3, 7], [1, 2, 3, 5], [1, 4, 6, 9], [1, 6, 10, 15]),
        *([2, 3], [4, 6, 10], [1, 7, 7, 7], [1, 2, 3, 4, 5, 6], [1, 1_000]),
    ],
)
def test_shares_are_those_of_counting_over_a_whole_cycle(lengths: list[int]) -> None:
    periods = {f"g{place}": length for place, length in enumerate(lengths)}
    shares = due_shares(periods)
    assert shares == pytest.approx(counted(periods, range(math.lcm(*lengths))))
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_of_periods_whose_cycle_nobody_could_count_are_exact() -> None:
    shares = due_shares({"fast": 1, "a": 999_983, "b": 1_000_000})
    assert shares[frozenset({"fast", "a"})] == pytest.approx(1 / 999_983 * (1 - 1e-6))
    assert shares[frozenset({"fast"})] == pytest.approx(1 - 1 / 999_983 - 1e-6 + 1e-6 / 999_983)


def test_more_periods_than_can_be_combined_are_counted() -> None:
    periods = {f"g{length}": length for length in (1, 2, 3, 4, 5, 6, 7)}
    shares = due_shares(periods)
    assert shares == counted(periods, range(1, STEPS_TO_COUNT + 1))
    exact = counted(periods, range(math.lcm(*range(1, 8))))
    assert sum(abs(shares.get(due, 0.0) - exact.get(due, 0.0)) for due in shares.keys() | exact.keys()) < 0.01


def test_many_groups_with_few_periods_are_not_counted() -> None:
    periods = {f"g{place}": (1, 999_983)[place % 2] for place in range(36)}
    assert len(due_shares(periods)) == 2


@pytest.mark.parametrize("steps", [1, 2, 9, 100, STEPS_TO_COUNT])
def test_a_run_begins_with_a_step_in_which_everything_is_due(steps: int) -> None:
    periods = {"fast": 1, "mid": 3, "late": 7}
    assert due_shares(periods, steps) == counted(periods, range(steps))


def test_a_long_run_is_like_one_without_end() -> None:
    periods = {"fast": 1, "mid": 3, "late": 7}
    assert due_shares(periods, STEPS_TO_COUNT + 1) == due_shares(periods)


# The curve over k


@pytest.mark.parametrize("lean", [False, True])
def test_the_curve_over_k_is_the_prediction_at_every_k(lean: bool) -> None:
    ks = [1, 2, 3, 5, 17, 1000]
    partition = split("late", "mid", "mid", "fast", fast=1, mid=2, late=4)
    curve = dict(speed_up_curve(known(), partition, ks, lean))
    assert list(curve) == ks
    for k in ks:
        same = replace(partition, periods={"fast": 1, "mid": k, "late": k})
        expected = predict(known(), same, lean)
        # At k = 1 no group is slow, so that lean memory would have nothing to compute again.
        ratio = expected.ratio if k > 1 else step_s(known(), partition, partition.periods, lean) / 100
        assert curve[k] == pytest.approx(1 / ratio)


# Large networks


class Walked(tuple[OperationCost, ...]):
    """Operations that count how often somebody walks through them."""

    walks = 0

    def __iter__(self) -> Iterator[OperationCost]:
        Walked.walks += 1
        return super().__iter__()


def test_only_the_first_prediction_walks_through_a_large_network() -> None:
    count = 1000
    source = random.Random(1)
    operations = Walked(
        OperationCost(f"m{place}", (place - 1,) if place else (), 1.0, 0.0, (UnitCost(place, 0.5, 0.75),))
        for place in range(count)
    )
    names = tuple(f"m{place}.weight" for place in range(count))
    large = known(parameters=names, numbers=(1,) * count, operations=operations)
    groups = {name: source.choice(("slow", "late")) for name in names} | {names[-1]: "fast"}
    found = predict(large, Partitioned({"fast": 1, "slow": 4, "late": 6}, groups))
    assert found.fast_step_s < found.mean_step_s < found.full_step_s
    Walked.walks = 0
    again = predict(large, Partitioned({"fast": 1, "slow": 2, "late": 3}, groups))
    assert again.fast_step_s == found.fast_step_s and Walked.walks == 0
