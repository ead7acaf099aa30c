"""Progress of a race on stderr: one line that is rewritten on a terminal, a line now and then in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

from multirate_core import store
from multirate_core.metrics import metric_format
from multirate_core.store import RaceRow

LINE_EVERY_S = 10.0
QUIET_S = 3.0  # a queue that is shorter than this is not worth a line


class ProgressLines:
    """Says how a race goes.

    Where the lines stay (no terminal), nothing is said before training begins or a queue turns out to be long: bad
    input that the worker finds should leave one line and no more.

    Args:
        out: where to write.
        path: of the store.
    """

    def __init__(self, out: TextIO, path: Path) -> None:
        self._out = out
        self._path = path
        self._rewrite = out.isatty()
        self._begun = time.monotonic()
        self._last = -LINE_EVERY_S
        self._text = ""

    def show(self, race: RaceRow) -> None:
        """Write the present state, not too often."""
        now = time.monotonic()
        if not self._rewrite and (now - self._last < LINE_EVERY_S or not self._worth_a_line(race, now)):
            return
        text = self._line(race)
        if text != self._text:
            self._last, self._text = now, text
            print(f"\r\x1b[K{text}" if self._rewrite else text, end="" if self._rewrite else "\n", file=self._out)
            self._out.flush()

    def clear(self) -> None:
        """Remove the line from the terminal."""
        if self._rewrite and self._text:
            print("\r\x1b[K", end="", file=self._out, flush=True)

    def _worth_a_line(self, race: RaceRow, now: float) -> bool:
        if race.state == "queued":
            return now - self._begun > QUIET_S
        return race.state in ("paused", "parked") or race.fraction > 0

    def _line(self, race: RaceRow) -> str:
        if race.state == "queued":
            wait = f", about {race.wait_seconds:.0f} s" if race.wait_seconds is not None else ""
            return f"race {race.id} waits for a device: place {race.queue_position}{wait}"
        if race.state != "running":
            return f"race {race.id}: {race.state}"
        if race.fraction == 0:
            return f"race {race.id}: {race.phase or 'starting'}"
        left = f", about {race.seconds_left:.0f} s left" if race.seconds_left is not None else ""
        return f"race {race.id}: {race.fraction:.0%}{left}; {self._scores(race)}"

    def _scores(self, race: RaceRow) -> str:
        """Return the last value of the race's metric of the newest lane of every arm."""
        with store.open_store(self._path) as opened:
            lanes = {lane.lane: lane.arm for lane in store.lanes(opened, race.id)}
            tests = store.evaluations(opened, race.id)
        metric = race.config.metric
        newest = {lanes[test.lane]: score for test in tests if (score := test.score(metric)) is not None}
        form = metric_format(metric, 1)
        return ", ".join(f"{race.config.title(arm)} {score:{form}}" for arm, score in newest.items())
