"""What the result says about a prediction, in words and figures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from plot_races import config, partition

from multirate_core.config import ArmConfig, Execution, RaceConfig, Recipe
from multirate_core.cost import request as requests
from multirate_core.cost.beside import Beside
from multirate_core.cost.forecast import ArmForecast
from multirate_core.data.catalog import data_shape
from multirate_core.errors import ConfigError, MultirateError
from multirate_core.models.catalog import model_info
from multirate_core.store import RaceRow
from pages.components.race.predicted import beside_table, measurement_of, warning, why_none

SGD = Beside("sgd", ArmForecast(0.0085, 1.0, 0.0), 0.00825, 1.0)
MULTIRATE = Beside("multirate", ArmForecast(0.0035, 0.43, 0.001), 0.0041, 0.5)
BUSY = "The machine may have been busy during one of the two. Measure again to see."


def words(line: dict[str, str]) -> tuple[str, ...]:
    return tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in line.values())


def row(race: RaceConfig, **changes: Any) -> RaceRow:
    values: dict[str, Any] = dict.fromkeys(RaceRow.__dataclass_fields__)
    return RaceRow(**{**values, "config": race, "device": "cpu", "environment": {"threads": "3"}, **changes})


def test_the_table_has_a_step_of_every_arm_and_the_ratio_of_those_beside_the_plain_one() -> None:
    assert [words(line) for line in beside_table(config(), [SGD, MULTIRATE])] == [
        ("sgd, a step", "8.5 ms", "8.25 ms", "+3.0 %"),
        ("multirate, a step", "3.5 ms", "4.1 ms", "-14.6 %"),
        ("multirate, of sgd's time", "0.43 ± 0.01", "0.50", "-14.0 %"),
    ]
    assert list(beside_table(config(), [SGD])[0]) == ["What", "Predicted", "Measured", "Error"]


def test_with_the_base_adamw_no_word_says_sgd() -> None:
    race = replace(config(), recipe=Recipe(base="adamw"))
    assert "sgd" not in repr(beside_table(race, [SGD, MULTIRATE]))
    assert "multirate, of adamw's time" in repr(beside_table(race, [SGD, MULTIRATE]))


def test_a_ratio_that_was_not_measured_has_no_line() -> None:
    (line,) = beside_table(config(), [replace(MULTIRATE, measured_ratio=None)])
    assert words(line)[0] == "multirate, a step"
    assert warning([replace(MULTIRATE, measured_ratio=None)]) == ""


def test_a_prediction_that_was_far_off_is_said_in_a_sentence() -> None:
    assert warning([SGD, MULTIRATE]).replace("\N{NO-BREAK SPACE}", " ") == (
        f"The prediction for multirate was 14 % too low. {BUSY}"
    )
    frozen = replace(MULTIRATE, arm="frozen", measured_ratio=0.344)
    assert warning([SGD, MULTIRATE, frozen]).replace("\N{NO-BREAK SPACE}", " ") == (
        f"The prediction for multirate was 14 % too low, the one for frozen was 25 % too high. {BUSY}"
    )


@pytest.mark.parametrize(("measured", "said"), [(0.43, False), (0.40, False), (0.47, False), (0.38, True)])
def test_a_small_error_is_not_worth_a_word(measured: float, said: bool) -> None:
    assert bool(warning([SGD, replace(MULTIRATE, measured_ratio=measured)])) == said


def test_seconds_that_are_far_off_with_a_good_ratio_are_not_worth_a_word() -> None:
    assert warning([replace(SGD, measured_s=0.02), replace(MULTIRATE, measured_ratio=0.43)]) == ""


def test_why_there_is_no_prediction() -> None:
    assert why_none(config()) == "No prediction: the costs of this network had not been measured when the race began."
    assert "compiled" in why_none(replace(config(), execution=Execution(compile=True)))


def test_the_measurement_is_that_of_the_device_and_the_threads_that_the_race_had() -> None:
    shape = data_shape(config().data, model_info(config().model.name))
    ran = replace(config(), device="cuda:1", threads=3)
    wanted = requests.request_of(ran, shape, "cuda:1")
    assert measurement_of(row(config(), device="cuda:1")) == wanted
    assert requests.key(measurement_of(row(config(), device="cuda:1"))) == requests.key(wanted)
    others = [row(replace(config(), threads=3), environment=found) for found in ({}, {"threads": "many"})]
    assert all(measurement_of(each).threads == 3 for each in others)


def test_a_measurement_that_no_longer_can_be_named_is_an_error_of_the_user() -> None:
    gone = replace(config(), data=replace(config().data, name="folder", path="/nowhere"))
    with pytest.raises(MultirateError):
        measurement_of(row(gone))
    with pytest.raises(ConfigError, match="compiled"):
        measurement_of(row(replace(config(), execution=Execution(compile=True))))


def test_names_are_kept_as_they_are() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    race = replace(config(), arms=(config().arms[0], ArmConfig(hostile, "multirate", partition())))
    line = beside_table(race, [SGD, replace(MULTIRATE, arm=hostile)])[1]
    assert line["What"] == f"{hostile}, a step"
    assert json.dumps(line)
