"""The live plots inside a page: what Python sends, and the files that the browser is pointed to."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from plot_races import config, recorders
from streamlit.testing.v1 import AppTest

from multirate_core import store as races
from pages.components.plots.live_plot import FRONTEND

# Of plotly-basic.min.js as published on npm in plotly.js-basic-dist-min 4.1.1.
PLOTLY_SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"


def page(race: str) -> None:
    from pages.components.plots.curves import race_curves
    from pages.components.plots.live_plot import live_plot, sweep_plot

    live_plot([("", race_curves(race))] if race else [], "seconds", key="plots")
    sweep_plot([(0.5, 1.5), (0.9, None)], 1, key="sweep")


def sent(race: str) -> list[dict]:
    app = AppTest.from_function(page, args=(race,)).run()
    assert not app.exception
    return [json.loads(node.proto.json)[0] for node in app.get("bidi_component")]


def test_a_page_sends_the_figures_and_the_address_of_the_script(own_home: Path) -> None:
    own_home.mkdir()
    with races.open_store() as store:
        race = races.submit(store, config())
        recorders(store, race)[0].take(100)
    plots, sweep = sent(race)
    assert plots["summary"].startswith("Live plots. sgd, seed 0: 100 steps")
    assert {trace["name"] for trace in plots["figure"]["data"]} == {"sgd"}
    assert re.fullmatch(r"/component/[\w.]+/live_plot\.js\?v=[0-9a-f]{12}", plots["script"])
    assert "1.50 times" in sweep["summary"]


def test_before_the_first_race_there_is_no_figure() -> None:
    plots, _ = sent("")
    assert (plots["figure"], plots["arrays"]) == (None, [])


def test_the_script_names_the_copy_of_plotly_that_is_there_and_it_is_the_published_one() -> None:
    (name,) = re.findall(r"plotly-basic-[\d.]+\.min\.js", (FRONTEND / "live_plot.js").read_text(encoding="utf-8"))
    assert hashlib.sha256((FRONTEND / name).read_bytes()).hexdigest() == PLOTLY_SHA256
