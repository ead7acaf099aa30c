"""How long this project waits for the internet. Standard library only."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from typing import Final

SILENCE_S: Final = 20.0  # a connection that says nothing for so long is given up

# What a failed download raises: no network (URLError is an OSError), a full disk, a wrong check sum, a broken answer.
FAILURES: Final = (OSError, RuntimeError, http.client.HTTPException)


@contextlib.contextmanager
def patience(seconds: float = SILENCE_S) -> Iterator[None]:
    """Give up on connections made inside this block that stay silent: the libraries used set no time limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
