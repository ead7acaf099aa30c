"""Start the app's server: on this computer only, or open to a class.

`python -m multirate_core.serve` binds to loopback; `--host 0.0.0.0` (what `make app HOST=0.0.0.0` calls) opens it to
the network, allows exactly the names and addresses of this machine as hosts, and says what that means.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from multirate_core.errors import ConfigError

ANY_ADDRESS = ("0.0.0.0", "::")
APP = Path(__file__).resolve().parent.parent / "app.py"

OPEN_WARNING = """\
The app is open to everyone who reaches {hosts} on port {port}.
They can start races on this machine, read and delete every race, and read images below the allowed data folders
(MULTIRATE_DATA_FOLDERS). There is no password and no encryption: use it in a room that you trust, or put a reverse
proxy with both in front. MULTIRATE_MAX_QUEUED limits how many races may wait. Stop with Ctrl+C."""


def own_hosts() -> list[str]:
    """Return the names and addresses under which this machine can be reached, without asking the network."""
    addresses = [a.address.split("%")[0] for card in psutil.net_if_addrs().values() for a in card]
    names = [socket.gethostname(), f"{socket.gethostname()}.local"]
    return sorted({"localhost", *names, *(a for a in addresses if _is_address(a))})


def server_command(host: str, port: int) -> list[str]:
    """Return the command line that starts Streamlit.

    Args:
        host: address to bind to, or a name of this machine; a loopback one keeps the app private.
        port: TCP port, 1 to 65535.

    Raises:
        ConfigError: the port is out of range or the host is not one of this machine.
    """
    if not 1 <= port <= 65_535:
        raise ConfigError(f"port must be a whole number from 1 to 65535, got {port}. Try PORT=8501.")
    command = [sys.executable, "-m", "streamlit", "run", str(APP), f"--server.port={port}"]
    command += [f"--server.address={host}"]
    hosts = ["localhost", "127.0.0.1", "::1"] if is_loopback(host) else allowed_hosts(host)
    if not is_loopback(host):
        # Without a name to print, Streamlit asks a server outside for this machine's address.
        command += [f"--browser.serverAddress={socket.gethostname() if host in ANY_ADDRESS else host}"]
    return [*command, *(f"--server.allowedHosts={name}" for name in hosts)]


def allowed_hosts(host: str) -> list[str]:
    """Return the host names that browsers may use when the app is opened on `host`."""
    hosts = own_hosts()
    if host in ANY_ADDRESS:
        return hosts
    if host not in hosts:
        raise ConfigError(f"{host!r} is no address of this machine. Use 0.0.0.0 for all, or one of {', '.join(hosts)}.")
    return ["localhost", host]


def is_loopback(host: str) -> bool:
    """Tell whether only this computer can reach `host`."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the server until it is stopped; 2 for a host or port that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m multirate_core.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8501, help="TCP port (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        command = server_command(options.host, options.port)
    except ConfigError as error:
        print(f"multirate: {error}", file=sys.stderr)
        return 2
    if not is_loopback(options.host):
        print(OPEN_WARNING.format(hosts=", ".join(own_hosts()), port=options.port), file=sys.stderr)
    else:
        print(f"Open http://localhost:{options.port} in a browser on this computer. Stop with Ctrl+C.", flush=True)
    sys.stdout.flush()
    os.chdir(APP.parent)
    if sys.platform != "win32":  # there, a process that replaces another one is a new one that nobody waits for
        os.execv(command[0], command)  # so that who ends this process ends the server
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main())
