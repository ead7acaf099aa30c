"""Sums of parts are set right by whole steps: every number by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multirate_core.cost.fit import Correction, WholeStep, correction

FULL, FEW, FAR = WholeStep(22.0, 10.0, 5.0), WholeStep(8.0, 4.0, 0.5), WholeStep(17.0, 10.0, 1.0)


def corrected(found: Correction, step: WholeStep) -> float:
    return found.offset_s + found.passing * step.passing_s + found.weights * step.weights_s


def test_three_whole_steps_set_both_kinds_of_parts_right() -> None:
    found = correction(FULL, FEW, FAR, least_s=3.0)
    assert [corrected(found, step) for step in (FULL, FEW, FAR)] == pytest.approx([22.0, 8.0, 17.0])
    assert (found.weights, found.passing) == pytest.approx((5 / 4, (17 - 8 - 0.5 * 5 / 4) / 6))


@pytest.mark.parametrize("far", [None, FULL, FEW, WholeStep(17.0, 10.0, 4.5), WholeStep(9.0, 4.5, 1.0)])
def test_where_a_third_step_tells_nothing_new_one_factor_comes_from_two(far: WholeStep | None) -> None:
    full = WholeStep(18.0, 10.0, 5.0)
    found = correction(full, FEW, far, least_s=3.0)
    assert found.passing == found.weights == pytest.approx(10 / 10.5)
    assert [corrected(found, step) for step in (full, FEW)] == pytest.approx([18.0, 8.0])


def test_two_steps_that_are_alike_leave_the_parts_as_they_are() -> None:
    found = correction(FULL, WholeStep(5.0, 10.0, 4.9), None, least_s=3.0)
    assert (found.passing, found.weights) == (1.0, 1.0) and corrected(found, FULL) == pytest.approx(22.0)


@pytest.mark.parametrize(
    ("far_s", "weights", "passing"),
    [
        (18.0, 2 / 3, (11 - 4.5 * 2 / 3) / 6),  # hardly anything is left for the weights' gradients
        (12.0, 3 / 2, (11 - 4.5 * 3 / 2) / 6),
        (2.0, 3 / 2, (11 - 4.5 * 3 / 2) / 6),
    ],
)
def test_a_factor_stays_in_bounds_and_both_ends_right(far_s: float, weights: float, passing: float) -> None:
    full = replace(FULL, step_s=19.0)
    found = correction(full, FEW, replace(FAR, step_s=far_s), least_s=3.0)
    assert (found.weights, found.passing) == pytest.approx((weights, passing))
    assert [corrected(found, step) for step in (full, FEW)] == pytest.approx([19.0, 8.0])


def test_where_both_factors_would_be_out_of_bounds_one_does_for_both() -> None:
    found = correction(FULL, FEW, replace(FAR, step_s=21.5), least_s=3.0)
    assert found.passing == found.weights == pytest.approx(14 / 10.5)


def test_where_nothing_would_be_left_for_a_forward_pass_everything_is_scaled() -> None:
    # 20 and 8 of parts, 5 of them forward, were measured while the machine was busy: whole steps took 2 and 1.
    busy = WholeStep(2.0, 15.0, 5.0), WholeStep(1.0, 8.0, 0.0)
    assert correction(*busy, None, least_s=5.0) == Correction(0.0, 0.1, 0.1)
    found = correction(WholeStep(12.0, 15.0, 5.0), WholeStep(4.0, 8.0, 0.0), None, least_s=5.0)
    assert found.passing == pytest.approx(2 / 3) and found.offset_s + found.passing * 5 > 0
