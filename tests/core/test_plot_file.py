"""The plots leave as one file that stands alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from plot_races import config, recorders

from multirate_core import home
from multirate_core import store as races
from pages.components.plots.curves import race_curves
from pages.components.plots.plot_file import plots_html


def test_the_file_holds_the_curves_and_plotly_and_asks_for_nothing_outside() -> None:
    with races.open_store(home.store_path()) as store:
        race = races.submit(store, config())
        for recorder in recorders(store, race):
            recorder.take(120)
    page = plots_html([("<b>mine</b>", race_curves(race))], "seconds")
    assert "Plotly.newPlot" in page
    assert "multirate" in page
    assert not re.search(r"<script[^>]+src=", page)
    assert "<b>mine</b>" not in page  # a title is text, wherever it is shown


def test_the_lowest_plotly_that_we_ask_for_knows_the_title_of_the_hover_box() -> None:
    """6.3 is the first version with `layout.xaxis.unifiedhovertitle`; older ones refuse the whole figure."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    (floor,) = [line.removeprefix("plotly>=") for line in project["project"]["dependencies"] if "plotly" in line]
    assert tuple(map(int, floor.split("."))) >= (6, 3)
