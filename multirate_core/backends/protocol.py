"""What every backend can do. Pages and command line know only this."""

from __future__ import annotations

from typing import Protocol

from multirate_core.config import RaceConfig
from multirate_core.store import RaceRow
from multirate_core.store.queue import Asked


class Backend(Protocol):
    """A place where races run; results are in the store, whoever runs them."""

    def submit(self, config: RaceConfig) -> str:
        """Put a race into the queue and let it start if its device is free; return its id at once.

        Raises:
            ConfigError: this machine has no such device.
            QueueFullError: the server's owner allows no more waiting races.
        """
        ...

    def request(self, race_id: str, what: Asked) -> bool:
        """Ask a race to pause, resume or stop; False if that changes nothing."""
        ...

    def status(self, race_id: str) -> RaceRow:
        """Return the race as it is now; RaceNotFoundError if there is none."""
        ...

    def tend(self) -> None:
        """Look after the queue: mark lost races, start the next. Call it at every page load and command."""
        ...
