"""Every race: search, reopen, overlay, difference of two configurations, CSV, delete."""

from __future__ import annotations

import datetime

import streamlit as st

from multirate_core import home
from multirate_core import store as races
from multirate_core.errors import MultirateError
from multirate_core.store import RaceRow
from pages.components import state
from pages.components.plots.curves import RaceCurves, race_curves
from pages.components.plots.live_plot import live_plot
from pages.components.plots.plot_file import plots_html
from pages.components.race.panel import axis_control
from pages.components.race.words import curves_csv, difference, runs_csv, state_line, table_row
from pages.components.router import require_router
from pages.components.text import plain

MOST_SHOWN = 500
MOST_OVERLAID = 6
COLUMNS = {
    "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
    "SGD accuracy": st.column_config.NumberColumn(format="percent"),
    "Multirate accuracy": st.column_config.NumberColumn(format="percent"),
    "Time ratio": st.column_config.NumberColumn(
        format="%.2f", help="Multirate's training seconds per step divided by SGD's: below 1 is faster."
    ),
}


def page() -> None:
    """Draw the page."""
    text = st.text_input(
        "Search", key="in:search", placeholder="model, data, arm, outcome or race id", persist_state="session"
    )
    try:
        with races.open_store(home.store_path()) as store:
            rows = races.list_races(store, (text or "")[:200], MOST_SHOWN)
        chosen = _table(rows)
        if chosen:
            _actions(chosen)
            _compare(chosen)
    except MultirateError as error:
        st.error(plain(error))


def _table(rows: list[RaceRow]) -> list[RaceRow]:
    if not rows:
        st.info("No race yet, or none that matches. Start one on the Explore page.", icon=":material/flag:")
        return []
    table = [table_row(row) for row in rows]
    for line in table:
        line["Started"] = datetime.datetime.fromtimestamp(line["Started"])
    event = st.dataframe(
        table,
        column_config=COLUMNS,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=state.table_key([row.id for row in rows]),
    )
    picked = [index for index in event.selection.rows if 0 <= index < len(rows)]
    st.caption(f"{_counted(rows)}, newest first. Mark one to open it, several to compare them.")
    return [rows[index] for index in picked]


def _counted(rows: list[RaceRow]) -> str:
    return "1 race" if len(rows) == 1 else f"{len(rows)} races"


def _actions(chosen: list[RaceRow]) -> None:
    with st.container(horizontal=True):
        if len(chosen) == 1 and st.button("Open on the Explore page", icon=":material/open_in_new:", type="primary"):
            state.open_race(chosen[0].id, chosen[0].config)
            st.switch_page("pages/explore.py")
        st.download_button(
            "Results as CSV", lambda: runs_csv(chosen), "multirate-races.csv", "text/csv", on_click="ignore"
        )
        if len(chosen) == 1:
            name = f"multirate-{chosen[0].id}.csv"
            st.download_button("Curve as CSV", lambda: _curves(chosen[0]), name, "text/csv", on_click="ignore")
        st.download_button(
            "Plots as HTML", lambda: _plots(chosen), "multirate-plots.html", "text/html", on_click="ignore"
        )
        if st.button(f"Delete {len(chosen)}", icon=":material/delete:"):
            _confirm_delete(chosen)


def _plots(chosen: list[RaceRow]) -> str:
    named = _named_curves(chosen[:MOST_OVERLAID])
    return plots_html(named, st.session_state[state.field_key("axis")] or "seconds")


def _named_curves(chosen: list[RaceRow]) -> list[tuple[str, RaceCurves]]:
    return [("" if len(chosen) == 1 else row.id, race_curves(row.id)) for row in chosen]


def _curves(row: RaceRow) -> str:
    with races.open_store(home.store_path()) as store:
        return curves_csv(row, races.lanes(store, row.id), races.evaluations(store, row.id))


@st.dialog("Delete for good?")
def _confirm_delete(chosen: list[RaceRow]) -> None:
    running = [row for row in chosen if row.state != "ended"]
    ended = [row for row in chosen if row.state == "ended"]
    if running:
        st.warning(f"{', '.join(row.id for row in running)} has not ended and stays. Stop it first.")
    st.markdown(plain(f"{_counted(ended)} with all curves: {', '.join(row.id for row in ended[:10])}"))
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", disabled=not ended):
            delete([row.id for row in ended])
            st.rerun()
        if st.button("Keep"):
            st.rerun()


def delete(ids: list[str]) -> None:
    """Delete ended races; what cannot be deleted is said on the page."""
    for race_id in ids:
        try:
            with races.open_store(home.store_path()) as store:
                races.delete_race(store, race_id)
        except MultirateError as error:
            st.session_state.problems.append(str(error))


def _compare(chosen: list[RaceRow]) -> None:
    if len(chosen) == 2:
        changed = difference(chosen[0].config, chosen[1].config)
        st.markdown("**Difference of the two configurations**" if changed else "The two configurations are equal.")
        if changed:
            columns = ("Setting", chosen[0].id, chosen[1].id)
            st.dataframe([dict(zip(columns, line, strict=True)) for line in changed], hide_index=True)
    axis = axis_control()
    shown = chosen[:MOST_OVERLAID]
    if len(chosen) > len(shown):
        st.caption(f"The first {MOST_OVERLAID} are drawn.")
    for row in shown:
        st.caption(plain(f"{row.id}: {state_line(row)} {row.message}"))
    live_plot(_named_curves(shown), axis, key="runs:plots")


require_router()
for problem in st.session_state.problems:
    st.warning(plain(problem))
st.session_state.problems = []
page()
