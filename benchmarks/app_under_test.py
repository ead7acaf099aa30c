"""The real app in a real browser: a server of its own on a free port, and Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from benchmarks import ROOT
from benchmarks.run import NotMeasurableError
from multirate_core import home
from multirate_core.serve import APP, server_command

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WITHIN_S = 90.0
ASK_EVERY_S = 0.01
WINDOW = ViewportSize(width=1400, height=1000)

# A page is complete when the board has rows, the race can be started, and the server has finished its run.
# Of a page that is not ours there is only the button.
COMPLETE = """(ours) => {
  const row = [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
    .some((each) => each.shadowRoot?.querySelector('.row'));
  const race = [...document.querySelectorAll('button')].find((button) => button.textContent.endsWith('Race'));
  const app = document.querySelector('[data-testid=stApp]');
  return Boolean((row || !ours) && race && !race.disabled && app?.dataset.testScriptState === 'notRunning');
}"""


@dataclass(frozen=True)
class Server:
    """A running server.

    Args:
        address: to open in a browser.
        process: of the server itself.
        launched_at: when it was started, on the clock of `time.perf_counter`.
        answered_at: when it answered for the first time, on the same clock.
    """

    address: str
    process: psutil.Process
    launched_at: float
    answered_at: float

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def has_loaded(self, library: str) -> bool:
        """Tell whether a file with this in its name is mapped into the server's memory."""
        return any(library in mapping.path for mapping in self.process.memory_maps())


@contextmanager
def server(module: str = "streamlit", script: Path = APP, **environment: str) -> Iterator[Server]:
    """Start the app's server as `make app` does, on a free port, and stop it afterwards.

    Args:
        module: what runs in Streamlit's place, with its command line.
        script: what it shows in the app's place.
        environment: further variables for it.
    """
    port = _free_port()
    instead = {"streamlit": module, str(APP): str(script)}
    command = [instead.get(word, word) for word in server_command("127.0.0.1", port)]
    with (home.home_folder() / "server.log").open("ab") as log:
        launched_at = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for_answer(f"{address}/_stcore/health", process, Path(log.name))
            yield Server(address, psutil.Process(process.pid), launched_at, time.perf_counter())
        finally:
            _stop(process)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium; NotMeasurableError if there is none."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    path = path or shutil.which("google-chrome")
    if path is None:
        raise NotMeasurableError(
            "no Chromium found: apt-get install chromium, or name one by CHROMIUM=/path/to/chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, address: str) -> Page:
    """Open an address like a new visitor: nothing cached, no session."""
    page = browser.new_context(viewport=WINDOW).new_page()
    page.set_default_timeout(WITHIN_S * 1e3)
    page.goto(address, wait_until="commit")
    return page


def wait_complete(page: Page, ours: bool = True) -> None:
    """Wait until the Explore page, or another one with a Race button, is complete, looking at every frame."""
    page.wait_for_function(COMPLETE, arg=ours, polling="raf")


def _wait_for_answer(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(ASK_EVERY_S)
    print(log.read_text(encoding="utf-8", errors="replace")[-2000:], file=sys.stderr)
    raise RuntimeError(f"the server did not answer within {WITHIN_S:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
