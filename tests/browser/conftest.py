"""A real Chromium and a real Streamlit server for the browser tests.

Tests act by mouse, keyboard and touch only, and read by `evaluate` or from text on the page.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: pip install -e '.[dev]'")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from multirate_core import store as races
from multirate_core.backends.inline import Inline
from multirate_core.config import ArmConfig, Budget, DataConfig, GroupSpec, PartitionSpec, RaceConfig, Recipe, Rule

ROOT = Path(__file__).parents[2]
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT_S = 60.0

expect.set_options(timeout=20_000)  # a loaded machine is slow, not wrong

StartServer = Callable[..., "Server"]
OpenPage = Callable[..., Page]


def chromium_path() -> str | None:
    """Where a Chromium is: $CHROMIUM, the usual place, or the search path."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    usual = "/usr/bin/chromium"
    return usual if Path(usual).exists() else shutil.which("chromium-browser") or shutil.which("google-chrome")


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


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Open an address in a fresh context: open_page(url, width=1280, height=900, **options of the context).

    The test fails if the page threw an error that nothing caught.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def start(url: str, width: int = 1280, height: int = 900, **options: object) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert errors == []


@dataclass
class Server:
    """A `streamlit run` process that a test may stop, kill and start again on the same port."""

    script: Path
    home: Path
    log: Path
    environment: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"port": self.port, "address": "127.0.0.1", "headless": "true", "fileWatcherType": "none"}
        command = [sys.executable, "-m", "streamlit", "run", str(self.script), "--browser.gatherUsageStats", "false"]
        for name, value in options.items():
            command += [f"--server.{name}", str(value)]
        environment = {**os.environ, **self.environment, "MULTIRATE_HOME": str(self.home)}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        end = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                pytest.fail(f"the server did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self, *, kill: bool = False) -> None:
        """End it, by SIGKILL if asked or if it does not go by itself."""
        if self.process is None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server that paths typed on the page may reach, beside the shared data."""
    return tmp_path_factory.mktemp("folders")


@pytest.fixture(scope="session")
def app(start_server: StartServer, folders: Path) -> Server:
    """The server of the whole app that most tests share."""
    allowed = os.pathsep.join(filter(None, [str(folders), os.environ.get("MULTIRATE_SHARED")]))
    return start_server(ROOT / "app.py", MULTIRATE_DATA_FOLDERS=allowed)


@dataclass(frozen=True)
class Archive:
    """A server of the app and the three ended races in its home: k = 9, k = 5, and one that only left the queue."""

    server: Server
    new: str
    old: str
    gone: str


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


def small_race(k: int) -> RaceConfig:
    """SGD against multirate on 96 of the digits, the last layers fast."""
    groups = (GroupSpec("fast", 1), GroupSpec("slow", k))
    partition = PartitionSpec(groups, (Rule("layer3", "fast"), Rule("fc", "fast"), Rule("*", "slow")))
    arms = (ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", partition))
    data = DataConfig("digits", train_images=96)
    return RaceConfig(arms=arms, data=data, recipe=Recipe(lr=0.02), budget=Budget(epochs=2), threads=1)
