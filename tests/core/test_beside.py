"""What was predicted beside what was measured: hand-worked numbers, and stored predictions that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from plot_races import config, partition

from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.cost.beside import Beside, beside, forecast_of
from multirate_core.store import LaneRow

FROZEN = ArmConfig("frozen", "frozen", partition(5))


def lane(number: int, arm: str, steps: int, train_seconds: float, seed: int = 0) -> LaneRow:
    return LaneRow(number, seed, arm, "finished", "", steps, 2.0, train_seconds, {})


def arm(step_s: Any = 0.010, ratio: Any = 1.0, uncertainty: Any = 0.0) -> dict[str, Any]:
    return {"step_s": step_s, "ratio": ratio, "uncertainty": uncertainty}


def stored(**arms: Any) -> dict[str, str]:
    """The environment of a race whose arms were predicted so."""
    return {"device": "cpu", "forecast": json.dumps(arms)}


GOOD = stored(sgd=arm(), multirate=arm(0.0048, 0.48, 0.02))


def by_arm(environment: dict[str, str], *lanes: LaneRow, race: RaceConfig | None = None) -> dict[str, Beside]:
    return {row.arm: row for row in beside(environment, race or config(), lanes)}


# What is measured


def test_the_errors_of_one_seed_are_worked_by_hand() -> None:
    rows = by_arm(GOOD, lane(0, "sgd", 100, 0.8), lane(1, "multirate", 100, 0.48))
    assert list(rows) == ["sgd", "multirate"]
    sgd, multirate = rows["sgd"], rows["multirate"]
    assert (sgd.predicted.step_s, sgd.measured_s) == (0.010, pytest.approx(0.008))
    assert sgd.seconds_error == pytest.approx(0.25)
    assert (sgd.measured_ratio, sgd.ratio_error) == (1.0, 0.0)
    assert multirate.measured_s == pytest.approx(0.0048)
    assert multirate.seconds_error == pytest.approx(0.0)
    assert multirate.measured_ratio == pytest.approx(0.6)
    assert multirate.ratio_error == pytest.approx(-0.2)


def test_seconds_are_over_all_steps_and_ratios_are_paired_seed_by_seed() -> None:
    rows = by_arm(
        GOOD,
        lane(0, "sgd", 100, 1.0),  # 10 ms
        lane(1, "multirate", 100, 0.5),  # 5 ms, half
        lane(2, "sgd", 100, 2.0, seed=1),  # 20 ms: the machine was busy
        lane(3, "multirate", 300, 2.1, seed=1),  # 7 ms, 0.35
        race=config(seeds=(0, 1)),
    )
    assert rows["sgd"].measured_s == pytest.approx(3.0 / 200)
    assert rows["multirate"].measured_s == pytest.approx(2.6 / 400)
    assert rows["multirate"].measured_ratio == pytest.approx((0.5 + 0.35) / 2)
    assert rows["multirate"].ratio_error == pytest.approx(0.48 / 0.425 - 1)


def test_a_seed_at_which_one_of_the_two_took_no_step_has_no_part_in_the_ratio() -> None:
    rows = by_arm(
        GOOD,
        lane(0, "sgd", 100, 1.0),
        lane(1, "multirate", 100, 0.5),
        lane(2, "sgd", 0, 0.0, seed=1),
        lane(3, "multirate", 100, 9.0, seed=1),
    )
    assert rows["multirate"].measured_ratio == pytest.approx(0.5)
    assert rows["multirate"].measured_s == pytest.approx(9.5 / 200)


def test_without_a_measured_plain_arm_there_are_seconds_and_no_ratio() -> None:
    rows = by_arm(GOOD, lane(0, "sgd", 0, 0.0), lane(1, "multirate", 100, 0.4))
    assert list(rows) == ["multirate"]
    assert rows["multirate"].seconds_error == pytest.approx(0.2)
    assert (rows["multirate"].measured_ratio, rows["multirate"].ratio_error) == (None, None)
    alone = replace(config(), arms=config().arms[1:])
    (row,) = beside(stored(multirate=arm(0.0048, 0.48)), alone, [lane(0, "multirate", 100, 0.4)])
    assert row.ratio_error is None


def test_the_plain_arm_is_known_by_its_kind_and_not_by_its_name() -> None:
    race = replace(config(), arms=(ArmConfig("plain", "sgd"), config().arms[1]))
    environment = stored(plain=arm(), multirate=arm(0.005, 0.5))
    rows = by_arm(environment, lane(0, "plain", 10, 0.1), lane(1, "multirate", 10, 0.05), race=race)
    assert rows["multirate"].ratio_error == pytest.approx(0.0)


@pytest.mark.parametrize(("steps", "judged"), [(0, False), (1, False), (4, False), (5, True)])
def test_an_arm_that_never_came_round_its_cycle_is_left_out(steps: int, judged: bool) -> None:
    rows = by_arm(GOOD, lane(0, "sgd", 100, 1.0), lane(1, "multirate", steps, 0.05 * steps))
    assert ("multirate" in rows) == judged
    assert "sgd" in rows


def test_a_frozen_arm_has_no_cycle_to_come_round() -> None:
    race = replace(config(), arms=(*config().arms, FROZEN))
    environment = stored(sgd=arm(), multirate=arm(0.005, 0.5), frozen=arm(0.004, 0.4))
    rows = by_arm(environment, lane(0, "sgd", 2, 0.02), lane(2, "frozen", 2, 0.01), race=race)
    assert rows["frozen"].ratio_error == pytest.approx(-0.2)


def test_a_race_that_took_no_step_or_no_time_has_no_rows() -> None:
    assert by_arm(GOOD) == {}
    assert by_arm(GOOD, lane(0, "sgd", 0, 0.0), lane(1, "multirate", 0, 0.0)) == {}
    assert by_arm(GOOD, lane(0, "sgd", 100, 0.0), lane(1, "multirate", 100, 0.0)) == {}
    rows = by_arm(GOOD, lane(0, "sgd", 100, 0.0), lane(1, "multirate", 100, 0.4))
    assert rows["multirate"].ratio_error is None  # and nothing was divided by 0


# What is no prediction


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"text"', '{"sgd": 3}', '{"sgd": {}}', "{}", '{"sgd": {"step_s": 1}}', "\0", "{" * 9],
)
def test_a_missing_or_damaged_text_is_no_prediction(text: str) -> None:
    environment = {"forecast": text}
    assert forecast_of(environment, config()) == {}
    assert beside(environment, config(), [lane(0, "sgd", 100, 1.0), lane(1, "multirate", 100, 0.5)]) == ()
    assert forecast_of({}, config()) == {}


@pytest.mark.parametrize("arms", [{"sgd": arm()}, {"sgd": arm(), "other": arm()}, {"multirate": arm(0.005, 0.5)}])
def test_a_prediction_for_other_arms_is_none(arms: dict[str, Any]) -> None:
    assert forecast_of(stored(**arms), config()) == {}
    assert forecast_of(stored(sgd=arm(), multirate=arm(), third=arm()), config()) == {}


IMPOSSIBLE = (float("nan"), float("inf"), -0.5, 1e9, 10**400, "0.5", None, True, [0.5])


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=[f"{value!r:.8}" for value in IMPOSSIBLE])
@pytest.mark.parametrize("field", ["step_s", "ratio", "uncertainty"])
def test_a_number_that_no_step_can_have_is_no_prediction(field: str, value: Any) -> None:
    damaged = {**arm(0.005, 0.5, 0.02), field: value}
    assert forecast_of(stored(sgd=arm(), multirate=damaged), config()) == {}


@pytest.mark.parametrize("field", ["step_s", "ratio"])
def test_a_step_takes_time(field: str) -> None:
    assert forecast_of(stored(sgd=arm(), multirate={**arm(), field: 0.0}), config()) == {}
    assert forecast_of(stored(sgd=arm(), multirate={**arm(), "uncertainty": 0}), config()) != {}


def test_arms_come_in_the_order_of_the_race() -> None:
    environment = stored(multirate=arm(0.005, 0.5), sgd=arm())
    assert list(forecast_of(environment, config())) == ["sgd", "multirate"]
