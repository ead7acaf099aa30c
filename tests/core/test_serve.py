"""The server's start: private unless it is opened on purpose, and then only under this machine's own names."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from multirate_core.errors import ConfigError
from multirate_core.serve import is_loopback, own_hosts, server_command


def test_without_a_host_only_this_computer_reaches_the_app() -> None:
    command = server_command("127.0.0.1", 8501)
    assert "--server.address=127.0.0.1" in command
    hosts = {word.partition("=")[2] for word in command if word.startswith("--server.allowedHosts")}
    assert hosts == {"localhost", "127.0.0.1", "::1"}


def test_an_open_server_allows_exactly_the_names_of_this_machine() -> None:
    command = server_command("0.0.0.0", 8501)
    hosts = {word.partition("=")[2] for word in command if word.startswith("--server.allowedHosts")}
    assert hosts == set(own_hosts())
    assert "*" not in hosts
    assert any(word.startswith("--browser.serverAddress=") for word in command)  # or Streamlit asks outside for it


def test_a_host_that_is_not_this_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no address of this machine"):
        server_command("evil.example", 8501)


@pytest.mark.parametrize("port", [0, 65_536, -1])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match="port must be a whole number"):
        server_command("127.0.0.1", port)


def test_loopback_is_told_from_the_network() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.0.0.2", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"))


def test_a_bad_host_is_one_line_and_exit_code_two() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "multirate_core.serve", "--host", "evil.example"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there, the server is a child of the command")
def test_who_ends_the_command_ends_the_server(own_home: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "multirate_core.serve", "--port", str(port)]
    environment = {**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        until(lambda: answers(port))
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        until(lambda: not answers(port))
        assert not [child for child in children if child.is_running()]
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
