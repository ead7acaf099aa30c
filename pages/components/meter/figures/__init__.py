"""The meter's figures and curve, drawn in the browser: Streamlit's own HTML lets no SVG through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

FOLDER = Path(__file__).parent

_figures = st.components.v2.component(
    "multirate_explorer.meter",
    html='<div class="meter"></div>',
    css=(FOLDER / "figures.css").read_text(encoding="utf-8"),
    js="\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("curve.js", "figures.js")),
)


def meter_figures(data: Mapping[str, Any]) -> None:
    """Draw the figures and the curve; `data` as `meter.words.meter_data` gives it."""
    _figures(key="meter:figures", data=[dict(data)])  # a list, so that Streamlit looks for no tables in it
