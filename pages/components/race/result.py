"""The result card, and below it what a doubter wants to see: where the wall time went, and on what it ran."""

from __future__ import annotations

import streamlit as st

from multirate_core import home
from multirate_core import store as races
from multirate_core.errors import MultirateError
from multirate_core.metrics import metric_title
from multirate_core.store import LaneRow, RaceRow
from pages.components.plots.live_plot import sweep_plot
from pages.components.race.card import ResultCard, result_cards
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
    with st.expander("Where the time went, and what it ran on"):
        st.dataframe([_clock(lane, row.config.title(lane.arm)) for lane in lanes], hide_index=True)
        facts = [{"What": name, "Value": value} for name, value in row.environment.items() if name != "notes"]
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


def _clock(lane: LaneRow, title: str) -> dict[str, object]:
    shown = {title: round(lane.clock[name], 2) for name, title in CLOCK_TITLES.items() if name in lane.clock}
    return {"arm": title, "seed": lane.seed, "steps": lane.steps, **shown, "outcome": lane.outcome}
