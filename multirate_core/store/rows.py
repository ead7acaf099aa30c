"""What the store returns: a race and its lanes as frozen dataclasses, made from rows of the tables."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass
from typing import Any, Literal

from multirate_core import config_json
from multirate_core.config import RaceConfig
from multirate_core.errors import RaceNotFoundError
from multirate_core.events import Evaluated, Outcome
from multirate_core.store.waiting import Outlook

State = Literal["queued", "starting", "running", "paused", "parked", "ended"]
Request = Literal["pause", "stop"]


@dataclass(frozen=True)
class RaceRow:
    """A race as the store knows it at one moment. Times are seconds since 1970.

    Args:
        id: short and URL-safe.
        created_at: when it was submitted.
        config: as submitted; `device` below says which device it was given.
        state: "queued" (waits for a device), "starting" (its worker is on the way), "running", "paused" (keeps the
            device), "parked" (paused so long that the device went to the next), "ended".
        outcome: how it ended; None before.
        message: one sentence about the outcome, "" if there is nothing to say.
        traceback: for the person who mends it; "" unless something unforeseen happened.
        device: "cpu", "mps", "cuda:0", …; None before it was given one.
        candidates: the devices that would do.
        request: what the user asked for last, if it was not resumed: "pause", "stop" or None.
        pid: of the process that trains or waits; None before.
        heartbeat_at: the process's last sign of life.
        started_at: when its process began with it.
        ended_at: when it ended.
        phase: what it does now, in words.
        fraction: how far it is, in [0, 1].
        seconds_left: estimate of the wall seconds left, None if unknown; while it waits, of the race alone.
        environment: device name, threads, versions, notes.
        queue_position: 1 = next for one of its devices; None unless queued.
        wait_seconds: estimate of the wall seconds until it gets a device; None if unknown or not queued.
        summary: filled at the end, see `store.ending.summarise`.
    """

    id: str
    created_at: float
    config: RaceConfig
    state: State
    outcome: Outcome | None
    message: str
    traceback: str
    device: str | None
    candidates: tuple[str, ...]
    request: Request | None
    pid: int | None
    heartbeat_at: float | None
    started_at: float | None
    ended_at: float | None
    phase: str
    fraction: float
    seconds_left: float | None
    environment: dict[str, str]
    queue_position: int | None
    wait_seconds: float | None
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class LaneRow:
    """One lane of a race.

    Args:
        lane: its number, in the order of `RaceConfig.lanes`.
        seed: of this lane.
        arm: name of its arm.
        outcome: how it ended; None before.
        message: one sentence about the outcome.
        steps: done so far.
        epochs: done so far, with fraction.
        train_seconds: the lane's clock.
        clock: where its wall time went, in seconds: "wall", "training" and the names in `events.EXCLUDED`;
            empty before the first report.
    """

    lane: int
    seed: int
    arm: str
    outcome: Outcome | None
    message: str
    steps: int
    epochs: float
    train_seconds: float
    clock: dict[str, float]


_SAME = (
    *("id", "created_at", "state", "outcome", "message", "traceback", "device", "request", "pid", "heartbeat_at"),
    *("started_at", "ended_at", "phase", "fraction", "seconds_left"),
)


def find(connection: sqlite3.Connection, race_id: str) -> sqlite3.Row:
    """Return the race's row of the table; RaceNotFoundError if there is none."""
    row: sqlite3.Row | None = connection.execute("SELECT * FROM races WHERE id = ?", (race_id,)).fetchone()
    if row is None:
        raise RaceNotFoundError(f"there is no race {race_id[:40]!r} in this store. It may have been deleted.")
    return row


def race_row(row: sqlite3.Row, outlook: Outlook | None) -> RaceRow:
    """Make a RaceRow from a row of the table and, if the race waits, its outlook."""
    return RaceRow(
        **{name: row[name] for name in _SAME},
        config=config_json.from_json(row["config"]),
        candidates=tuple(row["candidates"].split(",")),
        environment=json.loads(row["environment"]),
        queue_position=outlook.position if outlook else None,
        wait_seconds=outlook.wait_seconds if outlook else None,
        summary=json.loads(row["summary"]) if row["summary"] else None,
    )


def lane_row(row: sqlite3.Row) -> LaneRow:
    """Make a LaneRow from a row of the table."""
    same = ("lane", "seed", "arm", "outcome", "message", "steps", "epochs", "train_seconds")
    clock: dict[str, float] = {}
    if row["wall_seconds"] is not None:
        clock = {"wall": row["wall_seconds"], "training": row["train_seconds"], **json.loads(row["excluded"])}
    return LaneRow(**{name: row[name] for name in same}, clock=clock)


def evaluated(row: sqlite3.Row) -> Evaluated:
    """Make an Evaluated from a row of the table."""
    same = ("lane", "step", "epoch", "train_seconds", "reason", "balanced_accuracy", "macro_f1", "mcc")
    return Evaluated(
        **{name: row[name] for name in same},
        accuracy=math.nan if row["accuracy"] is None else row["accuracy"],
        loss=math.nan if row["loss"] is None else row["loss"],
    )
