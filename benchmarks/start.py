"""How soon the app is there: the first page after the server's start, a new session, the first point after Race."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks import run
from benchmarks.app_under_test import Server, chromium, open_page, server, wait_complete
from benchmarks.figures import Check, Figure, Result, Target
from multirate_core import home, store
from multirate_core.serve import APP

LAUNCHES, SESSIONS, RACES = 7, 11, 5
ENDED_WITHIN_S = 60.0
BARE_PAGE = Path(__file__).with_name("bare_page.py")
FIRST_PAGE_S, NEW_SESSION_S, FIRST_POINT_S = (Target("at most", limit) for limit in (2.0, 1.5, 6.0))
ABOUT = (
    "A page is complete when the layer board has rows, Race can be pressed and the server has finished its run. Every "
    "launch has an empty user data folder but compiled Python modules, every session an empty browser cache. The point "
    "may be of any curve; the first minibatch loss is told beside it. The browser runs already and shares the cores "
    "with server and worker. "
    "What Streamlit itself needs for a page with one button is measured in turn with ours."
)

# The number of points that the live plots show, of the curves whose name starts so.
POINTS = """(start) => [...document.querySelectorAll('.js-plotly-plot')].some(
  (plot) => plot.data.some(({ uid = "", x }) => uid.startsWith(start) && !uid.startsWith("unseen-") && x?.length))"""


def measure(quick: bool) -> Result:
    """Launch servers, open sessions, press Race."""
    launches, sessions, races = (1, 2, 1) if quick else (LAUNCHES, SESSIONS, RACES)
    with chromium() as browser:
        firsts = [(_first_page_s(browser), _first_page_s(browser, ours=False)) for _ in range(launches)]
        with run.fresh_home(), server() as app, server(script=BARE_PAGE) as bare:
            _session_s(browser, app)  # the one that finds the server cold is the first page above
            _session_s(browser, bare, ours=False)
            pairs = [(_session_s(browser, app), _session_s(browser, bare, ours=False)) for _ in range(sessions)]
            points = [_first_points_s(browser, app) for _ in range(races)]
            loaded = app.has_loaded("libtorch")
    first, bare_first = zip(*firsts, strict=True)
    answered, complete = zip(*first, strict=True)
    later, bare_later = zip(*pairs, strict=True)
    any_curve, loss = zip(*points, strict=True)
    figures = [
        Figure("first_page_s", "server's launch → first page complete", "s", complete, FIRST_PAGE_S),
        Figure("server_answers_s", "of that, until the server answers", "s", answered),
        Figure("bare_first_page_s", "the same for a bare Streamlit page", "s", [page for _, page in bare_first]),
        Figure("new_session_s", "new session → page complete", "s", later, NEW_SESSION_S),
        Figure("bare_session_s", "the same for a bare Streamlit page", "s", bare_later),
        Figure("session_ratio", "of a new session, ours to the bare page", "", [ours / bare for ours, bare in pairs]),
        Figure("first_point_s", "Race pressed → first point on the chart", "s", any_curve, FIRST_POINT_S),
        Figure("first_loss_s", "Race pressed → first minibatch loss on the chart", "s", loss),
    ]
    because = f"libtorch is {'' if loaded else 'not '}mapped into the server's memory after {races} races"
    check = Check("no_torch_in_server", "The server's process has not loaded torch", not loaded, because)
    return Result("start", ABOUT, figures, [check], {"launches": launches, "sessions": sessions, "races": races})


def _first_page_s(browser: Browser, ours: bool = True) -> tuple[float, float]:
    """Launch a server; return the seconds until it answered and until the first page was complete."""
    with run.fresh_home(), server(script=APP if ours else BARE_PAGE) as app:
        page = open_page(browser, app.address)
        wait_complete(page, ours)
        complete = time.perf_counter() - app.launched_at
        page.context.close()
    return app.answered_at - app.launched_at, complete


def _session_s(browser: Browser, app: Server, ours: bool = True) -> float:
    """Open the page like a new visitor; return the seconds until it is complete."""
    begun = time.perf_counter()
    page = open_page(browser, app.address)
    wait_complete(page, ours)
    took = time.perf_counter() - begun
    page.context.close()
    return took


def _first_points_s(browser: Browser, app: Server) -> tuple[float, float]:
    """Press Race; return the seconds until any curve, and the loss curve, has a point. Ends the race again."""
    page = open_page(browser, app.address)
    wait_complete(page)
    begun = time.perf_counter()
    page.get_by_role("button", name="Race", exact=True).click()
    page.wait_for_function(POINTS, arg="", polling="raf")
    any_curve = time.perf_counter() - begun
    page.wait_for_function(POINTS, arg="loss-", polling="raf")
    loss = time.perf_counter() - begun
    page.context.close()
    _end_races()
    return any_curve, loss


def _end_races() -> None:
    """Stop what runs and wait for its end, so that the next race starts at once."""
    end = time.monotonic() + ENDED_WITHIN_S
    with store.open_store(home.store_path()) as opened:
        for race in store.list_races(opened):
            store.request(opened, race.id, "stop")
        while any(race.state != "ended" for race in store.list_races(opened)):
            if time.monotonic() > end:
                raise RuntimeError(f"a race did not stop within {ENDED_WITHIN_S:.0f} s")
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(run.main(measure, "start"))
