"""A Streamlit page with one button: what a page costs before it holds anything of ours."""

from __future__ import annotations

import streamlit as st

st.button("Race")
