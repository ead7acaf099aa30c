"""What the pages export about races: CSV of results and of curves."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plot_races import config
from race_rows import ended, forecast, lane, parsed, row

from multirate_core.config import DataConfig
from multirate_core.config_json import from_json
from multirate_core.events import Evaluated
from multirate_core.store import LaneRow
from pages.components.race.words import CURVE_COLUMNS, curves_csv, runs_csv

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")')


def test_every_lane_has_the_predicted_ratio_of_its_arm() -> None:
    race = ended(lane(0, "sgd"), lane(1, "multirate"), environment=forecast())
    assert [line["predicted_ratio"] for line in parsed(runs_csv([race, row()]))] == ["1.0", "0.48", ""]


def test_a_race_is_one_line_per_lane_with_its_whole_configuration() -> None:
    one = ended(lane(0, "sgd"), lane(1, "multirate", final_accuracy=None, outcome="diverged"))
    first, second = parsed(runs_csv([one]))
    assert (first["race"], first["arm"], first["final_accuracy"]) == ("abcdefghij", "sgd", "0.9")
    assert (second["final_accuracy"], second["outcome"]) == ("", "diverged")
    assert from_json(first["config"]) == one.config


def test_a_race_that_has_not_ended_is_one_line_without_results() -> None:
    lines = parsed(runs_csv([row(), ended(lane(0, "sgd"))]))
    assert [(line["race_outcome"], line["arm"]) for line in lines] == [("", ""), ("finished", "sgd")]


def test_the_curves_are_one_line_per_evaluation() -> None:
    lanes = [LaneRow(0, 3, "sgd", None, "", 50, 1.0, 4.0, {}), LaneRow(1, 3, "multirate", None, "", 50, 1.0, 2.0, {})]
    tests = [Evaluated(0, 0, 0.0, 0.0, 0.1, 2.3, "start"), Evaluated(1, 50, 1.0, 2.0, 0.7, math.nan, "epoch")]
    first, second = parsed(curves_csv(row(), lanes, tests))
    assert tuple(first) == CURVE_COLUMNS
    assert (first["arm"], first["accuracy"], first["reason"]) == ("sgd", "0.1", "start")
    assert (second["seed"], second["step"], second["loss"]) == ("3", "50", "nan")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula_for_a_spreadsheet(text: str) -> None:
    named = LaneRow(0, 0, text, None, "", 1, 1.0, 1.0, {})
    (line,) = parsed(curves_csv(row(), [named], [Evaluated(0, 1, 1.0, 1.0, 0.5, 0.5, "end")]))
    assert line["arm"] == f"'{text}"
    data = dataclasses.replace(config(), data=DataConfig(text))
    (line,) = parsed(runs_csv([ended(lane(0, text, message=text), config=data)]))
    assert (line["arm"], line["message"], line["data"]) == (f"'{text}",) * 3
    assert json.loads(line["config"])["data"]["name"] == text


def test_negative_numbers_stay_numbers() -> None:
    (line,) = parsed(runs_csv([ended(lane(0, "sgd", final_loss=-1.5))]))
    assert line["final_loss"] == "-1.5"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_name_and_message_can_be_read_back(text: str) -> None:
    arm = LaneRow(0, 0, text, None, "", 1, 1.0, 1.0, {})
    (line,) = parsed(curves_csv(row(), [arm], [Evaluated(0, 1, 1.0, 1.0, 0.5, 0.5, "end")]))
    assert line["arm"] in (text, f"'{text}")
    assert len(line) == len(CURVE_COLUMNS)
    (line,) = parsed(runs_csv([ended(lane(0, "sgd", message=text))]))
    assert line["message"] in (text, f"'{text}")
