"""Signs of life: workers give one every second, and everybody looks for those who stopped giving them."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Literal

from multirate_core import machine
from multirate_core.store.connection import Store, reading, writing
from multirate_core.store.ending import end
from multirate_core.store.races import log_path
from multirate_core.store.rows import find

HEARTBEAT_S = 1.0
LOST_AFTER_S = 30.0  # without a heartbeat
CLAIM_WITHIN_S = 60.0  # from "starting" to the worker's claim
TRUSTED_HEARTBEAT_S = 5.0  # so fresh a heartbeat outweighs a start time that looks different
WAKE_UP_S = 2.0  # the whole machine may have been asleep: a silent process that lives may beat again first
LOG_TAIL_BYTES = 4000

Sign = Literal["pause", "stop", "leave"] | None


def beat(store: Store, race_id: str) -> Sign:
    """Give a sign of life.

    Returns:
        What is asked of the race: "pause", "stop", None, or "leave": it has ended, was deleted, or belongs to
        another process, and this one must not touch it any more.
    """
    with writing(store) as connection:
        done = connection.execute(
            "UPDATE races SET heartbeat_at = ?, heartbeat_tick = ? WHERE id = ? AND state != 'ended' AND pid = ?",
            (time.time(), time.monotonic(), race_id, os.getpid()),
        )
        if done.rowcount != 1:
            return "leave"
        sign: Sign = find(connection, race_id)["request"]
    return sign


def sweep(store: Store) -> list[str]:
    """Mark the races whose process is gone or silent as lost; what they recorded stays.

    A process that lives but gave no sign for 30 s is ended, so that its device is really free. As a machine that was
    asleep or suspended wakes everybody at once, such a process has two more seconds before it is judged.

    Returns:
        The devices that became free.
    """
    with reading(store) as connection:
        suspects = [row for row in _attended(connection) if _what_happened(row) is not None]
    if any(row["pid"] is not None and machine.life_of(row["pid"], None) == "alive" for row in suspects):
        time.sleep(WAKE_UP_S)
    freed: list[str] = []
    for race_id in [row["id"] for row in suspects]:
        with writing(store) as connection:  # look again under the lock: it may have ended in the meantime
            row = find(connection, race_id)
            reason = _what_happened(row) if row["state"] != "ended" else None
            if reason is None:
                continue
            end(connection, race_id, "lost", reason, _log_tail(store, race_id))
        if row["own_process"]:
            machine.end_process(row["pid"], row["pid_started"])
        if row["state"] in ("starting", "running", "paused"):
            freed.append(row["device"])
    return freed


def _attended(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Return the races that have, or should have, a living process."""
    return connection.execute(
        "SELECT * FROM races WHERE state IN ('queued', 'starting', 'running', 'paused', 'parked') "
        "AND (pid IS NOT NULL OR state = 'starting')"
    ).fetchall()


def _what_happened(row: sqlite3.Row) -> str | None:
    """Return in words why a race must be lost, or None if it is well."""
    silent_s = time.monotonic() - row["heartbeat_tick"] if row["heartbeat_tick"] is not None else None
    if row["pid"] is not None:
        life = machine.life_of(row["pid"], row["pid_started"])
        trusted = silent_s is not None and 0 <= silent_s < TRUSTED_HEARTBEAT_S
        if life == "gone" or (life == "other" and not trusted):
            return f"its process {row['pid']} ended without a word (killed, crashed, or the machine was restarted)"
    if silent_s is None:
        waited_s = time.time() - row["state_since"]
        return f"its worker did not begin within {CLAIM_WITHIN_S:.0f} s" if waited_s > CLAIM_WITHIN_S else None
    if silent_s > LOST_AFTER_S:
        return f"its process {row['pid']} gave no sign of life for {silent_s:.0f} s"
    return None


def _log_tail(store: Store, race_id: str) -> str:
    """Return the end of what the worker printed: a crash in native code leaves its traceback only there."""
    try:
        return log_path(store, race_id).read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", errors="replace")
    except OSError:
        return ""
