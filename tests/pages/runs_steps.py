"""What tests do on the Runs page, and how they read it."""

from __future__ import annotations

from plot_races import config
from sessions import open_app, record
from streamlit.testing.v1 import AppTest

from multirate_core import home
from multirate_core import store as races
from pages.components.state import table_key

MARKUP = "<img src=x onerror=alert(1)>"


def open_runs() -> AppTest:
    return open_app("pages/runs.py")


def listed(session: AppTest) -> list[str]:
    """Ids of the races in the table, from the top."""
    return list(session.dataframe[0].value["Race"]) if session.dataframe else []


def mark(session: AppTest, *race_ids: str) -> AppTest:
    """Tick rows of the table, as a click would."""
    shown = listed(session)
    rows = [shown.index(race_id) for race_id in race_ids]
    session.session_state[table_key(shown)] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return session.run()


def marked(session: AppTest) -> list[str]:
    """Ids of the ticked races, from the top."""
    shown = listed(session)
    return [shown[row] for row in session.session_state[table_key(shown)]["selection"]["rows"]]


def search(session: AppTest, text: str) -> AppTest:
    return session.text_input(key="in:search").set_value(text).run()


def unreadable() -> str:
    """An ended race as a later version might have written it."""
    race_id = record(config())
    with races.open_store(home.store_path()) as store:
        store.connection.execute('UPDATE races SET config = \'{"from": "2030"}\' WHERE id = ?', (race_id,))
    return race_id
