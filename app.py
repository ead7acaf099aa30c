"""Multirate Explorer: drag layers into fast or slow groups, race multirate training against SGD, watch it live."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.components import state
from pages.components.resources import listed_models_are_well, tidy_store

COMPONENTS = Path(__file__).parent / "pages" / "components"

# An icon of our own: Streamlit would fetch a named one from the network.
st.set_page_config(page_title="Multirate Explorer", page_icon=str(COMPONENTS / "icon.svg"), layout="wide")
st.html(COMPONENTS / "page.css")
with st.container(key="address"):
    st.html(f"<script>{(COMPONENTS / 'address.js').read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)

page = st.navigation(
    [
        st.Page("pages/explore.py", title="Explore", icon=":material/account_tree:", default=True),
        st.Page("pages/runs.py", title="Runs", icon=":material/list:", url_path="runs"),
    ],
    position="top",
)
if listed_models_are_well():
    state.start()
    tidy_store()
    page.run()
