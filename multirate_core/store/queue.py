"""The queue and the states of a race: who gets a device, what the user asks for, pause and resume.

    queued ─ start_next → starting ─ claim → running ⇄ paused        (set_paused, set_running)
    paused ─ park → parked ─ requeue → queued ─ take_turn → running  (the process stays, and waits)
    every state ─ finish → ended

A race that waits without a process gets one from `start_next`. A race whose process waits with it (it runs inline, or
it was parked and resumed) takes its turn by itself with `take_turn`. Every change is one transaction under the
store's write lock, and the database refuses a second holder of a device.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from typing import Literal

from multirate_core.errors import ConfigError, StoreError
from multirate_core.machine import process_start
from multirate_core.schema import HOLDING
from multirate_core.store.connection import Store, reading, writing
from multirate_core.store.ending import end, finish
from multirate_core.store.races import get_race, next_queue_number
from multirate_core.store.rows import RaceRow, find
from multirate_core.store.waiting import allocate, busy_devices, waiting_races

Asked = Literal["pause", "resume", "stop"]


def request(store: Store, race_id: str, what: Asked) -> bool:
    """Ask something of a race; its process sees it within about a second.

    Args:
        what: "stop" cancels a waiting race at once; "pause" and "resume" do nothing where they make no sense.

    Returns:
        False if nothing was changed: the race has ended, is to stop already, or only waits.
    """
    if what not in ("pause", "resume", "stop"):
        raise ConfigError(f"a race can be asked to pause, resume or stop, got {what!r}.")
    with writing(store) as connection:
        row = find(connection, race_id)
        if row["state"] == "ended" or row["request"] == "stop":
            return False
        if row["state"] == "queued" and row["pid"] is None:
            return what == "stop" and end(connection, race_id, "stopped", "cancelled while it waited")
        connection.execute("UPDATE races SET request = ? WHERE id = ?", (None if what == "resume" else what, race_id))
    return True


def start_next(store: Store, spawn: Callable[[str], int]) -> list[str]:
    """Give every free device to the oldest race that waits for it, and start their workers.

    Args:
        spawn: starts a worker for a race id and returns its pid; OSError if it cannot.

    Returns:
        Ids of the races whose workers were started.
    """
    started: list[str] = []
    while (race_id := _assign(store)) is not None:
        try:
            pid = spawn(race_id)
        except OSError as error:
            # The others wait for the next look at the queue: what keeps one process from starting keeps all.
            finish(store, race_id, "failed", f"its worker could not be started: {error}.")
            break
        with writing(store) as connection:  # the worker may have claimed the race already
            connection.execute(
                "UPDATE races SET pid = ?, pid_started = ? WHERE id = ? AND state = 'starting' AND pid IS NULL",
                (pid, process_start(pid), race_id),
            )
        started.append(race_id)
    return started


def devices_in_use(store: Store) -> set[str]:
    """Return the devices that a race holds: its process is on the way, trains, or is paused."""
    with reading(store) as connection:
        return busy_devices(connection)


def claim(store: Store, race_id: str) -> RaceRow:
    """Make this process, which was started for the race, its only writer; StoreError if the race is not assigned."""
    with writing(store) as connection:
        state = find(connection, race_id)["state"]
        if state != "starting":
            raise StoreError(
                f"the race {race_id} is {state}, not waiting for its worker: this process leaves it alone."
            )
        _begin(connection, race_id, own_process=True)
    return get_race(store, race_id)


def take_turn(store: Store, race_id: str) -> bool:
    """Take a device if it is this race's turn; True if it has one now."""
    with writing(store) as connection:
        if find(connection, race_id)["state"] in HOLDING:
            return True
        device = allocate(waiting_races(connection), busy_devices(connection)).get(race_id)
        if device is None:
            return False
        connection.execute("UPDATE races SET device = ? WHERE id = ?", (device, race_id))
        _begin(connection, race_id, own_process=bool(find(connection, race_id)["own_process"]))
    return True


def set_paused(store: Store, race_id: str) -> None:
    """Say that the race's process does nothing but wait; it keeps the device."""
    _change(store, race_id, "paused", ("running",))


def set_running(store: Store, race_id: str) -> None:
    """Say that the race goes on on the device that it kept."""
    _change(store, race_id, "running", ("paused",))


def park(store: Store, race_id: str) -> None:
    """Give the device of a paused race back; from now on only the same device will do, its memory lives there."""
    with writing(store) as connection:
        connection.execute("UPDATE races SET candidates = device WHERE id = ? AND state = 'paused'", (race_id,))
    _change(store, race_id, "parked", ("paused", "queued"))


def requeue(store: Store, race_id: str) -> None:
    """Put a parked race that was resumed at the end of the queue; its process waits with it."""
    with writing(store) as connection:
        connection.execute(
            "UPDATE races SET state = 'queued', state_since = ?, queue_number = ? WHERE id = ? AND state = 'parked'",
            (time.time(), next_queue_number(connection), race_id),
        )


def _assign(store: Store) -> str | None:
    """Give a free device to the first waiting race that has no process; return its id."""
    with writing(store) as connection:
        waiting = waiting_races(connection)
        turns = allocate(waiting, busy_devices(connection))
        race_id = next((race.id for race in waiting if race.id in turns and not race.has_process), None)
        if race_id is not None:
            connection.execute(
                "UPDATE races SET state = 'starting', state_since = ?, device = ?, phase = 'starting the worker' "
                "WHERE id = ?",
                (time.time(), turns[race_id], race_id),
            )
    return race_id


def _begin(connection: sqlite3.Connection, race_id: str, own_process: bool) -> None:
    now = time.time()
    connection.execute(
        "UPDATE races SET state = 'running', state_since = ?, started_at = ifnull(started_at, ?), pid = ?, "
        "pid_started = ?, own_process = ?, heartbeat_at = ?, heartbeat_tick = ? WHERE id = ?",
        (now, now, os.getpid(), process_start(os.getpid()), own_process, now, time.monotonic(), race_id),
    )


def _change(store: Store, race_id: str, state: str, allowed: tuple[str, ...]) -> None:
    marks = ", ".join("?" * len(allowed))
    with writing(store) as connection:
        connection.execute(
            f"UPDATE races SET state = ?, state_since = ? WHERE id = ? AND state IN ({marks})",
            (state, time.time(), race_id, *allowed),
        )
