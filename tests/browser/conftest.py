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
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="Playwright is missing: pip install -e '.[dev]'")

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT_S = 60.0

StartServer = Callable[..., str]
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
        pytest.skip("no Chromium found: apt-get install chromium, or name one by CHROMIUM=/path/to/chromium")
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


@pytest.fixture(scope="session")
def streamlit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start `streamlit run SCRIPT` on a free port: streamlit_server(script, **environment) -> address.

    Each server has an empty MULTIRATE_HOME unless one is given, and is stopped when the tests end.
    """
    with contextlib.ExitStack() as stack:

        def start(script: Path, **environment: str) -> str:
            home = environment.pop("MULTIRATE_HOME", None) or str(tmp_path_factory.mktemp("home"))
            process, address, log = _spawn(script, {**environment, "MULTIRATE_HOME": home}, tmp_path_factory)
            stack.callback(_stop, process)
            _await_health(address, process, log)
            return address

        yield start


def _spawn(
    script: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.Popen[bytes], str, Path]:
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "streamlit.log"
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType", "none"]
    command += ["--browser.gatherUsageStats", "false"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out)
    return process, f"http://127.0.0.1:{port}", log


def _await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
