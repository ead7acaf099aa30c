"""Every race: search, reopen, overlay, difference of two configurations, CSV, delete."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import streamlit as st

from multirate_core import home
from multirate_core import store as races
from multirate_core.errors import MultirateError
from multirate_core.store import RaceRow
from pages.components import state
from pages.components.plots.curves import RaceCurves, race_curves
from pages.components.plots.lines import Axis
from pages.components.plots.live_plot import live_plot
from pages.components.plots.plot_file import plots_html
from pages.components.race.panel import axis_control
from pages.components.race.words import curves_csv, difference, runs_csv, state_line, table_row
from pages.components.resources import backend
from pages.components.router import require_router
from pages.components.text import plain

MOST_SHOWN = 500
MOST_OVERLAID = 6
MOST_NAMED = 10
POLL_S = 2.0
OPTIONAL = ("Judged by", "Predicted ratio", "Error")  # columns that are shown only if a race has something there
COLUMNS = {
    "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
    "Plain accuracy": st.column_config.NumberColumn(
        format="percent",
        help="Of the arm that trains everything at every step: SGD, or AdamW as the base rule.",
    ),
    "Multirate accuracy": st.column_config.NumberColumn(format="percent"),
    "Time ratio": st.column_config.NumberColumn(
        format="%.2f", help="Multirate's training seconds per step divided by the plain arm's: below 1 is faster."
    ),
    "Predicted ratio": st.column_config.NumberColumn(
        format="%.2f", help="The time ratio that was predicted before the race; empty where nothing had been measured."
    ),
    "Error": st.column_config.NumberColumn(
        format="percent", help="Of the predicted ratio, seed by seed: above 0 multirate was faster than predicted."
    ),
}


def page() -> None:
    """Draw the page."""
    text = st.text_input(
        "Search", key="in:search", placeholder="model, data, arm, outcome or race id", persist_state="session"
    )
    try:
        with races.open_store(home.store_path()) as store:
            wanted = (text or "")[:200]
            rows = races.list_races(store, wanted, MOST_SHOWN)
            unreadable = races.unreadable_races(store)
            total = max(len(rows), races.count_races(store, wanted) - len(unreadable))
        if unreadable:
            _tell_unreadable(unreadable)
        chosen = _table(rows, total)
        if chosen:
            _actions(chosen)
            _compare(chosen)
    except MultirateError as error:
        st.error(plain(error))


def _tell_unreadable(reasons: dict[str, str]) -> None:
    """Name the races that another version of this app wrote; they hold nothing that this one could show."""
    named = [f"{race_id} ({reason})" for race_id, reason in list(reasons.items())[:MOST_NAMED]]
    more = f" and {len(reasons) - MOST_NAMED:,} more" if len(reasons) > MOST_NAMED else ""
    st.warning(plain(f"{_counted(len(reasons))} cannot be read by this version: {', '.join(named)}{more}."))
    if st.button("Delete what cannot be read", icon=":material/delete:"):
        _confirm_delete(list(reasons))


def _table(rows: list[RaceRow], total: int) -> list[RaceRow]:
    _remember_marks(st.session_state.get("listed", []))  # a click that came with the last table, before this one
    ids = [row.id for row in rows]
    st.session_state.listed = ids
    if not rows:
        st.info("No race yet, or none that matches. Start one on the Explore page.", icon=":material/flag:")
        return []
    table = [table_row(row) for row in rows]
    empty = [name for name in OPTIONAL if all(line[name] in (None, "") for line in table)]
    for line in table:
        for name in empty:
            del line[name]
        line["Started"] = datetime.datetime.fromtimestamp(line["Started"])
    key = state.table_key(ids)
    if key not in st.session_state:
        marked = [ids.index(race_id) for race_id in st.session_state.marked if race_id in ids]
        st.session_state[key] = {"selection": {"rows": marked}}
    st.dataframe(
        table,
        column_config=COLUMNS,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=key,
    )
    _remember_marks(ids)
    st.caption(f"{_how_many(len(rows), total)}. Mark one to open it, several to compare them.")
    by_id = {row.id: row for row in rows}
    return [by_id[race_id] for race_id in st.session_state.marked if race_id in by_id]


def _remember_marks(ids: list[str]) -> None:
    """Keep the marks of the table of these races by race id: another table comes whenever a race is added or hidden."""
    marked = st.session_state.setdefault("marked", [])
    key = state.table_key(ids)
    if key in st.session_state:
        rows = st.session_state[key]["selection"]["rows"]
        hidden = [race_id for race_id in marked if race_id not in ids]
        st.session_state.marked = hidden + [ids[row] for row in rows if 0 <= row < len(ids)]


def _how_many(shown: int, total: int) -> str:
    if total > shown:
        return f"The newest {shown:,} of {total:,} races; search finds the others"
    return f"{_counted(shown)}, newest first"


def _counted(number: int) -> str:
    return "1 race" if number == 1 else f"{number:,} races"


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
        # Files are made in a thread that has no session: what they need of it is read here.
        axis = st.session_state[state.field_key("axis")] or "seconds"
        st.download_button(
            "Plots as HTML", lambda: _plots(chosen, axis), "multirate-plots.html", "text/html", on_click="ignore"
        )
        ended = [row.id for row in chosen if row.state == "ended"]
        help_text = None if ended else "Only ended races can be deleted. Open the race and stop it first."
        if st.button(f"Delete {len(chosen)}", icon=":material/delete:", disabled=not ended, help=help_text):
            _confirm_delete(ended, [row.id for row in chosen if row.state != "ended"])


def _plots(chosen: list[RaceRow], axis: Axis) -> str:
    return plots_html(_named_curves(chosen[:MOST_OVERLAID]), axis)


def _named_curves(chosen: list[RaceRow]) -> list[tuple[str, RaceCurves]]:
    return [("" if len(chosen) == 1 else row.id, race_curves(row.id)) for row in chosen]


def _curves(row: RaceRow) -> str:
    with races.open_store(home.store_path()) as store:
        return curves_csv(row, races.lanes(store, row.id), races.evaluations(store, row.id))


@st.dialog("Delete for good?")
def _confirm_delete(ended: list[str], running: Sequence[str] = ()) -> None:
    if running:
        st.warning(f"{', '.join(running)} has not ended and stays. Open it and stop it first.")
    st.markdown(plain(f"{_counted(len(ended))} with all curves: {', '.join(ended[:MOST_NAMED])}"))
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", disabled=not ended):
            delete(ended)
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
    shown = chosen[:MOST_OVERLAID]
    if len(chosen) > len(shown):
        st.caption(f"The first {MOST_OVERLAID} are drawn.")
    running = _running(shown)
    st.fragment(_draw, run_every=POLL_S if running else None)([row.id for row in shown], running)


def _draw(ids: list[str], were_running: list[str]) -> None:
    """Draw the curves; while a race runs, this is called again and again and reads everything anew."""
    try:
        if were_running:
            backend().tend()
        with races.open_store(home.store_path()) as store:
            shown = [races.get_race(store, race_id) for race_id in ids]
        named = _named_curves(shown)
    except MultirateError as error:
        st.warning(plain(error))
        return
    if _running(shown) != were_running:
        st.rerun()  # of the whole page: the table has changed, and the timer may go
    axis = axis_control()
    for row in shown:
        st.caption(plain(f"{row.id}: {state_line(row)} {row.message}"))
    live_plot(named, axis, key="runs:plots")


def _running(rows: list[RaceRow]) -> list[str]:
    return [row.id for row in rows if row.state != "ended"]


require_router()
for problem in st.session_state.problems:
    st.warning(plain(problem))
st.session_state.problems = []
page()
