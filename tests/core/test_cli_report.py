"""The result of a race in the shape that scripts rely on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from race_cases import FROZEN, MULTIRATE, SGD, tiny_config

from multirate_core import store
from multirate_core.cli.report import make_report
from multirate_core.cli.result_text import loading_lines, prediction_lines, result_lines
from multirate_core.config import Recipe
from multirate_core.events import EnvironmentFound, Evaluated, LaneEnded, Outcome
from multirate_core.home import store_path
from multirate_core.store import LaneRow, RaceRow


def recorded(
    seeds: int, second_multirate: Outcome = "finished", arms: Any = (SGD, MULTIRATE), forecast: str | None = None
) -> Any:
    """Write a race by hand: SGD needs 10 and 14 s for two epochs, multirate 5 and 7 s; return what the store says."""
    opened = store.open_store(store_path())
    race_id = store.submit(opened, tiny_config(*arms, seeds=tuple(range(seeds))))
    known = {} if forecast is None else {"forecast": forecast}
    events: list[Any] = [EnvironmentFound({"device": "cpu", "threads": "3", **known})]
    for lane, (seed, arm) in enumerate((seed, arm.name) for seed in range(seeds) for arm in arms):
        seconds = (10.0, 14.0)[seed] * (0.5 if arm == "multirate" else 1.0)
        outcome: Outcome = second_multirate if (seed, arm) == (1, "multirate") else "finished"
        for epoch, accuracy in enumerate((0.1, 0.6, 0.9 if arm == "sgd" else 0.8)):
            events.append(Evaluated(lane, 6 * epoch, epoch, seconds * epoch / 2, accuracy, 1.0 - accuracy, "epoch"))
        events.append(LaneEnded(lane, outcome, "", 12, 2.0, seconds))
    store.record(opened, race_id, events)
    store.finish(opened, race_id, "finished")
    return store.get_race(opened, race_id), store.lanes(opened, race_id), store.evaluations(opened, race_id)


def report_of(found: tuple[RaceRow, list[LaneRow], list[Evaluated]]) -> dict[str, Any]:
    report = make_report(*found)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return report


def test_the_report_has_exactly_the_promised_keys() -> None:
    report = report_of(recorded(seeds=1))
    assert list(report) == [
        *("arms", "speedup_equal_epochs", "speedup_to_target", "accuracy_at_equal_seconds"),
        *("metric", "metric_at_equal_seconds", "predicted"),
        *("device", "threads", "outcome", "race", "config"),
    ]
    numbers = ["train_seconds", "epochs", "steps", "final_accuracy", "final_loss"]
    numbers += ["final_balanced_accuracy", "final_macro_f1", "final_mcc", "outcome"]
    for arm in ("sgd", "multirate"):
        assert list(report["arms"][arm]) == [*numbers, "per_seed"]
        assert list(report["arms"][arm]["per_seed"][0]) == ["seed", *numbers]
    assert list(report["accuracy_at_equal_seconds"]) == ["seconds", "sgd", "multirate"]
    assert (report["device"], report["threads"], report["outcome"]) == ("cpu", 3, "finished")
    assert report["config"]["recipe"]["base"] == "sgd" and report["config"]["execution"]["memory"] == "plain"


def predicted(**ratios: float) -> str:
    """A stored prediction: a step of SGD takes a second."""
    return json.dumps({arm: {"step_s": ratio, "ratio": ratio, "uncertainty": 0.02} for arm, ratio in ratios.items()})


def test_what_was_predicted_is_reported_with_the_error_of_its_ratio() -> None:
    report = report_of(recorded(seeds=2, forecast=predicted(sgd=1.0, multirate=0.52)))
    assert list(report["predicted"]) == ["sgd", "multirate"]
    multirate = report["predicted"]["multirate"]
    assert list(multirate) == ["step_s", "ratio", "ratio_uncertainty", "ratio_error"]
    assert list(multirate.values())[:3] == [0.52, 0.52, 0.02]
    assert math.isclose(multirate["ratio_error"], 0.04)
    assert report["predicted"]["sgd"]["ratio_error"] == 0.0


def test_an_arm_that_was_predicted_and_not_measured_has_no_error() -> None:
    race, lanes, tests = recorded(seeds=1, forecast=predicted(sgd=1.0, multirate=0.52))
    short = [replace(lane, steps=2) if lane.arm == "multirate" else lane for lane in lanes]
    report = report_of((race, short, tests))
    assert report["predicted"]["multirate"]["ratio"] == 0.52
    assert report["predicted"]["multirate"]["ratio_error"] is None
    assert list(prediction_lines(race, short)) == []


@pytest.mark.parametrize(
    "forecast",
    [None, "", "{", predicted(sgd=1.0), predicted(sgd=1.0, other=0.5), predicted(sgd=1.0, multirate=math.nan)],
)
def test_without_a_usable_prediction_there_is_none_in_the_report(forecast: str | None) -> None:
    race, lanes, tests = recorded(seeds=1, forecast=forecast)
    assert report_of((race, lanes, tests))["predicted"] is None
    assert list(prediction_lines(race, lanes)) == []


def test_people_read_what_was_predicted_beside_what_was_measured() -> None:
    arms = (SGD, MULTIRATE, FROZEN)
    race, lanes, _ = recorded(seeds=1, arms=arms, forecast=predicted(sgd=1.0, multirate=0.52, frozen=0.7))
    assert list(prediction_lines(race, lanes)) == [
        "multirate: predicted 0.52 of SGD's time, measured 0.50 (4 % too high)",
        "frozen: predicted 0.70 of SGD's time, measured 1.00 (30 % too low)",
    ]
    race, lanes, _ = recorded(seeds=1, forecast=predicted(sgd=1.0, multirate=0.5))
    assert [line.partition("(")[2] for line in prediction_lines(race, lanes)] == ["less than 1 % off)"]
    adamw = replace(race, config=replace(race.config, recipe=Recipe(base="adamw")))
    assert "of AdamW's time" in "".join(prediction_lines(adamw, lanes))


def test_numbers_are_means_over_the_seeds_and_the_answers_follow_from_them() -> None:
    report = report_of(recorded(seeds=2))
    sgd, multirate = report["arms"]["sgd"], report["arms"]["multirate"]
    assert (sgd["train_seconds"], multirate["train_seconds"]) == (12.0, 6.0)
    assert (sgd["epochs"], sgd["steps"], sgd["final_accuracy"]) == (2.0, 12, 0.9)
    assert math.isclose(multirate["final_loss"], 0.2)
    assert [seed["train_seconds"] for seed in sgd["per_seed"]] == [10.0, 14.0]
    assert report["speedup_equal_epochs"] == 2.0
    assert report["speedup_to_target"][-1] == {"target": 0.9, "speedup": None}
    assert report["accuracy_at_equal_seconds"] == {"seconds": 6.0, "sgd": 0.6, "multirate": 0.8}


def test_a_seed_at_which_an_arm_diverged_is_left_out_of_the_answers_and_named() -> None:
    report = report_of(recorded(seeds=2, second_multirate="diverged"))
    assert report["arms"]["multirate"]["outcome"] == "diverged"
    assert report["arms"]["sgd"]["outcome"] == "finished"
    assert report["accuracy_at_equal_seconds"]["seconds"] == 5.0  # of seed 0 alone


def test_without_an_sgd_arm_there_is_nothing_to_compare_with() -> None:
    report = report_of(recorded(seeds=1, arms=(MULTIRATE,)))
    assert report["speedup_equal_epochs"] is None
    assert report["speedup_to_target"] == []
    assert report["accuracy_at_equal_seconds"] is None


def test_a_lane_that_never_began_has_no_part_in_the_means() -> None:
    race, lanes, tests = recorded(seeds=2)
    lanes = [replace(lane, steps=0, epochs=0.0, train_seconds=0.0) if lane.seed else lane for lane in lanes]
    tests = [test for test in tests if lanes[test.lane].seed == 0]
    report = report_of((race, lanes, tests))
    assert report["arms"]["sgd"]["train_seconds"] == 10.0
    assert report["arms"]["sgd"]["per_seed"][1]["final_accuracy"] is None


def test_a_seed_that_was_stopped_when_it_had_hardly_begun_pulls_no_mean_towards_the_start() -> None:
    race, lanes, tests = recorded(seeds=2)
    cut = {"steps": 1, "epochs": 1 / 6, "train_seconds": 0.5, "outcome": "stopped"}
    lanes = [replace(lane, **cut) if lane.seed else lane for lane in lanes]
    tests = [test for test in tests if lanes[test.lane].seed == 0 or test.step == 0]
    report, alone = report_of((race, lanes, tests)), report_of(recorded(seeds=1))
    for answer in ("speedup_equal_epochs", "speedup_to_target", "accuracy_at_equal_seconds"):
        assert report[answer] == alone[answer]
    sgd = report["arms"]["sgd"]
    assert (sgd["final_accuracy"], sgd["train_seconds"], sgd["outcome"]) == (0.9, 10.0, "stopped")
    assert [seed["steps"] for seed in sgd["per_seed"]] == [12, 1]


def test_a_race_that_was_stopped_in_its_only_seed_is_compared_as_far_as_it_came() -> None:
    race, lanes, tests = recorded(seeds=1)
    lanes = [replace(lane, outcome="stopped") for lane in lanes]
    assert report_of((race, lanes, tests))["speedup_equal_epochs"] == 2.0


def test_people_read_the_name_of_the_base_rule() -> None:
    race, lanes, tests = recorded(seeds=1)
    adamw = replace(race, config=replace(race.config, recipe=Recipe(base="adamw")))
    text = "\n".join(result_lines(make_report(adamw, lanes, tests), adamw))
    assert "AdamW took 2.00 times" in text and "\nadamw " in text
    assert "sgd" not in text.lower()


def test_people_read_that_loading_took_long() -> None:
    race, lanes, _ = recorded(seeds=1)
    assert not list(loading_lines(race, lanes))
    lanes = [replace(lane, clock={"training": 3.0, "loading": 1.0 * (lane.arm == "multirate")}) for lane in lanes]
    (line,) = loading_lines(race, lanes)
    assert line.startswith("loading batches took 25% (multirate) of loading and training")


def test_people_read_the_same_result_with_a_word_of_caution() -> None:
    race, lanes, tests = recorded(seeds=1)
    text = "\n".join(result_lines(make_report(race, lanes, tests), race))
    assert "SGD took 2.00 times" in text
    assert "90.0%: never" in text
    assert text.endswith("one run: no verdict")
