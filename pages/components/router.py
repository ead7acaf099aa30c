"""The way back to app.py for a page that Streamlit runs by itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import streamlit as st

from pages.components import state

APP = Path(__file__).parents[2] / "app.py"


def require_router() -> None:
    """Run app.py in the place of a page that was run alone, and end the run there.

    A fresh server knows no pages until app.py has named them. If its first visitor asks for a page, or a tab that an
    earlier server had opened does, Streamlit looks into `pages/` and runs the file without the session, the style and
    the navigation that app.py gives it.
    """
    if not state.started():
        runpy.run_path(str(APP))
        st.stop()
