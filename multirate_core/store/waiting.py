"""Who waits for which device, who is next, and for how long about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from multirate_core.schema import HOLDING

# How many earlier races of the same kind an estimate looks at.
HISTORY = 5

_HOLDING_SQL = ", ".join(f"'{state}'" for state in HOLDING)


@dataclass(frozen=True)
class Waiting:
    """A race that waits.

    Args:
        id: of the race.
        candidates: devices that would do, best first.
        has_process: a living process waits with it and takes the device by itself.
        expected_seconds: wall seconds that it will run, None if unknown.
    """

    id: str
    candidates: tuple[str, ...]
    has_process: bool = False
    expected_seconds: float | None = None


@dataclass(frozen=True)
class Outlook:
    """A waiting race's place (1 = next for one of its devices) and wall seconds until then (None if unknown)."""

    position: int
    wait_seconds: float | None


def allocate(waiting: Iterable[Waiting], busy: Iterable[str]) -> dict[str, str]:
    """Give every free device to the first that waits for it.

    Args:
        waiting: in queue order.
        busy: devices that are held.

    Returns:
        race id -> device, in queue order, for the races whose turn it is.
    """
    taken = set(busy)
    turns: dict[str, str] = {}
    for race in waiting:
        device = next((device for device in race.candidates if device not in taken), None)
        if device is not None:
            turns[race.id] = device
            taken.add(device)
    return turns


def waiting_races(connection: sqlite3.Connection) -> list[Waiting]:
    """Return the waiting races in queue order, without estimates."""
    rows = connection.execute("SELECT id, candidates, pid FROM races WHERE state = 'queued' ORDER BY queue_number")
    return [Waiting(row["id"], tuple(row["candidates"].split(",")), row["pid"] is not None) for row in rows]


def busy_devices(connection: sqlite3.Connection) -> set[str]:
    """Return the devices that a race holds."""
    return {row[0] for row in connection.execute(f"SELECT device FROM races WHERE state IN ({_HOLDING_SQL})")}


def outlooks(connection: sqlite3.Connection, now: float) -> dict[str, Outlook]:
    """Return place and expected wait of every waiting race; `now` in seconds since 1970."""
    rows = connection.execute("SELECT * FROM races WHERE state = 'queued' ORDER BY queue_number").fetchall()
    if not rows:
        return {}
    queue = [
        Waiting(row["id"], tuple(row["candidates"].split(",")), expected_seconds=_expected_seconds(connection, row))
        for row in rows
    ]
    holders = connection.execute(f"SELECT * FROM races WHERE state IN ({_HOLDING_SQL})").fetchall()
    return simulate(queue, {row["device"]: _seconds_left(connection, row, now) for row in holders})


def simulate(queue: Sequence[Waiting], free_in: dict[str, float | None]) -> dict[str, Outlook]:
    """Play the queue through.

    Args:
        queue: in order.
        free_in: seconds until each held device is free, None if unknown; other devices are free now.

    Returns:
        race id -> Outlook.
    """
    free_in = dict(free_in)
    result: dict[str, Outlook] = {}
    for number, race in enumerate(queue):
        ahead = sum(bool(set(race.candidates) & set(other.candidates)) for other in queue[:number])
        known = {d: wait for d in race.candidates if (wait := free_in.get(d, 0.0)) is not None}
        device = min(known, key=lambda d: known[d]) if known else race.candidates[0]
        wait = known.get(device)
        result[race.id] = Outlook(ahead + 1, wait)
        unknown = wait is None or race.expected_seconds is None
        free_in[device] = None if unknown else wait + race.expected_seconds  # type: ignore[operator]
    return result


def _seconds_left(connection: sqlite3.Connection, row: sqlite3.Row, now: float) -> float | None:
    """Return the seconds until a race gives its device back; None if it is paused or nothing is known."""
    if row["state"] == "paused":
        return None
    if row["seconds_left"] is not None:
        return max(0.0, float(row["seconds_left"]) - (now - float(row["progress_at"])))
    expected = _expected_seconds(connection, row)
    return None if expected is None else max(0.0, expected - (now - float(row["state_since"])))


def _expected_seconds(connection: sqlite3.Connection, row: sqlite3.Row) -> float | None:
    """Return how long a race should run: its own report, else earlier races of its kind, else its budget in seconds."""
    if row["seconds_left"] is not None:
        return float(row["seconds_left"])
    pace = connection.execute(
        "SELECT (ended_at - started_at) / work FROM races WHERE likeness = ? AND outcome = 'finished' AND work > 0 "
        "AND started_at IS NOT NULL AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT ?",
        (row["likeness"], HISTORY),
    ).fetchall()
    if pace:
        return float(median(value for (value,) in pace)) * float(row["work"])
    return float(row["work"]) if row["likeness"].startswith("seconds") else None
