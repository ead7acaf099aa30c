"""The figures of the live plots, by their data; the curves come from a real store."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from plot_races import FULL_MS, SHORT_MS, STEPS_PER_EPOCH, Recorder, config, recorders

from multirate_core import store as races
from pages.components.plots import curves as curves_module
from pages.components.plots.charts import race_figure, race_summary, sweep_figure, sweep_summary
from pages.components.plots.curves import RaceCurves, race_curves
from pages.components.plots.lines import COLOURS, MARKERS, MOST_LINES, lines_left_out, lines_of
from pages.components.plots.live_plot.wire import pack
from pages.components.plots.strip import gradient_steps


@pytest.fixture(autouse=True)
def read_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves_module, "FRESH_S", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> races.Store:
    with races.open_store(tmp_path / "races.sqlite3") as opened:
        yield opened


def raced(store: races.Store, steps: int = 100, seeds: tuple[int, ...] = (0,), period: int = 5) -> RaceCurves:
    race = races.submit(store, config(seeds, period))
    for recorder in recorders(store, race, seeds, period):
        recorder.take(steps)
    return race_curves(race, store.path)


def trace(figure: dict, start: str, name: str) -> dict:
    (found,) = [t for t in figure["data"] if t["uid"].startswith(f"{start}-") and t["name"] == name]
    return found


def test_every_uid_can_stand_in_a_css_selector(store: races.Store) -> None:
    for figure in (race_figure([("one", raced(store))]), sweep_figure([(0.5, 1.2), (0.9, None)])):
        assert all(re.fullmatch(r"[a-z][A-Za-z0-9-]*", trace["uid"]) for trace in figure["data"])


def test_plotly_accepts_every_property_of_the_figures(store: races.Store) -> None:
    for figure in (race_figure([("", raced(store))]), sweep_figure([(0.5, 1.2), (0.9, None)])):
        assert len(go.Figure(figure).data) == len(figure["data"]) > 0


def test_an_empty_race_is_an_empty_figure_with_all_its_panels(store: races.Store) -> None:
    empty = race_curves(races.submit(store, config()), store.path)
    figure = race_figure([("", empty)])
    assert [(each["uid"], each["yaxis"], each["opacity"]) for each in figure["data"]] == [
        (f"unseen-{axis}", axis, 0) for axis in ("y", "y2", "y3")
    ]
    assert {"yaxis", "yaxis2", "yaxis3"} <= figure["layout"].keys()
    assert race_summary([("", empty)]) == "No step was recorded yet."


def test_the_accuracy_is_that_of_the_evaluations(store: races.Store) -> None:
    shown = trace(race_figure([("", raced(store))], "steps"), "accuracy", "sgd")
    assert shown["x"].tolist() == [50, 100]
    assert shown["y"] == pytest.approx([0.97 - 0.85 * np.exp(-step / 120) for step in (50, 100)])
    assert shown["mode"] == "lines+markers"


@pytest.mark.parametrize("name", ["sgd", "multirate"])
def test_the_same_points_stand_at_seconds_steps_and_epochs(store: races.Store, name: str) -> None:
    curves = raced(store)
    lane = {"sgd": 0, "multirate": 1}[name]
    clock = races.steps_since(store, curves.race, lane).train_seconds
    x = {axis: trace(race_figure([("", curves)], axis), "loss", name)["x"] for axis in ("seconds", "steps", "epochs")}
    assert x["seconds"] == pytest.approx(clock)
    assert x["steps"].tolist() == list(range(1, 101))
    assert x["epochs"] == pytest.approx(x["steps"] / STEPS_PER_EPOCH)


def test_the_band_of_the_loss_runs_from_the_lowest_to_the_highest(store: races.Store) -> None:
    race = races.submit(store, config())
    loss = np.full(4000, 1.0)
    loss[[1234, 2345]] = 7.5, 0.125
    recorders(store, race)[0].take(4000, loss=loss)
    figure = race_figure([("", race_curves(race, store.path))])
    assert trace(figure, "low", "sgd")["y"].min() == 0.125
    assert trace(figure, "high", "sgd")["y"].max() == 7.5
    assert trace(figure, "loss", "sgd")["y"].max() < 1.5


def test_the_time_per_step_tells_full_steps_from_fast_ones(store: races.Store) -> None:
    figure = race_figure([("", raced(store, 600))])
    assert np.nanmean(trace(figure, "time", "multirate")["y"]) == pytest.approx(FULL_MS, rel=0.1)
    assert np.nanmean(trace(figure, "short", "multirate")["y"]) == pytest.approx(SHORT_MS, rel=0.1)
    assert np.nanmean(trace(figure, "time", "sgd")["y"]) == pytest.approx(FULL_MS, rel=0.1)
    assert [t["name"] for t in figure["data"] if t["uid"].startswith("short-")] == ["multirate"]


def test_the_strip_marks_the_steps_at_which_a_group_had_a_gradient(store: races.Store) -> None:
    curves = raced(store, 103)
    sgd, multirate = curves.lanes
    assert gradient_steps(sgd, 0, 10).tolist() == list(range(-9, 1))
    assert gradient_steps(multirate, 0, 10).tolist() == list(range(-9, 1))
    # Steps count from 0: the last one is 102, full ones are 95 and 100.
    assert gradient_steps(multirate, 1, 10).tolist() == [-7, -2]
    rows = [t for t in race_figure([("", curves)])["data"] if t["uid"].startswith("strip-")]
    assert [len(t["x"]) for t in rows] == [60, 60, 12]


def test_the_strip_looks_back_three_cycles_of_a_long_period(store: races.Store) -> None:
    layout = race_figure([("", raced(store, 400, period=50))])["layout"]
    assert layout["xaxis2"]["range"] == [-150, 1]


def test_an_arm_has_one_colour_in_all_panels_and_one_legend_entry(store: races.Store) -> None:
    figure = race_figure([("", raced(store, seeds=(0, 1)))])
    for group in {t["legendgroup"] for t in figure["data"]}:
        own = [t for t in figure["data"] if t["legendgroup"] == group]
        assert sum(t["showlegend"] for t in own) == 1
        assert len({t["line"]["color"] for t in own if t["uid"].startswith(("accuracy", "loss", "time", "short"))}) == 1
    names = {t["name"]: t["line"]["color"] for t in figure["data"] if t["showlegend"]}
    assert names == {"sgd": COLOURS[0], "multirate": COLOURS[1]}


def test_seeds_of_an_arm_differ_in_their_dashes(store: races.Store) -> None:
    lines = [t for t in race_figure([("", raced(store, seeds=(3, 8)))])["data"] if t["uid"].startswith("loss-")]
    assert [(t["name"], t["line"]["dash"]) for t in lines] == [
        ("sgd", "solid"),
        ("multirate", "solid"),
        ("sgd", "dash"),
        ("multirate", "dash"),
    ]


def test_races_laid_over_each_other_keep_their_names_and_have_colours_of_their_own(store: races.Store) -> None:
    figure = race_figure([("one", raced(store)), ("two", raced(store))])
    legend = {t["name"]: t["line"]["color"] for t in figure["data"] if t["showlegend"]}
    assert list(legend) == ["one · sgd", "one · multirate", "two · sgd", "two · multirate"]
    assert len(set(legend.values())) == 4


def test_the_zoom_is_kept_until_the_race_or_the_axis_changes(store: races.Store) -> None:
    race = races.submit(store, config())
    recorder = recorders(store, race)[0]
    revisions = []
    for _ in range(2):
        recorder.take(50)
        revisions.append(race_figure([("", race_curves(race, store.path))])["layout"]["uirevision"])
    other_axis = race_figure([("", race_curves(race, store.path))], "steps")["layout"]["uirevision"]
    other_race = race_figure([("", raced(store))])["layout"]["uirevision"]
    assert revisions[0] == revisions[1]
    assert len({revisions[0], other_axis, other_race}) == 3


def test_a_diverged_arm_ends_with_a_cross_inside_the_picture(store: races.Store) -> None:
    race = races.submit(store, config())
    sgd, multirate = recorders(store, race)
    sgd.take(100)
    multirate.take(100, loss=np.geomspace(2.0, 1e12, 100))
    multirate.end("diverged")
    figure = race_figure([("", race_curves(race, store.path))])
    crosses = [t for t in figure["data"] if t["uid"].startswith("end-")]
    assert {t["name"] for t in crosses} == {"multirate"}
    assert all(t["marker"]["symbol"] == "x" and len(t["x"]) == 1 for t in crosses)
    limit = figure["layout"]["yaxis2"]["autorangeoptions"]["clipmax"]
    assert limit < 10
    assert crosses[0]["y"][0] == limit
    assert "diverged" in race_summary([("", race_curves(race, store.path))])


def test_losses_that_are_not_finite_break_neither_the_line_nor_the_wire(store: races.Store) -> None:
    race = races.submit(store, config())
    recorders(store, race)[0].take(100, loss=np.r_[np.ones(50), np.nan, np.inf, np.ones(48)])
    figure = race_figure([("", race_curves(race, store.path))])
    assert np.nanmax(trace(figure, "loss", "sgd")["y"]) == 1.0
    json.loads(json.dumps(pack(figure), allow_nan=False))


def test_a_hundred_thousand_steps_are_a_few_hundred_points_and_kilobytes(store: races.Store) -> None:
    figure = race_figure([("", raced(store, 100_000))])
    assert max(len(t["x"]) for t in figure["data"]) <= 1000
    assert len(json.dumps(pack(figure))) < 60_000


def test_many_seeds_are_cut_to_the_newest(store: races.Store) -> None:
    seeds = tuple(range(20))
    curves = raced(store, 60, seeds)
    lines = lines_of([("", curves)])
    assert len(lines) == MOST_LINES
    assert {line.curve.seed for line in lines} == set(range(8, 20))
    assert lines_left_out([("", curves)]) == 40 - MOST_LINES
    assert "newest 24 of 40" in race_figure([("", curves)])["layout"]["annotations"][-4]["text"]


def test_the_arms_of_six_races_differ_in_colour_or_marker(store: races.Store) -> None:
    arms = (*config().arms, replace(config().arms[1], name="ours"))
    laid_over = []
    for number in range(6):
        race = races.submit(store, replace(config(), arms=arms))
        for lane in range(len(arms)):
            Recorder(store, race, lane, 1).take(STEPS_PER_EPOCH)
        laid_over.append((f"race {number}", race_curves(race, store.path)))
    looks = [(line.colour, line.marker) for line in lines_of(laid_over)]
    assert len(looks) == len(set(looks)) == 18
    assert looks[:7] == list(zip(COLOURS, MARKERS, strict=True))


def test_names_are_shown_as_they_are(store: races.Store) -> None:
    figure = race_figure([("<b>one</b>", raced(store))])
    assert {t["name"] for t in figure["data"]} == {"&lt;b&gt;one&lt;/b&gt; · sgd", "&lt;b&gt;one&lt;/b&gt; · multirate"}
    assert not any("<b>one" in a["text"] for a in figure["layout"]["annotations"])


def test_a_packed_figure_holds_every_array_once_and_gives_its_numbers_back() -> None:
    shared = np.array([1.0, 2.5, np.nan])
    packed = pack({"data": [{"x": shared, "y": np.array([3])}, {"x": shared}], "layout": {"title": "t"}})
    assert packed["figure"] == {"data": [{"x": {"array": 0}, "y": {"array": 1}}, {"x": {"array": 0}}]} | {
        "layout": {"title": "t"}
    }
    numbers = np.frombuffer(base64.b64decode(packed["arrays"][0]), "<f4")
    assert np.array_equal(numbers, shared.astype("f4"), equal_nan=True)


def test_an_arm_looks_the_same_in_the_sweep_and_in_the_curves(store: races.Store) -> None:
    accuracy = trace(race_figure([("", raced(store))]), "accuracy", "multirate")
    sweep = trace(sweep_figure([(0.5, 1.4), (0.9, 1.1)], place=1), "sweep", "speed-up")
    assert sweep["line"]["color"] == accuracy["line"]["color"]
    assert sweep["marker"]["symbol"] == accuracy["marker"]["symbol"]


def test_a_race_without_a_step_has_plain_axes_and_titles(store: races.Store) -> None:
    layout = race_figure([("", race_curves(races.submit(store, config()), store.path))])["layout"]
    assert [layout[axis]["range"] for axis in ("yaxis", "yaxis2", "yaxis3")] == [[0, 1.03], [0, 3.3], [0, 11]]
    titles = [each["text"] for each in layout["annotations"]]
    assert "<b>Minibatch loss</b>" in titles
    full = race_figure([("", raced(store))])["layout"]
    assert not any("range" in full[axis] for axis in ("yaxis", "yaxis2", "yaxis3"))


def test_the_sweep_leaves_out_what_was_not_reached() -> None:
    sweep = [(0.5, 1.4), (0.9, 1.1), (0.95, None)]
    line = trace(sweep_figure(sweep), "sweep", "speed-up")
    assert (line["x"].tolist(), line["y"].tolist()) == ([0.5, 0.9], [1.4, 1.1])
    assert sweep_summary(sweep) == "Speed-up to reach a target accuracy. 50.0%: 1.40 times, 90.0%: 1.10 times."
    assert sweep_figure([])["data"][1]["x"].tolist() == []


def test_the_summary_says_the_newest_values_of_every_arm(store: races.Store) -> None:
    words = race_summary([("", raced(store, 100))])
    assert "sgd, seed 0: 100 steps in " in words
    assert "test accuracy 60.1%, loss " in words


def test_the_summary_writes_long_times_in_full(store: races.Store) -> None:
    race = races.submit(store, config())
    recorder = recorders(store, race)[0]
    recorder.seconds = 1234.0
    recorder.take(50)
    assert "50 steps in 1,234 training seconds" in race_summary([("", race_curves(race, store.path))])
