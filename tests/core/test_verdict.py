"""The three answers, against curves worked by hand and the published table."""

from __future__ import annotations

import pytest

from multirate_core.events import Evaluated
from multirate_core.verdict import CurvePoint, curve, score_at, seconds_to, sweep, three_answers

EPOCHS = (5, 10, 15, 20, 25, 30, 35, 40, 50)


def published(total_s: float, accuracies: tuple[float, ...]) -> tuple[CurvePoint, ...]:
    """ResNet-50 on CIFAR-100 from the poster: 50 epochs in `total_s` seconds, accuracies in percent."""
    return tuple(CurvePoint(total_s * e / 50, e, a / 100) for e, a in zip(EPOCHS, accuracies, strict=True))


MULTIRATE = published(4954, (73.6, 78.6, 80.6, 81.6, 82.4, 82.7, 83.1, 83.2, 83.4))
SGD = published(9874, (77.2, 81.1, 82.5, 82.9, 83.0, 83.1, 83.1, 83.2, 83.2))


def test_the_published_table_gives_its_three_answers() -> None:
    targets = (0.785, 0.811, 0.825, 0.829, 0.830, 0.831, 0.832)
    answers = three_answers([SGD], [MULTIRATE], targets)
    assert answers.equal_epochs is not None
    assert answers.equal_epochs.speedup == pytest.approx(1.99, abs=0.005)
    low = [row.speedup for row in answers.to_target[:4]]
    high = [row.speedup for row in answers.to_target[4:]]
    assert all(speedup is not None and 1.1 < speedup < 1.35 for speedup in low)
    assert [round(speedup, 2) for speedup in high if speedup is not None] == [1.48, 1.71, 1.99]
    assert answers.equal_seconds is not None
    assert answers.equal_seconds.seconds == 4954
    assert answers.equal_seconds.other == pytest.approx(0.834)
    assert answers.equal_seconds.sgd == pytest.approx(0.830, abs=0.0005)


def test_the_time_to_a_target_is_where_the_line_between_two_tests_crosses_it() -> None:
    points = (CurvePoint(0, 0, 0.1), CurvePoint(10, 1, 0.5), CurvePoint(20, 2, 0.4), CurvePoint(30, 3, 0.8))
    assert seconds_to(points, 0.3) == pytest.approx(5.0)
    assert seconds_to(points, 0.5) == pytest.approx(10.0)
    assert seconds_to(points, 0.6) == pytest.approx(25.0)
    assert seconds_to(points, 0.1) == 0
    assert seconds_to(points, 0.9) is None


def test_a_target_that_the_other_arm_never_reaches_has_no_speedup() -> None:
    sgd = (CurvePoint(0, 0, 0.1), CurvePoint(10, 1, 0.9))
    other = (CurvePoint(0, 0, 0.1), CurvePoint(5, 1, 0.5))
    answers = three_answers([sgd], [other])
    assert [row.target for row in answers.to_target][-1] == 0.9
    assert answers.to_target[-1].speedup is None
    assert answers.to_target[0].speedup == pytest.approx(1.0)  # 0.5: both after 5 s


def test_the_sweep_rises_to_the_best_that_every_seed_reached() -> None:
    first = (CurvePoint(0, 0, 0.1), CurvePoint(1, 1, 0.9), CurvePoint(2, 2, 0.85))
    second = (CurvePoint(0, 0, 0.2), CurvePoint(1, 1, 0.8), CurvePoint(2, 2, 0.8))
    targets = sweep([first, second])
    assert targets[0] == pytest.approx(0.5)
    assert targets[-1] == 0.8
    assert list(targets) == sorted(targets)


def test_a_budget_in_seconds_reads_equal_epochs_from_the_curves() -> None:
    sgd = (CurvePoint(0, 0, 0.1), CurvePoint(4, 1, 0.5), CurvePoint(10, 2.5, 0.8))
    other = (CurvePoint(0, 0, 0.1), CurvePoint(5, 2, 0.4), CurvePoint(10, 4, 0.7))
    answers = three_answers([sgd], [other])
    assert answers.equal_epochs is not None
    assert answers.equal_epochs.epochs == 2.5
    assert answers.equal_epochs.sgd_seconds == 10
    assert answers.equal_epochs.other_seconds == pytest.approx(6.25)
    assert answers.equal_epochs.speedup == pytest.approx(1.6)


def test_numbers_are_means_over_seeds_and_the_ratio_is_that_of_the_means() -> None:
    def line(seconds: float, accuracy: float) -> tuple[CurvePoint, ...]:
        return (CurvePoint(0, 0, 0.0), CurvePoint(seconds, 1, accuracy))

    answers = three_answers([line(10, 0.8), line(14, 0.9)], [line(5, 0.7), line(7, 0.8)])
    assert answers.equal_epochs is not None and answers.equal_seconds is not None
    assert (answers.equal_epochs.sgd_seconds, answers.equal_epochs.other_seconds) == (12, 6)
    assert answers.equal_seconds.seconds == 6
    assert answers.equal_seconds.sgd == pytest.approx((0.4 + 0.45) / 2)
    assert answers.equal_seconds.other == pytest.approx(0.75)
    assert answers.caution == "means over 2 seeds"


def test_one_seed_is_no_verdict_and_no_seed_nothing_at_all() -> None:
    assert three_answers([SGD], [MULTIRATE]).caution == "one run: no verdict"
    empty = three_answers([SGD], [()])
    assert (empty.equal_epochs, empty.to_target, empty.equal_seconds, empty.seeds) == (None, (), None, 0)


def test_an_arm_that_was_only_tested_at_the_start_has_no_speedup() -> None:
    start = (CurvePoint(0, 0, 0.1),)
    answers = three_answers([SGD], [start])
    assert answers.equal_epochs is None
    assert answers.equal_seconds is not None and answers.equal_seconds.seconds == 0


def test_tests_at_the_same_second_do_not_break_the_interpolation() -> None:
    points = (CurvePoint(0, 0, 0.1), CurvePoint(2, 1, 0.5), CurvePoint(2, 1, 0.6), CurvePoint(4, 2, 0.8))
    assert score_at(points, 2) == pytest.approx(0.6)
    assert score_at(points, 3) == pytest.approx(0.7)
    assert score_at(points, 9) == 0.8


def test_a_lanes_tests_become_a_curve() -> None:
    tests = [Evaluated(0, 4, 0.5, 1.5, 0.7, 1.0, "mark"), Evaluated(0, 0, 0.0, 0.0, 0.1, 2.3, "start")]
    assert curve(tests) == (CurvePoint(0.0, 0.0, 0.1), CurvePoint(1.5, 0.5, 0.7))
