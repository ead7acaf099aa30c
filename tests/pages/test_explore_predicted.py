"""The Explore page after a race: what had been predicted beside what was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cost_cases import keep, made_up
from plot_races import config, partition
from sessions import glyph_tree, is_well, labels, open_app, press, read, record, said, stored
from streamlit.testing.v1 import AppTest

from multirate_core.config import ArmConfig, Execution, RaceConfig
from multirate_core.cost import request as requests
from multirate_core.errors import StoreError
from pages.components.race.predicted import EXPLANATION, measurement_of

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

MARKUP = "<img src=x onerror=alert(1)>"
TITLE = "**Predicted beside measured**"
AGAIN = "Measure again"
NONE = "No prediction: the costs of this network had not been measured when the race began."


def raced(ratio: float, race: RaceConfig | None = None, steps: int = 100) -> str:
    """A race whose plain steps take about 8.2 ms, as was predicted, and those of the other arms half of that."""
    race = race or config()
    found = {
        arm.name: {"step_s": 0.0082 * own, "ratio": own, "uncertainty": 0.02}
        for arm in race.arms
        for own in [1.0 if arm.kind == "sgd" else ratio]
    }
    return record(race, steps, environment={"forecast": json.dumps(found), "threads": "1", "torch": "2"})


def texts(session: AppTest) -> list[str]:
    return [read(each.value) for each in (*session.markdown, *session.caption)]


def figures(session: AppTest) -> list[list[str]]:
    """The table's cells, line by line."""
    return [[read(str(cell)) for cell in line] for line in session.table[0].value.to_numpy()]


def test_a_good_prediction_stands_below_the_three_answers_and_asks_for_nothing() -> None:
    session = open_app(race=raced(0.5))
    assert is_well(session)
    said_there = [each.value for each in session.markdown]
    assert said_there.index(TITLE) > max(place for place, text in enumerate(said_there) if "multirate and sgd" in text)
    assert [line[0] for line in figures(session)] == ["sgd, a step", "multirate, a step", "multirate, of sgd's time"]
    assert figures(session)[2][1].replace("\N{NO-BREAK SPACE}", " ") == "0.50 ± 0.02"
    assert EXPLANATION in texts(session)
    assert AGAIN not in labels(session) and NONE not in texts(session)


def test_the_stored_text_is_no_part_of_what_the_race_ran_on() -> None:
    session = open_app(race=raced(0.5))
    (facts,) = [each.value for each in session.dataframe if "What" in each.value.columns]
    assert list(facts["What"]) == ["threads", "torch"]


def test_a_prediction_that_was_far_off_is_said_and_its_measurement_can_be_thrown_away() -> None:
    race_id = raced(0.25)
    request = measurement_of(stored(race_id))
    assert (request.device, request.threads) == ("cpu", 1)
    keep(request, made_up(glyph_tree()))
    session = open_app(race=race_id)
    assert is_well(session)
    (sentence,) = [text for text in texts(session) if text.startswith("The prediction for multirate was")]
    assert sentence.endswith("too low. The machine may have been busy during one of the two. Measure again to see.")
    press(session, AGAIN)
    assert is_well(session)
    assert requests.kept(request) is None
    assert [each.value for each in session.toast] == [
        "The old measurement is gone. The next prediction for these settings measures anew."
    ]
    press(session, AGAIN)  # once more does no harm
    assert is_well(session) and said(session) == ""


@pytest.mark.parametrize("error", [StoreError(f"the folder is full {MARKUP}"), PermissionError(f"denied {MARKUP}")])
def test_a_measurement_that_cannot_be_thrown_away_is_said_as_text(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(requests, "forget", fail)
    session = press(open_app(race=raced(0.25)), AGAIN)
    assert is_well(session)
    assert str(error) in said(session)
    assert not any("<img" in each.value.replace("\\<img", "") for each in session.warning)


@pytest.mark.parametrize("environment", [{}, {"forecast": "{"}, {"forecast": '{"other": {}}'}])
def test_without_a_usable_prediction_a_caption_says_so(environment: dict[str, str]) -> None:
    session = open_app(race=record(config(), environment=environment))
    assert is_well(session)
    assert NONE in texts(session)
    assert TITLE not in texts(session) and not session.table


def test_a_compiled_race_and_one_that_took_no_step() -> None:
    compiled = open_app(race=record(replace(config(), execution=Execution(compile=True))))
    assert is_well(compiled)
    assert any(text.startswith("No prediction: a compiled network") for text in texts(compiled))


def test_arms_that_took_too_few_steps_are_left_out() -> None:
    session = open_app(race=raced(0.25, steps=4))
    assert is_well(session)
    assert [line[0] for line in figures(session)] == ["sgd, a step"]
    assert AGAIN not in labels(session)


def test_names_with_markup_are_shown_as_text() -> None:
    arms = (ArmConfig("sgd", "sgd"), ArmConfig(MARKUP, "multirate", partition()))
    session = open_app(race=raced(0.25, replace(config(), arms=arms)))
    assert is_well(session)
    assert any(f"The prediction for {MARKUP} was" in text for text in texts(session))
    assert figures(session)[1][0] == f"{MARKUP}, a step"
    shown = [each.value for each in session.markdown] + [str(cell) for cell in session.table[0].value.iloc[:, 0]]
    assert not any("<img" in text.replace("\\<img", "") for text in shown)
