"""What watching a race costs: script time and server CPU of a live refresh, for 1, 2 and 4 tabs; zoom kept."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks import run
from benchmarks.app_under_test import Server, chromium, open_page, server, wait_complete
from benchmarks.figures import Check, Figure, Result, Target
from benchmarks.made_up_race import MadeUpRace, made_up_config
from benchmarks.timed_server import VARIABLE
from multirate_core import home
from multirate_core.backends import Inline

STEPS, STEPS_PER_SECOND = 100_000, 200
TABS = (1, 2, 4)
ROUNDS, WINDOW_S, SETTLE_S = 3, 15.0, 5.0
FILLED_WITHIN_S = 120.0
ZOOM_WATCHED_S = 6.0
SCRIPT_MS, CPU_MS, SHARED = Target("at most", 50.0), Target("at most", 85.0), Target("at most", 1.0)
ABOUT = (
    "Two arms with 100,000 recorded steps each, to which 200 steps a second are added; accuracy, loss and time per "
    "step are drawn once a second in real tabs. Script time is that of the fragment, with a clock around it in the "
    "server. CPU is all that the server's process uses, divided by the refreshes of all tabs."
)

ZOOM = """() => {
  const plot = document.querySelector('.js-plotly-plot');
  const loss = plot.data.find((trace) => (trace.uid ?? '').startsWith('loss-'));
  return { range: [...plot.layout.xaxis.range], newest: loss.x[loss.x.length - 1] };
}"""


@dataclass(frozen=True)
class Window:
    """What happened while some tabs watched for a while.

    Args:
        tabs: how many.
        cpu_s: CPU time of the server.
        script_ms: of each refresh, all tabs together.
    """

    tabs: int
    cpu_s: float
    script_ms: tuple[float, ...]

    @property
    def cpu_ms(self) -> float:
        """CPU time of the server for one refresh of one tab, in milliseconds."""
        return 1e3 * self.cpu_s / max(1, len(self.script_ms))

    def rate(self, window_s: float) -> float:
        """Return how often a second each tab was refreshed: 1 unless the machine could not follow."""
        return len(self.script_ms) / self.tabs / window_s


def measure(quick: bool) -> Result:
    """Record a long race, watch it in ever more tabs, zoom in."""
    rounds, window_s = (1, 5.0) if quick else (ROUNDS, WINDOW_S)
    with run.fresh_home() as folder, ExitStack() as stack:
        times = folder / "fragments.jsonl"
        app = stack.enter_context(server("benchmarks.timed_server", **{VARIABLE: str(times)}))
        browser = stack.enter_context(chromium())
        backend, race = _begin_race()
        stack.callback(backend.request, race, "stop")
        address = f"{app.address}/?race={race}"
        windows = [each for _ in range(rounds) for each in _round(browser, app, address, times, window_s)]
        first_ms = _refreshes(times)[0][1]
        zoom = _zoom_check(browser, address)
    alone = [ms for each in windows if each.tabs == 1 for ms in each.script_ms]
    figures = [
        Figure("script_ms", "script time of a refresh, one tab", "ms", alone, SCRIPT_MS),
        Figure("first_script_ms", "the first one, which reads all steps", "ms", [first_ms]),
        *_cpu_figures(windows),
    ]
    settings = {"steps": STEPS, "steps_per_second": STEPS_PER_SECOND, "rounds": rounds, "window_s": window_s}
    rates = {f"{n} tabs": [round(each.rate(window_s), 2) for each in windows if each.tabs == n] for n in TABS}
    return Result("live", ABOUT, figures, [zoom], settings, {"refreshes_per_second_and_tab": rates})


def _cpu_figures(windows: Sequence[Window]) -> list[Figure]:
    """Return the CPU per refresh for each number of tabs, and how much less it is where tabs share a race."""
    cpu = {tabs: [each.cpu_ms for each in windows if each.tabs == tabs] for tabs in TABS}
    of_one = [most / one for one, most in zip(cpu[TABS[0]], cpu[TABS[-1]], strict=True)]
    title = "server CPU per refresh and tab, {} tab{}"
    return [
        *(Figure(f"cpu_ms_{n}_tabs", title.format(n, "s" * (n > 1)), "ms", cpu[n], CPU_MS) for n in TABS),
        Figure("cpu_shared", f"per tab with {TABS[-1]} tabs / with 1", "", of_one, SHARED),
    ]


def _begin_race() -> tuple[Inline, str]:
    """Start the made-up race in a thread of this process; return when its first part is recorded."""
    filled = threading.Event()
    backend = Inline(home.store_path(), run=MadeUpRace(STEPS, STEPS_PER_SECOND, filled.set))
    race = backend.submit(made_up_config())
    if not filled.wait(FILLED_WITHIN_S):
        raise RuntimeError(f"the race was not recorded within {FILLED_WITHIN_S:.0f} s: {backend.status(race)}")
    return backend, race


def _round(browser: Browser, app: Server, address: str, times: Path, window_s: float) -> list[Window]:
    """Watch with one tab, then with more."""
    pages: list[Page] = []
    windows = []
    for tabs in TABS:
        while len(pages) < tabs:
            pages.append(open_page(browser, address))
            wait_plot(pages[-1])
        pages[0].wait_for_timeout(SETTLE_S * 1e3)
        windows.append(_watch(pages[0], app, times, tabs, window_s))
    for page in pages:
        page.context.close()
    return windows


def _watch(page: Page, app: Server, times: Path, tabs: int, window_s: float) -> Window:
    begun, before = time.time(), app.cpu_seconds()
    page.wait_for_timeout(window_s * 1e3)
    cpu_s, ended = app.cpu_seconds() - before, time.time()
    return Window(tabs, cpu_s, tuple(ms for at, ms in _refreshes(times) if begun <= at <= ended))


def _refreshes(times: Path) -> list[tuple[float, float]]:
    """Return when every refresh ended, in seconds since 1970, and its script time in milliseconds."""
    lines = [json.loads(line) for line in times.read_text(encoding="utf-8").splitlines()]
    return [(line["at"], line["wall_ms"]) for line in lines]


def wait_plot(page: Page) -> None:
    """Wait until the page is complete and its live plot shows the loss."""
    wait_complete(page)
    page.wait_for_function(
        "() => document.querySelector('.js-plotly-plot')?.data?.some((trace) => (trace.uid ?? '').startsWith('loss-'))"
    )


def _zoom_check(browser: Browser, address: str) -> Check:
    """Zoom in with the mouse, and look whether newer data leave the view alone."""
    page = open_page(browser, address)
    wait_plot(page)
    area = page.locator(".js-plotly-plot .nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    x, y = box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.3 * box["width"], y + 2, steps=8)
    page.mouse.up()
    page.wait_for_timeout(1_500)
    before = page.evaluate(ZOOM)
    page.wait_for_timeout(ZOOM_WATCHED_S * 1e3)
    after = page.evaluate(ZOOM)
    page.context.close()
    kept = before["range"] == after["range"] and before["newest"] < after["newest"]
    view = "–".join(f"{end:.0f}" for end in after["range"])
    because = f"after {ZOOM_WATCHED_S:.0f} s of refreshes the view is {view} training seconds, " + (
        f"as before, and the data reach {after['newest'] - before['newest']:.1f} s further"
        if kept
        else f"was {before['range']}; the data reached {before['newest']:.1f} s and now {after['newest']:.1f} s"
    )
    return Check("zoom_kept", "Zoom is kept while data arrive", kept, because)


if __name__ == "__main__":
    sys.exit(run.main(measure, "live"))
