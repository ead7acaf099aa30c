"""What the backends share that keep their queue in a store on this machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multirate_core import store
from multirate_core.config import RaceConfig
from multirate_core.store.queue import Asked
from multirate_core.worker.launch import COMMAND, tend


@dataclass(frozen=True)
class StoredBackend(ABC):
    """Implements `Backend` but for `submit`; may be used by several threads.

    Args:
        path: of the store.
        command: starts a worker.
    """

    path: Path
    command: Sequence[str] = COMMAND

    @abstractmethod
    def submit(self, config: RaceConfig) -> str:
        """Put a race into the queue and let it start if its device is free; return its id at once."""

    def request(self, race_id: str, what: Asked) -> bool:
        """Ask a race to pause, resume or stop; its process sees it within about a second."""
        with store.open_store(self.path) as opened:
            return store.request(opened, race_id, what)

    def status(self, race_id: str) -> store.RaceRow:
        """Return the race as it is now."""
        with store.open_store(self.path) as opened:
            return store.get_race(opened, race_id)

    def tend(self) -> None:
        """Mark lost races and start the next."""
        with store.open_store(self.path) as opened:
            tend(opened, self.command)
