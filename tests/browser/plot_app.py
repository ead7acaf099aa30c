"""A page around the live plots, for their tests: `?race=` (repeatable) or a field names the races; a tick a second."""

from __future__ import annotations

import time

import streamlit as st

from pages.components.plots.curves import race_curves
from pages.components.plots.live_plot import live_plot

st.set_page_config(page_title="Plots", layout="wide")
typed = st.session_state.get("typed")
ids = [typed] if typed else st.query_params.get_all("race")
axis = st.segmented_control("x axis", ["seconds", "steps", "epochs"], default="seconds", required=True)


@st.fragment(run_every=1.0)
def live() -> None:
    begun = time.perf_counter()
    live_plot([(race if len(ids) > 1 else "", race_curves(race)) for race in ids], axis, key="plots")
    st.session_state.ticks = st.session_state.get("ticks", 0) + 1
    with st.container(key="ticks"):
        st.text(f"tick {st.session_state.ticks}, {(time.perf_counter() - begun) * 1e3:.1f} ms")


live()
st.text_input("Race in their place", key="typed")
