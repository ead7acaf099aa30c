"""The result card, and below it what a doubter wants to see: its prediction, where the time went, on what it ran."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from multirate_core import home
from multirate_core import store as races
from multirate_core.cost import request as requests
from multirate_core.cost.beside import KEY, beside, forecast_of
from multirate_core.errors import MultirateError
from multirate_core.metrics import metric_title
from multirate_core.store import LaneRow, RaceRow
from pages.components.plots.live_plot import sweep_plot
from pages.components.race.card import ResultCard, result_cards
from pages.components.race.predicted import EXPLANATION, beside_table, measurement_of, warning, why_none
from pages.components.text import plain

CLOCK_TITLES = {
    "training": "training s",
    "loading": "loading s",
    "evaluation": "evaluation s",
    "recording": "recording s",
    "other_arms": "other arms s",
    "paused": "paused s",
    "compiling": "compiling s",
    "other": "other s",
    "wall": "wall s",
}
TOLD_ELSEWHERE = ("notes", KEY)  # of the environment


def race_result(row: RaceRow) -> None:
    """Draw what an ended race says."""
    try:
        with races.open_store(home.store_path()) as store:
            lanes = races.lanes(store, row.id)
            tests = races.evaluations(store, row.id)
    except MultirateError as error:
        st.warning(plain(error))
        return
    places = {arm.name: place for place, arm in enumerate(row.config.arms)}
    for number, card in enumerate(result_cards(row.config, lanes, tests)):
        _card(card, places[card.arm], f"{row.id}-{number}")
    _prediction(row, lanes)
    with st.expander("Where the time went, and what it ran on"):
        st.dataframe([_clock(lane, row.config.title(lane.arm)) for lane in lanes], hide_index=True)
        facts = [
            {"What": name, "Value": value} for name, value in row.environment.items() if name not in TOLD_ELSEWHERE
        ]
        st.dataframe(facts, hide_index=True)
        for note in row.environment.get("notes", "").splitlines():
            st.caption(plain(note))


def _card(card: ResultCard, place: int, key: str) -> None:
    with st.container(border=True, key=f"result-{key}"):
        st.markdown(f"**{plain(card.title)}** · {plain(card.caution)}")
        st.caption(plain(card.setting))
        for answer, column in zip(card.answers, st.columns(max(1, len(card.answers)), gap="medium"), strict=False):
            with column:
                st.caption(plain(answer.question))
                figures = [f"**{plain(value)}** {plain(what)}" for value, what in answer.figures]
                st.markdown("  \n".join(figures) or "–")
                st.caption(plain(answer.detail))
        for note in card.notes:
            st.warning(plain(note))
        if sum(speedup is not None for _, speedup in card.sweep) > 1:
            with st.expander(f"Speed-up against the target {metric_title(card.metric)}"):
                sweep_plot(card.sweep, place, key=f"sweep-{key}", metric=card.metric)


def _prediction(row: RaceRow, lanes: Sequence[LaneRow]) -> None:
    """Draw what the cost meter had said beside what happened."""
    if not forecast_of(row.environment, row.config):
        if any(lane.steps for lane in lanes):
            st.caption(plain(why_none(row.config)))
        return
    rows = beside(row.environment, row.config, lanes)
    if not rows:
        return
    with st.container(border=True, key=f"predicted-{row.id}"):
        st.markdown("**Predicted beside measured**")
        table = beside_table(row.config, rows)
        st.table([{name: plain(text) for name, text in line.items()} for line in table], hide_index=True)
        st.caption(EXPLANATION)
        if far_off := warning(rows):
            st.markdown(plain(far_off))
            if st.button("Measure again", icon=":material/speed:", key="measure-again"):
                _measure_again(row)


def _measure_again(row: RaceRow) -> None:
    """Throw the measurement of a race's prediction away; the whole page is drawn anew, for its meter may need it."""
    try:
        requests.forget(measurement_of(row))
    except (MultirateError, OSError) as error:
        st.warning(plain(error))
        return
    st.toast("The old measurement is gone. The next prediction for these settings measures anew.")
    st.rerun()


def _clock(lane: LaneRow, title: str) -> dict[str, object]:
    shown = {title: round(lane.clock[name], 2) for name, title in CLOCK_TITLES.items() if name in lane.clock}
    return {"arm": title, "seed": lane.seed, "steps": lane.steps, **shown, "outcome": lane.outcome}
