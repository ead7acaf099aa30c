"""A real Chromium and a real Streamlit server for the browser tests.

Tests act by mouse, keyboard and touch only, and read by `evaluate` or from text on the page.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: pip install -e '.[dev]'")

from app_steps import end_races
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from servers import CHROMIUM_ARGS, ROOT, Archive, OpenPage, Server, StartServer, chromium_path, free_port, small_race

from multirate_core import store as races
from multirate_core.backends.inline import Inline

expect.set_options(timeout=20_000)  # a loaded machine is slow, not wrong
MEDIA = {"color_scheme", "reduced_motion"}  # what a page of any context can be told


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser process for all tests; every test opens its own context in it."""
    path = chromium_path()
    if path is None:
        missing = "no Chromium found: apt-get install chromium, or name one by CHROMIUM=/path/to/chromium"
        # Continuous integration must not pass without these tests.
        (pytest.fail if os.environ.get("MULTIRATE_REQUIRE_BROWSER") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def profile(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A context with a cache on disk, for one page at a time.

    Only there does Chromium keep what it compiled, and a page of Streamlit opens in half the time.
    """
    folder = tmp_path_factory.mktemp("profile")
    context = chromium.browser_type.launch_persistent_context(
        folder, executable_path=chromium_path(), args=CHROMIUM_ARGS, no_viewport=True
    )
    yield context
    context.close()


@pytest.fixture
def open_page(chromium: Browser, profile: BrowserContext) -> Iterator[OpenPage]:
    """Open an address: open_page(url, width=1280, height=900, empty_cache=False, **options of the context).

    Every page has cookies and storage of its own. A test's first one finds the app's files in its cache, unless that is
    to be empty or there are options that only a context of its own can have. The test fails if a page threw an error
    that nothing caught.
    """
    opened: list[Page] = []
    errors: list[str] = []

    def start(url: str, width: int = 1280, height: int = 900, empty_cache: bool = False, **options: object) -> Page:
        if not opened and not empty_cache and options.keys() <= MEDIA:
            page = profile.new_page()
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(**{name: options.get(name, "null") for name in MEDIA})
        else:
            page = chromium.new_context(viewport={"width": width, "height": height}, **options).new_page()
        opened.append(page)
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(url)
        return page

    yield start
    for page in opened:
        if page.context is not profile:
            page.context.close()
    _forget(profile)
    assert errors == []


def _forget(profile: BrowserContext) -> None:
    """Close the profile's pages and delete what they stored; the cache stays."""
    for page in profile.pages[1:]:  # the first is the blank one that keeps the browser open
        origin = page.evaluate("location.origin")
        page.context.new_cdp_session(page).send(
            "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "cookies,local_storage,indexeddb"}
        )
        page.close()
    profile.clear_cookies()
    profile.clear_permissions()


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start a server: start_server(script, home=None, **environment) -> Server.

    Its MULTIRATE_HOME is an empty folder unless one is given. All servers are stopped when the tests end.
    """
    with contextlib.ExitStack() as stack:

        def start(script: Path, home: Path | None = None, **environment: str) -> Server:
            log = tmp_path_factory.mktemp("server") / "streamlit.log"
            server = Server(script, home or tmp_path_factory.mktemp("home"), log, environment, free_port())
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture(scope="session")
def streamlit_server(start_server: StartServer) -> Callable[..., str]:
    """Start a server and return its address, for tests that need no more: streamlit_server(script) -> address."""
    return lambda script, **options: start_server(script, **options).address


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server that paths typed on the page may reach, beside the shared data."""
    return tmp_path_factory.mktemp("folders")


@pytest.fixture(scope="session")
def app(start_server: StartServer, folders: Path) -> Server:
    """The server of the whole app that most tests share."""
    allowed = os.pathsep.join(filter(None, [str(folders), os.environ.get("MULTIRATE_SHARED")]))
    return start_server(ROOT / "app.py", MULTIRATE_DATA_FOLDERS=allowed)


@pytest.fixture
def free_device(app: Server) -> Iterator[None]:
    """Leave no race behind."""
    yield
    end_races(app.home)


@pytest.fixture(scope="session")
def archive(start_server: StartServer) -> Archive:
    """Race twice in this process; nothing else is ever raced on this server."""
    server = start_server(ROOT / "app.py")
    path = server.home / "races.sqlite3"
    with races.open_store(path) as store:
        gone = races.submit(store, small_race(5))
        races.request(store, gone, "stop")
        ids = [Inline(path).submit(small_race(k)) for k in (5, 9)]
        while any(races.get_race(store, race).state != "ended" for race in ids):
            time.sleep(0.1)
        assert {races.get_race(store, race).outcome for race in ids} == {"finished"}
    return Archive(server, ids[1], ids[0], gone)
