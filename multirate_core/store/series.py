"""What a race recorded: steps, evaluations, lanes. `record` writes one batch of events in one transaction."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Sequence

from multirate_core.errors import StoreError
from multirate_core.events import (
    EnvironmentFound,
    Evaluated,
    Event,
    LaneClock,
    LaneEnded,
    PhaseChanged,
    Progress,
    StepsRecorded,
)
from multirate_core.store import packing
from multirate_core.store.connection import Store, reading, storable, writing
from multirate_core.store.packing import StepColumns
from multirate_core.store.rows import LaneRow, Request, evaluated, find, lane_row


def record(store: Store, race_id: str, events: Sequence[Event]) -> Request | None:
    """Write a batch of events, all or none.

    Returns:
        What the user asks of the race: "pause", "stop" or None.

    Raises:
        StoreError: the race has ended (it was marked lost, for example), steps are missing, or the disk is full.
    """
    steps: dict[int, list[StepsRecorded]] = {}
    with writing(store) as connection:
        row = find(connection, race_id)
        if row["state"] == "ended":
            raise StoreError(f"the race {race_id} has ended ({row['outcome']}): nothing more can be recorded.")
        for event in events:
            if isinstance(event, StepsRecorded):
                steps.setdefault(event.lane, []).append(event)
            else:
                _write(connection, race_id, event)
        for lane, parts in steps.items():
            _write_steps(connection, race_id, lane, parts)
    request: Request | None = row["request"]
    return request


def steps_since(store: Store, race_id: str, lane: int, step: int = 0) -> StepColumns:
    """Return the lane's recorded steps from index `step` on (0 = all); possibly none.

    Pass `first_step + len(columns)` of the last answer to get only what is new.
    """
    with reading(store) as connection:
        rows = connection.execute(
            "SELECT first_step, records FROM step_chunks WHERE race = ? AND lane = ? AND first_step >= "
            "(SELECT ifnull(max(first_step), 0) FROM step_chunks WHERE race = ? AND lane = ? AND first_step <= ?) "
            "ORDER BY first_step",
            (race_id, lane, race_id, lane, step),
        ).fetchall()
    skip = max(0, step - rows[0]["first_step"]) if rows else 0
    return packing.unpack(step, packing.part(b"".join(row["records"] for row in rows), skip))


def evaluations(store: Store, race_id: str) -> list[Evaluated]:
    """Return all evaluations of the race, by lane, in the order in which they were made."""
    with reading(store) as connection:
        rows = connection.execute(
            "SELECT * FROM evaluations WHERE race = ? ORDER BY lane, rowid", (race_id,)
        ).fetchall()
    return [evaluated(row) for row in rows]


def evaluations_after(store: Store, race_id: str, mark: int = 0) -> tuple[list[Evaluated], int]:
    """Return the evaluations that are new since `mark` (0 = all), as they were made, and the mark for the next call."""
    with reading(store) as connection:
        rows = connection.execute(
            "SELECT rowid, * FROM evaluations WHERE race = ? AND rowid > ? ORDER BY rowid", (race_id, mark)
        ).fetchall()
    return [evaluated(row) for row in rows], rows[-1]["rowid"] if rows else mark


def lanes(store: Store, race_id: str) -> list[LaneRow]:
    """Return the race's lanes in order."""
    with reading(store) as connection:
        rows = connection.execute("SELECT * FROM lanes WHERE race = ? ORDER BY lane", (race_id,)).fetchall()
    return [lane_row(row) for row in rows]


def phases(store: Store, race_id: str) -> list[tuple[float, str]]:
    """Return what the race did and when, in seconds since 1970."""
    with reading(store) as connection:
        rows = connection.execute("SELECT at, text FROM phases WHERE race = ? ORDER BY rowid", (race_id,)).fetchall()
    return [(row["at"], row["text"]) for row in rows]


def _write_steps(connection: sqlite3.Connection, race_id: str, lane: int, events: Sequence[StepsRecorded]) -> None:
    """Append a chunk; StoreError unless its steps follow the last one."""
    events = [event for event in events if event.loss]
    for event in events:
        end = event.first_step + len(event.loss)
        done = connection.execute(
            "UPDATE lanes SET recorded_steps = ?, steps = max(steps, ?), epochs = max(epochs, ?), "
            "train_seconds = max(train_seconds, ?) WHERE race = ? AND lane = ? AND recorded_steps = ?",
            (end, end, event.epochs, event.train_seconds[-1], race_id, lane, event.first_step),
        )
        if done.rowcount != 1:
            raise StoreError(f"lane {lane} of race {race_id}: step {event.first_step} does not follow the last one.")
    if events:
        connection.execute(
            "INSERT INTO step_chunks (race, lane, first_step, records) VALUES (?, ?, ?, ?)",
            (race_id, lane, events[0].first_step, packing.pack(events)),
        )


def _write(connection: sqlite3.Connection, race_id: str, event: Event) -> None:
    """Write any event but steps."""
    now = time.time()
    if isinstance(event, Evaluated):
        _write_evaluation(connection, race_id, event)
    elif isinstance(event, LaneClock):
        connection.execute(
            "UPDATE lanes SET wall_seconds = ?, train_seconds = ?, excluded = ? WHERE race = ? AND lane = ?",
            (event.wall_seconds, event.train_seconds, json.dumps(event.excluded), race_id, event.lane),
        )
    elif isinstance(event, LaneEnded):
        connection.execute(
            "UPDATE lanes SET outcome = ?, message = ?, steps = ?, epochs = ?, train_seconds = ? "
            "WHERE race = ? AND lane = ?",
            (event.outcome, event.message, event.steps, event.epochs, event.train_seconds, race_id, event.lane),
        )
    elif isinstance(event, Progress):
        connection.execute(
            "UPDATE races SET fraction = ?, seconds_left = ?, progress_at = ? WHERE id = ?",
            (event.fraction, event.seconds_left, now, race_id),
        )
    elif isinstance(event, PhaseChanged):
        connection.execute("UPDATE races SET phase = ? WHERE id = ?", (event.text, race_id))
        connection.execute("INSERT INTO phases (race, at, text) VALUES (?, ?, ?)", (race_id, now, event.text))
    elif isinstance(event, EnvironmentFound):
        known = json.loads(find(connection, race_id)["environment"])
        values = {name: storable(value) for name, value in event.values.items()}  # before JSON has its own backslashes
        text = json.dumps({**known, **values}, ensure_ascii=False)
        connection.execute("UPDATE races SET environment = ? WHERE id = ?", (text, race_id))
    else:
        raise TypeError(f"the store cannot record {type(event).__name__}")


def _write_evaluation(connection: sqlite3.Connection, race_id: str, event: Evaluated) -> None:
    numbers = [None if math.isnan(value) else value for value in (event.accuracy, event.loss)]
    by_class = (event.balanced_accuracy, event.macro_f1, event.mcc)
    connection.execute(
        "INSERT INTO evaluations (race, lane, step, epoch, train_seconds, accuracy, loss, reason, balanced_accuracy, "
        "macro_f1, mcc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (race_id, event.lane, event.step, event.epoch, event.train_seconds, *numbers, event.reason, *by_class),
    )
    connection.execute(
        "UPDATE lanes SET steps = max(steps, ?), epochs = max(epochs, ?), train_seconds = max(train_seconds, ?) "
        "WHERE race = ? AND lane = ?",
        (event.step, event.epoch, event.train_seconds, race_id, event.lane),
    )
