"""What the browser tests need beside their page: where Chromium is, and Streamlit servers that a test may kill."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

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

OpenPage = Callable[..., Page]
StartServer = Callable[..., "Server"]


def chromium_path() -> str | None:
    """Where a Chromium is: $CHROMIUM, the usual place, or the search path."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    usual = "/usr/bin/chromium"
    return usual if Path(usual).exists() else shutil.which("chromium-browser") or shutil.which("google-chrome")


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


@dataclass(frozen=True)
class Archive:
    """A server of the app and the three ended races in its home: k = 9, k = 5, and one that only left the queue."""

    server: Server
    new: str
    old: str
    gone: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def small_race(k: int) -> RaceConfig:
    """SGD against multirate on 96 of the digits, the last layers fast."""
    groups = (GroupSpec("fast", 1), GroupSpec("slow", k))
    partition = PartitionSpec(groups, (Rule("layer3", "fast"), Rule("fc", "fast"), Rule("*", "slow")))
    arms = (ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", partition))
    data = DataConfig("digits", train_images=96)
    return RaceConfig(arms=arms, data=data, recipe=Recipe(lr=0.02), budget=Budget(epochs=2), threads=1)
