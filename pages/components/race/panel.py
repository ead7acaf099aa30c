"""The right half of the Explore page: where the race is, its buttons, live plots, and the result card at the end."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from multirate_core.errors import MultirateError, RaceNotFoundError
from multirate_core.store import RaceRow
from multirate_core.store.queue import Asked
from pages.components import state
from pages.components.plots.curves import race_curves
from pages.components.plots.lines import Axis
from pages.components.plots.live_plot import live_plot
from pages.components.race.result import race_result
from pages.components.race.words import state_line
from pages.components.resources import backend
from pages.components.settings import AXES
from pages.components.text import plain

POLL_S = 1.0
AXIS_TITLES = {"seconds": "Training seconds", "steps": "Steps", "epochs": "Epochs"}
INVITATION = """\
**Nothing has been raced on this page yet.**

Press **Race**: a background worker trains one copy of the network per arm, in slices of equal training time, and the
curves grow here. It goes on when you close the page; the address brings you back.
"""


def race_panel(race_id: str) -> None:
    """Draw the race with this id ("" for none); it draws itself again every second until the race has ended."""
    if not race_id:
        st.info(INVITATION, icon=":material/flag:")
        return
    try:
        row = _row(race_id)
    except MultirateError as error:
        hint = " Or the link is from another machine." * isinstance(error, RaceNotFoundError)
        st.warning(plain(f"{error}{hint}"))
        return
    running = row.state != "ended"
    st.fragment(_race, run_every=POLL_S if running else None)(race_id, running)


def _race(race_id: str, was_running: bool) -> None:
    try:
        if was_running:
            backend().tend()
        row = _row(race_id)
        curves = race_curves(race_id)
    except MultirateError as error:
        st.warning(plain(error))
        return
    if was_running and row.state == "ended":
        st.rerun()  # of the whole page: the next run draws this part without a timer
    _status(row)
    _buttons(row)
    axis = axis_control(on_change=state.publish_axis)
    if row.state == "ended":
        race_result(row)
    live_plot([("", curves)], axis, key="plots")


def axis_control(on_change: Callable[[], None] | None = None) -> Axis:
    """Draw the choice of what the plots count on x; return it."""
    return st.segmented_control(
        "x axis",
        AXES,
        format_func=lambda name: AXIS_TITLES[name],
        key=state.field_key("axis"),
        required=True,
        on_change=on_change,
        persist_state="session",
    )


def _row(race_id: str) -> RaceRow:
    return backend().status(race_id)


def _status(row: RaceRow) -> None:
    line = plain(state_line(row))
    if row.state != "ended":
        st.progress(min(1.0, max(0.0, row.fraction)), text=line)
    elif row.outcome in ("finished", "stopped"):
        st.caption(f"Race {row.id}: {line}")
    else:
        st.error(f"{line} {plain(row.message)} What was recorded before is kept below.")


def _buttons(row: RaceRow) -> None:
    if row.state == "ended":
        return
    with st.container(horizontal=True):
        if row.state in ("paused", "parked") or row.request == "pause":
            st.button("Resume", icon=":material/play_arrow:", on_click=_ask, args=(row.id, "resume"))
        elif row.state in ("starting", "running"):
            st.button("Pause", icon=":material/pause:", on_click=_ask, args=(row.id, "pause"))
        stop = "Leave the queue" if row.state == "queued" else "Stop"
        asked = row.request == "stop"
        label = "Stopping …" if asked else stop
        st.button(
            label,
            icon=":material/stop:",
            disabled=asked,
            on_click=_ask,
            args=(row.id, "stop"),
        )
    asked_of, problem = st.session_state.request_problem
    if problem and asked_of == row.id:
        st.warning(plain(problem))


def _ask(race_id: str, what: Asked) -> None:
    """Request something of a race; why it failed stands below the buttons until the next request."""
    st.session_state.request_problem = ("", "")
    try:
        backend().request(race_id, what)
    except MultirateError as error:
        st.session_state.request_problem = (race_id, str(error))
