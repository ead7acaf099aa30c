"""The live plots in a real Chromium: zoom, legend, theme, narrow screens, touch, what travels over the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from finger import Finger
from playwright.sync_api import Page, WebSocket
from plot_races import config, recorders
from servers import OpenPage

from multirate_core import store as races

pytestmark = pytest.mark.browser

Start = Callable[..., str]

# What the plot shows: ranges, data and colours, as plotly computed them.
STATE = """() => {
  const chart = document.querySelector(".mr-plot-chart"), layout = chart._fullLayout;
  return {
    ranges: ["xaxis", "yaxis2"].map((name) => [...layout[name].range]),
    zoomed: layout.xaxis.autorange === false,
    points: chart.data.reduce((sum, trace) => sum + trace.x.length, 0),
    newest: Math.max(...chart.data.filter((trace) => trace.uid.startsWith("loss-")).map((trace) => trace.x.at(-1))),
    hidden: chart._fullData.filter((trace) => trace.visible !== true).map((trace) => trace.uid.split("-")[0]),
    text: layout.font.color, width: layout.width, drag: layout.dragmode,
  };
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plots")


@pytest.fixture(scope="module")
def address(home: Path, streamlit_server: Callable[..., str]) -> str:
    return streamlit_server(Path(__file__).parent / "plot_app.py", home=home)


@pytest.fixture
def start_race(home: Path) -> Iterator[Start]:
    """start_race(steps, live=False, loss=None) -> id of a race; a live one goes on until the test ends."""
    over = threading.Event()
    writers: list[threading.Thread] = []

    def start(steps: int = 300, live: bool = False, loss: np.ndarray | None = None) -> str:
        with races.open_store(home / "races.sqlite3") as store:
            race = races.submit(store, config())
            sgd, multirate = recorders(store, race)
            sgd.take(steps)
            multirate.take(2 * steps, **({} if loss is None else {"loss": loss}))
            if loss is not None:
                multirate.end("diverged")
        if live:
            writers.append(threading.Thread(target=go_on, args=(sgd, multirate)))
            writers[-1].start()
        return race

    def go_on(*lanes: object) -> None:
        with races.open_store(home / "races.sqlite3") as store:
            while not over.wait(0.25):
                for lane in lanes:
                    lane.store = store
                    lane.take(10)

    yield start
    over.set()
    for writer in writers:
        writer.join()


def state(page: Page) -> dict:
    return page.evaluate(STATE)


def drawn(page: Page) -> Page:
    page.wait_for_selector(".mr-plot-chart .main-svg")
    return page


def wait_ticks(page: Page, count: int) -> None:
    """Wait until the fragment ran `count` times and what it sent was drawn."""
    text = "document.querySelector('[class*=st-key-ticks]').innerText.match(/tick (\\d+)/)[1]"
    begun = int(page.evaluate(text))
    page.wait_for_function(f"Number({text}) >= {begun + count}")
    page.wait_for_timeout(300)


def panel(page: Page, y_axis: str) -> dict[str, float]:
    """Where a panel is on the screen, in pixels."""
    return page.evaluate(
        """(name) => {
          const chart = document.querySelector(".mr-plot-chart"), box = chart.getBoundingClientRect();
          const x = chart._fullLayout.xaxis, y = chart._fullLayout[name];
          return { x: box.x + x._offset, y: box.y + y._offset, width: x._length, height: y._length };
        }""",
        y_axis,
    )


def drag_zoom(page: Page, y_axis: str = "yaxis2") -> None:
    place = panel(page, y_axis)
    at = [(place["x"] + place["width"] * a, place["y"] + place["height"] * b) for a, b in ((0.3, 0.1), (0.6, 0.95))]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=6)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.mr-plot-chart').layout.xaxis.autorange === false")


def test_the_zoom_stays_while_the_race_goes_on_and_a_double_click_ends_it(
    address: str, open_page: OpenPage, start_race: Start
) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(live=True)}"))
    drag_zoom(page)
    before = state(page)
    wait_ticks(page, 5)
    after = state(page)
    assert after["ranges"] == before["ranges"]
    assert after["newest"] > before["newest"] + 0.3
    place = panel(page, "yaxis2")
    page.mouse.dblclick(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_function("document.querySelector('.mr-plot-chart').layout.xaxis.autorange === true")
    wait_ticks(page, 2)
    again = state(page)
    assert not again["zoomed"]
    assert again["ranges"][0][1] >= again["newest"] >= after["newest"]


def test_a_drag_is_not_cut_off_by_new_data(address: str, open_page: OpenPage, start_race: Start) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(live=True)}"))
    place = panel(page, "yaxis")
    page.mouse.move(place["x"] + place["width"] * 0.25, place["y"] + place["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.5, place["y"] + place["height"] * 0.8, steps=4)
    x_range = state(page)["ranges"][0]
    wait_ticks(page, 2)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.mr-plot-chart').layout.xaxis.autorange === false")
    wanted = [x_range[1] * 0.25, x_range[1] * 0.5]
    assert state(page)["ranges"][0] == pytest.approx(wanted, rel=0.03)


def test_the_reset_button_appears_with_the_zoom_and_ends_it(
    address: str, open_page: OpenPage, start_race: Start
) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(live=True)}"))
    button = page.get_by_role("button", name="Reset zoom")
    assert not button.is_visible()
    drag_zoom(page)
    wait_ticks(page, 1)
    button.focus()
    page.keyboard.press("Enter")
    wait_ticks(page, 2)
    assert not state(page)["zoomed"]
    assert not button.is_visible()


def test_a_click_in_the_legend_hides_an_arm_in_all_panels_and_it_stays_hidden(
    address: str, open_page: OpenPage, start_race: Start
) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(live=True)}"))
    page.locator(".legendtoggle").first.click()
    page.wait_for_function("document.querySelector('.mr-plot-chart')._fullData.some((t) => t.visible !== true)")
    hidden = sorted(state(page)["hidden"])
    assert hidden == ["accuracy", "high", "loss", "low", "strip", "time"]
    wait_ticks(page, 3)
    assert sorted(state(page)["hidden"]) == hidden


def test_another_axis_starts_without_the_old_zoom(address: str, open_page: OpenPage, start_race: Start) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(300)}"))
    drag_zoom(page)
    page.get_by_role("radio", name="steps").or_(page.get_by_role("button", name="steps", exact=True)).first.click()
    page.wait_for_function("document.querySelector('.mr-plot-chart').layout.xaxis.title.text === 'steps'")
    shown = state(page)
    assert not shown["zoomed"]
    assert shown["newest"] == pytest.approx(600, abs=1)


def test_the_plots_follow_the_theme_and_keep_the_zoom(address: str, open_page: OpenPage, start_race: Start) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(300)}", color_scheme="light"))
    drag_zoom(page)
    light = state(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "(before) => document.querySelector('.mr-plot-chart')._fullLayout.font.color !== before", arg=light["text"]
    )
    dark = state(page)
    assert dark["ranges"] == light["ranges"]
    seen = page.evaluate("getComputedStyle(document.querySelector('.mr-plot-chart .xtick text')).fill")
    assert min(int(part) for part in seen.removeprefix("rgb(").removesuffix(")").split(",")[:3]) > 200


def test_a_narrow_screen_shows_everything_without_scrolling_sideways(
    address: str, open_page: OpenPage, start_race: Start
) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(300)}", width=390, height=800))
    assert state(page)["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = page.evaluate(
        """() => [...document.querySelectorAll(".mr-plot-chart text")]
          .filter((text) => text.textContent && text.getBoundingClientRect().right > innerWidth)
          .map((text) => text.textContent)"""
    )
    assert outside == []


def test_the_plots_follow_the_width_of_the_window(address: str, open_page: OpenPage, start_race: Start) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(300)}", width=1200))
    wide = state(page)["width"]
    page.set_viewport_size({"width": 600, "height": 900})
    page.wait_for_function("(w) => document.querySelector('.mr-plot-chart')._fullLayout.width < w - 300", arg=wide)


def test_a_finger_on_the_plots_scrolls_the_page(address: str, open_page: OpenPage, start_race: Start) -> None:
    url = f"{address}/?race={start_race(300)}"
    page = drawn(open_page(url, width=390, height=600, has_touch=True, is_mobile=True))
    place = panel(page, "yaxis2")
    top = "document.querySelector('[data-testid=stMain]').scrollTop"
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    Finger(page).swipe((x, y), (x, y - 120))
    page.wait_for_function(f"{top} > 60")
    assert not state(page)["zoomed"]


def test_a_diverged_arm_ends_with_a_visible_cross(address: str, open_page: OpenPage, start_race: Start) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(100, loss=np.geomspace(2.0, 1e30, 200))}"))
    place = panel(page, "yaxis2")
    crosses = page.evaluate(
        """() => [...document.querySelectorAll(".mr-plot-chart .scatterlayer .trace")]
          .filter((trace) => trace.__data__[0].trace.uid.startsWith("end-loss-"))
          .flatMap((trace) => [...trace.querySelectorAll(".point")])
          .map((point) => point.getBoundingClientRect().toJSON())"""
    )
    assert len(crosses) == 1
    middle = crosses[0]["y"] + crosses[0]["height"] / 2
    assert place["y"] - 8 <= middle <= place["y"] + place["height"]


def test_plotly_comes_over_the_network_once_and_ticks_are_small(
    address: str, open_page: OpenPage, start_race: Start
) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(20_000, live=True)}", empty_cache=True))
    files = "performance.getEntriesByType('resource').filter((file) => file.name.includes('plotly-basic'))"
    size = f"{files}.map((file) => file.transferSize)"
    assert len(first := page.evaluate(size)) == 1
    assert first[0] > 300_000
    frames: list[int] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(len(frame)))

    page.on("websocket", listen)
    page.reload()
    drawn(page)
    assert page.evaluate(size) == [0]
    frames.clear()
    wait_ticks(page, 4)
    assert any(20_000 < length < 60_000 for length in frames)
    assert max(frames) < 60_000


def test_the_newest_values_are_told_to_those_who_cannot_see_them(
    address: str, open_page: OpenPage, start_race: Start
) -> None:
    page = drawn(open_page(f"{address}/?race={start_race(live=True)}"))
    plots = page.get_by_role("img", name="Live plots. sgd, seed 0:")
    before = plots.get_attribute("aria-label")
    wait_ticks(page, 2)
    after = plots.get_attribute("aria-label")
    assert "training seconds, test accuracy" in after
    assert after != before


def test_races_are_laid_over_each_other(address: str, open_page: OpenPage, start_race: Start) -> None:
    one, two = start_race(100), start_race(200)
    page = drawn(open_page(f"{address}/?race={one}&race={two}"))
    assert page.locator(".legendtext").all_text_contents() == [
        f"{race} · {arm}" for race in (one, two) for arm in ("sgd", "multirate")
    ]


def test_another_race_in_the_same_place_is_drawn(address: str, open_page: OpenPage, start_race: Start) -> None:
    one, two = start_race(100), start_race(200)
    page = drawn(open_page(f"{address}/?race={one}"))
    field = page.get_by_label("Race in their place")
    field.fill(two)
    field.press("Enter")
    page.wait_for_function(
        """(race) => {
          const shown = [...document.querySelectorAll(".mr-plot-chart .scatterlayer .trace")];
          return shown.length > 0 && shown.every((trace) => trace.__data__[0].trace.uid.split("-").includes(race))
            && shown.some((trace) => trace.querySelector("path.js-line")?.getBBox().width > 50);
        }""",
        arg=two,
    )
    assert max(len(trace["x"]) for trace in page.evaluate("document.querySelector('.mr-plot-chart').data")) >= 200
