"""What a worker says: lines in the log of its race, which lies on the same disk as the store."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Add a line to the log; a disk that is too full for it must end neither the race nor its heartbeat."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
