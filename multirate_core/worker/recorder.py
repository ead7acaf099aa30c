"""Writes a race's events in batches: few transactions, and the pages see everything soon."""

from __future__ import annotations

import time
from collections.abc import Callable

from multirate_core.events import EnvironmentFound, Event, LaneEnded, Outcome, PhaseChanged
from multirate_core.store import Store, record
from multirate_core.store.rows import Request

COMMIT_EVERY_S = 0.3


class Recorder:
    """Collects events and commits them about every 0.3 s.

    Args:
        store: of the thread that adds events.
        race_id: of the race that they belong to.
        hear: gets what the user asks of the race, at every commit.
    """

    def __init__(self, store: Store, race_id: str, hear: Callable[[Request | None], None]) -> None:
        self.lane_outcomes: dict[int, Outcome] = {}
        self._store = store
        self._race_id = race_id
        self._hear = hear
        self._batch: list[Event] = []
        self._last_commit = time.monotonic()

    def add(self, event: Event) -> None:
        """Take an event; commit if it is time, or if the engine may be silent for long after it."""
        self._batch.append(event)
        if isinstance(event, LaneEnded):
            self.lane_outcomes[event.lane] = event.outcome
        announces = isinstance(event, PhaseChanged | EnvironmentFound)
        if announces or time.monotonic() - self._last_commit >= COMMIT_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Commit what is collected; after an error it is still there."""
        if self._batch:
            self._hear(record(self._store, self._race_id, self._batch))
            self._batch = []
        self._last_commit = time.monotonic()
