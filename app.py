"""Multirate Explorer: drag layers into fast or slow groups, race multirate training against SGD, watch it live."""

from __future__ import annotations

import streamlit as st

from pages.components import state
from pages.components.resources import tidy_store

st.set_page_config(page_title="Multirate Explorer", page_icon=":material/speed:", layout="wide")

page = st.navigation(
    [
        st.Page("pages/explore.py", title="Explore", icon=":material/account_tree:", default=True),
        st.Page("pages/runs.py", title="Runs", icon=":material/list:", url_path="runs"),
    ],
    position="top",
)
state.start()
tidy_store()
page.run()
