"""The Runs page: deleting races, and the files that it offers."""

from __future__ import annotations

import csv
import io

import pytest
from plot_races import config
from runs_steps import listed, mark, open_runs, unreadable
from sessions import ROOT, is_well, labels, open_app, press, read, said
from streamlit.testing.v1 import AppTest

from multirate_core import home
from multirate_core import store as races
from multirate_core.errors import RaceNotFoundError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def from_page() -> None:
    """Run the page as a script and call one of its functions with the ids in the session state."""
    import runpy

    import streamlit as st

    from multirate_core import home
    from multirate_core import store as races
    from pages.components import state

    state.start()
    names = runpy.run_path(st.session_state["page"])
    call = st.session_state["call"]
    if call == "delete":
        names["delete"](st.session_state["ids"])
    else:
        with races.open_store(home.store_path()) as store:
            st.session_state["text"] = names[call](races.get_race(store, st.session_state["ids"][0]))


def called(function: str, *ids: str) -> AppTest:
    session = AppTest.from_function(from_page, default_timeout=60)
    session.session_state["page"] = str(ROOT / "pages" / "runs.py")
    session.session_state["call"], session.session_state["ids"] = function, list(ids)
    session.run()
    assert is_well(session)
    return session


def test_deleting_takes_races_and_their_curves_away_and_leaves_the_others(three: list[str]) -> None:
    called("delete", three[0], three[1])
    assert listed(open_runs()) == [three[2]]
    with races.open_store(home.store_path()) as store, pytest.raises(RaceNotFoundError):
        races.get_race(store, three[0])
    assert "there is no race" in said(open_app(race=three[0]))


def test_a_race_that_has_not_ended_or_is_gone_is_named_and_the_others_are_deleted(three: list[str]) -> None:
    with races.open_store(home.store_path()) as store:
        waiting = races.submit(store, config(), attend=True)
        session = called("delete", waiting, "gone", three[0])
        races.finish(store, waiting, "stopped")
    problems = session.session_state["problems"]
    assert f"the race {waiting} has not ended" in problems[0]
    assert "there is no race 'gone'" in problems[1]
    assert listed(open_runs()) == [waiting, three[2], three[1]]


def test_the_question_before_deleting_names_the_races(three: list[str]) -> None:
    session = press(mark(open_runs(), three[0]), "Delete 1")
    assert is_well(session)
    assert any(three[0] in read(each.value) and "1 races" not in each.value for each in session.markdown)
    assert {"Delete", "Keep"} <= set(labels(session))
    assert listed(open_runs()) == three[::-1]


def test_a_race_of_another_version_is_named_the_others_are_listed_and_it_can_be_deleted(three: list[str]) -> None:
    foreign = unreadable()
    session = open_runs()
    assert is_well(session)
    assert listed(session) == three[::-1]
    assert f"1 race cannot be read by this version: {foreign} (RaceConfig does not know 'from'" in said(session)
    assert any("3 races, newest first" in each.value for each in session.caption)
    press(session, "Delete what cannot be read")
    assert any(foreign in read(each.value) for each in session.markdown)
    assert {"Delete", "Keep"} <= set(labels(session))
    assert "RaceConfig does not know 'from'" in said(open_app(race=foreign))
    called("delete", foreign)
    assert "cannot be read" not in said(open_runs())


def test_the_curve_of_a_race_is_a_csv_with_a_line_per_evaluation(three: list[str]) -> None:
    text = called("_curves", three[0]).session_state["text"]
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(line["arm"], line["step"]) for line in lines] == [
        *(("sgd", "50"), ("sgd", "100"), ("multirate", "50"), ("multirate", "100"))
    ]
    assert {line["race"] for line in lines} == {three[0]}


def test_the_files_are_offered_for_one_race_and_for_several(three: list[str]) -> None:
    one, several = mark(open_runs(), three[0]), mark(open_runs(), *three)
    assert [each.label for each in one.download_button] == ["Results as CSV", "Curve as CSV", "Plots as HTML"]
    assert [each.label for each in several.download_button] == ["Results as CSV", "Plots as HTML"]
