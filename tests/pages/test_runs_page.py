"""The Runs page: every race in a table, searched, opened and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
import streamlit as st
from plot_races import config, recorders
from runs_steps import MARKUP, listed, mark, marked, open_runs, search
from sessions import component, groups, in_group, is_well, labels, press, read, record, said

from multirate_core import home
from multirate_core import store as races
from multirate_core.store.queue import take_turn
from pages.components.plots import curves
from pages.components.state import field_key, table_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

# The table


def test_without_a_race_the_page_says_where_to_start_one() -> None:
    session = open_runs()
    assert is_well(session)
    assert "No race yet" in said(session)
    assert not session.dataframe


def test_every_race_is_listed_newest_first_with_its_results(three: list[str]) -> None:
    session = open_runs()
    assert is_well(session)
    assert listed(session) == three[::-1]
    newest, diverged, oldest = session.dataframe[0].value.to_dict("records")
    assert (newest["Model"], newest["Data"], newest["State"]) == ("resnet18", "folder", "finished")
    assert (diverged["State"], diverged["Arms"]) == ("diverged", "sgd, multirate (1, 9)")
    assert 0.5 < oldest["Plain accuracy"] < 1
    assert 0 < oldest["Time ratio"] < 1


def test_predicted_ratios_and_their_errors_have_columns_once_a_race_has_a_prediction(three: list[str]) -> None:
    shown = list(open_runs().dataframe[0].value.columns)
    assert shown[-1] == "Time ratio"
    ratios = {"sgd": 1.0, "multirate": 0.25}
    found = {arm: {"step_s": 0.008 * ratio, "ratio": ratio, "uncertainty": 0.01} for arm, ratio in ratios.items()}
    record(config(), environment={"forecast": json.dumps(found)})
    record(config(), environment={"forecast": "{"})
    session = open_runs()
    assert is_well(session)
    table = session.dataframe[0].value
    assert list(table.columns) == [*shown, "Predicted ratio", "Error"]
    damaged, newest, *others = table.to_dict("records")
    assert newest["Predicted ratio"] == 0.25
    assert newest["Error"] == pytest.approx(0.25 / newest["Time ratio"] - 1) and newest["Error"] < -0.4
    assert all(line["Error"] != line["Error"] for line in (damaged, *others))  # not a number: empty


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("resnet18", [2]),
        ("DIVERGED", [1]),
        ("digits multirate", [1, 0]),
        ("nothing", []),
        ("%", []),
        ("' OR 1=1 --", []),
    ],
)
def test_the_search_finds_races_by_their_words(text: str, places: Sequence[int], three: list[str]) -> None:
    session = search(open_runs(), text)
    assert is_well(session)
    assert listed(session) == [three[place] for place in places]


def test_a_race_is_found_by_its_id_and_an_overlong_search_does_no_harm(three: list[str]) -> None:
    session = search(open_runs(), three[1])
    assert listed(session) == [three[1]]
    assert is_well(search(session, "x" * 100_000))
    assert listed(search(session, "")) == three[::-1]


def test_a_race_that_runs_is_listed_without_results() -> None:
    with races.open_store(home.store_path()) as store:
        race_id = races.submit(store, config(), attend=True)
        session = open_runs()
        races.finish(store, race_id, "stopped")
    assert is_well(session)
    (row,) = session.dataframe[0].value.to_dict("records")
    assert row["State"] == "queued"
    assert row["Plain accuracy"] is None or row["SGD accuracy"] != row["SGD accuracy"]


# Marked races


def test_a_marked_race_shows_its_curves_and_can_be_opened(three: list[str]) -> None:
    session = mark(open_runs(), three[1])
    assert is_well(session)
    assert component(session, "runs:plots")["figure"] is not None
    assert f"{three[1]}: Diverged." in [read(each.value).strip() for each in session.caption]
    press(session, "Open on the Explore page")
    assert is_well(session)
    assert session.session_state["race"] == three[1]
    assert session.session_state[field_key("lr")] == 0.5


def test_an_opened_race_restores_the_explore_page(three: list[str]) -> None:
    session = press(mark(open_runs(), three[1]), "Open on the Explore page")
    session.switch_page("pages/explore.py").run()
    assert is_well(session)
    assert (groups(session)["slow"], in_group(session, "fast")) == (9, ["fc.weight", "fc.bias"])
    assert session.number_input(key=field_key("lr")).value == 0.5
    assert "diverged" in said(session).lower()


def test_two_marked_races_show_what_differs(three: list[str]) -> None:
    session = mark(open_runs(), three[0], three[1])
    assert is_well(session)
    table = session.dataframe[1].value
    assert list(table.columns) == ["Setting", three[0], three[1]]
    changed = {row["Setting"]: (row[three[0]], row[three[1]]) for row in table.to_dict("records")}
    assert changed == {"arms.multirate.partition.groups.slow.period": ("5", "9"), "recipe.lr": ("0.01", "0.5")}
    summary = component(session, "runs:plots")["summary"]
    assert three[0] in summary and three[1] in summary
    assert "Open on the Explore page" not in labels(session)


def test_two_equal_races_are_said_to_be_equal() -> None:
    pair = [record(config()), record(config())]
    session = mark(open_runs(), *pair)
    assert is_well(session)
    assert "The two configurations are equal." in [each.value for each in session.markdown]


def test_more_races_than_can_be_told_apart_are_not_all_drawn() -> None:
    ids = [record(config(), steps=10) for _ in range(8)]
    session = mark(open_runs(), *ids)
    assert is_well(session)
    assert any("The first 6 are drawn" in each.value for each in session.caption)


def test_marks_stay_with_their_races_when_the_list_changes(three: list[str]) -> None:
    session = mark(open_runs(), three[2])
    assert marked(session) == [three[2]]
    record(config())
    session.run()
    assert is_well(session)
    assert marked(session) == [three[2]]
    search(session, "digits")
    assert marked(session) == []
    assert not [label for label in labels(session) if label.startswith("Delete")]
    search(session, "")
    assert marked(session) == [three[2]]
    mark(session)
    record(config())
    assert marked(session.run()) == []


def test_a_click_that_comes_together_with_a_new_race_is_not_lost(three: list[str]) -> None:
    session = mark(open_runs(), three[2])
    shown = listed(session)
    session.session_state[table_key(shown)] = {"selection": {"rows": [0, 1], "columns": [], "cells": []}}
    record(config())
    session.run()
    assert is_well(session)
    assert marked(session) == shown[:2]
    assert "Delete 2" in labels(session)


def test_the_plots_of_a_running_race_are_drawn_again_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float | None] = []
    fragment = st.fragment

    def spy(func: Callable[..., None], run_every: float | None = None) -> Callable[..., None]:
        if func.__name__ == "_draw":
            timers.append(run_every)
        return fragment(func, run_every=run_every)

    monkeypatch.setattr(st, "fragment", spy)
    monkeypatch.setattr(curves, "FRESH_S", 0.0)
    with races.open_store(home.store_path()) as store:
        race_id = races.submit(store, config(), attend=True)
        assert take_turn(store, race_id)
        lane = recorders(store, race_id)[0]
        lane.take(50)
        session = mark(open_runs(), race_id)
        assert is_well(session)
        assert timers == [2.0]
        before = component(session, "runs:plots")["summary"]
        lane.take(50)
        session.run()
        assert component(session, "runs:plots")["summary"] != before
        races.finish(store, race_id, "stopped")
    assert is_well(session.run())
    assert timers[-1] is None


def test_more_races_than_the_table_shows_are_counted(three: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(each.value.startswith("3 races, newest first.") for each in open_runs().caption)
    find = races.list_races
    monkeypatch.setattr(races, "list_races", lambda store, text, _: find(store, text, 2))
    wanted = "The newest 2 of 3 races; search finds the others."
    assert any(each.value.startswith(wanted) for each in open_runs().caption)


@pytest.mark.parametrize("rows", [[99], [-1], [0, 99]])
def test_marks_on_rows_that_are_not_there_do_no_harm(rows: list[int], three: list[str]) -> None:
    session = open_runs()
    session.session_state[table_key(listed(session))] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    assert is_well(session.run())
    assert ("Delete 1" in labels(session)) == (rows == [0, 99])


def test_names_with_markup_are_shown_as_text(three: list[str]) -> None:
    hostile = record(config(), outcome="failed", message=f"The folder {MARKUP} holds one class.")
    session = mark(open_runs(), hostile)
    assert is_well(session)
    texts = [each.value for each in [*session.caption, *session.markdown]]
    assert any(MARKUP in read(text) for text in texts)
    assert not any("<img" in text.replace("\\<img", "") for text in texts)
