"""Where the wall time of a seed goes: every second is measured where it is spent and charged to one lane or to all.

Nothing is computed as "the rest": training and the named parts are each taken with their own clock, so that their sum
can be compared with the wall time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from multirate_core.events import EXCLUDED, Event, Excluded, LaneClock

Activity = Literal["training"] | Excluded


class Timeline:
    """The wall clock of one seed and what was charged to it so far.

    Args:
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._started = now()
        self._spent: defaultdict[tuple[int | None, Activity], float] = defaultdict(float)

    def charge(self, lane: int | None, activity: Activity, seconds: float) -> None:
        """Add seconds that were spent on a lane, or on the whole race (None)."""
        self._spent[lane, activity] += seconds

    @contextmanager
    def measure(self, lane: int | None, activity: Activity) -> Iterator[None]:
        """Charge the time that the `with` block takes."""
        begun = self._now()
        try:
            yield
        finally:
            self.charge(lane, activity, self._now() - begun)

    def watch_consumer(self, events: Iterator[Event]) -> Iterator[Event]:
        """Pass the events on; the time until the next one is asked for is the consumer's, charged as recording."""
        for event in events:
            begun = self._now()
            yield event
            self.charge(None, "recording", self._now() - begun)

    def wall_seconds(self) -> float:
        """Return the seconds since the seed began."""
        return self._now() - self._started

    def spent(self, activity: Activity) -> float:
        """Return what was charged for an activity, over all lanes."""
        return sum(seconds for (_, kind), seconds in self._spent.items() if kind == activity)

    def clock(self, lane: int) -> LaneClock:
        """Return a lane's view: its own parts, the shared ones, and the other lanes' work as "other_arms"."""
        excluded: dict[str, float] = dict.fromkeys(EXCLUDED, 0.0)
        training = 0.0
        for (owner, activity), seconds in self._spent.items():
            if owner is not None and owner != lane:
                excluded["other_arms"] += seconds
            elif activity == "training":
                training += seconds
            else:
                excluded[activity] += seconds
        return LaneClock(lane, self.wall_seconds(), training, excluded)
