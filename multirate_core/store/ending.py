"""The end of a race: outcome, summary, and fewer, larger chunks of steps."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from typing import Any

from multirate_core.events import Outcome
from multirate_core.store import packing
from multirate_core.store.connection import Store, writing

_FINAL = ("accuracy", "loss", "balanced_accuracy", "macro_f1", "mcc")  # of the last evaluation
COMPACT_STEPS = 16_384  # 400 kB a chunk: few rows to read whole, and little to skip when only the end is wanted


def finish(store: Store, race_id: str, outcome: Outcome, message: str = "", traceback: str = "") -> bool:
    """End the race: its device is free from now on. Lanes that had not ended get the race's outcome.

    Returns:
        False if it had ended before (nothing is changed then).
    """
    with writing(store) as connection:
        return end(connection, race_id, outcome, message, traceback)


def end(connection: sqlite3.Connection, race_id: str, outcome: Outcome, message: str, traceback: str = "") -> bool:
    """Do what `finish` does, inside a transaction that is open."""
    now = time.time()
    done = connection.execute(
        "UPDATE races SET state = 'ended', state_since = ?, ended_at = ?, outcome = ?, message = ?, traceback = ?, "
        "seconds_left = NULL, fraction = CASE WHEN ? = 'finished' THEN 1.0 ELSE fraction END "
        "WHERE id = ? AND state != 'ended'",
        (now, now, outcome, message, traceback, outcome, race_id),
    )
    if done.rowcount == 0:
        return False
    connection.execute("UPDATE lanes SET outcome = ? WHERE race = ? AND outcome IS NULL", (outcome, race_id))
    text = json.dumps(summarise(connection, race_id), ensure_ascii=False)
    connection.execute("UPDATE races SET summary = ? WHERE id = ?", (text, race_id))
    return True


def summarise(connection: sqlite3.Connection, race_id: str) -> dict[str, Any]:
    """Return what the list of races shows without reading curves.

    Returns:
        {"lanes": [{"lane", "seed", "arm", "steps", "epochs", "train_seconds", "final_accuracy", "final_loss",
        "final_balanced_accuracy", "final_macro_f1", "final_mcc", "best_accuracy", "evaluations", "outcome",
        "message"}, …]}; a number that is missing or not finite is None.
    """
    lanes = []
    for row in connection.execute("SELECT * FROM lanes WHERE race = ? ORDER BY lane", (race_id,)).fetchall():
        tested = connection.execute(
            "SELECT accuracy, loss, balanced_accuracy, macro_f1, mcc FROM evaluations WHERE race = ? AND lane = ? "
            "ORDER BY rowid",
            (race_id, row["lane"]),
        ).fetchall()
        last = tested[-1] if tested else dict.fromkeys(_FINAL)
        lanes.append(
            {name: row[name] for name in ("lane", "seed", "arm", "steps", "epochs", "train_seconds")}
            | {f"final_{name}": _finite(last[name]) for name in _FINAL}
            | {"best_accuracy": max((t["accuracy"] for t in tested if t["accuracy"] is not None), default=None)}
            | {"evaluations": len(tested), "outcome": row["outcome"], "message": row["message"]}
        )
    return {"lanes": lanes}


def compact(store: Store, race_id: str) -> int:
    """Join the many small chunks of an ended race into a few large ones; what is read stays the same.

    Returns:
        How many chunks there are now.
    """
    with writing(store) as connection:
        lanes = connection.execute("SELECT lane FROM lanes WHERE race = ?", (race_id,)).fetchall()
        return sum(_compact_lane(connection, race_id, row["lane"]) for row in lanes)


def _compact_lane(connection: sqlite3.Connection, race_id: str, lane: int) -> int:
    chosen = (race_id, lane)
    rows = connection.execute(
        "SELECT records FROM step_chunks WHERE race = ? AND lane = ? ORDER BY first_step", chosen
    ).fetchall()
    whole = b"".join(row["records"] for row in rows)
    connection.execute("DELETE FROM step_chunks WHERE race = ? AND lane = ?", chosen)
    starts = range(0, len(whole) // packing.RECORD.itemsize, COMPACT_STEPS)
    connection.executemany(
        "INSERT INTO step_chunks (race, lane, first_step, records) VALUES (?, ?, ?, ?)",
        [(*chosen, start, packing.part(whole, start, start + COMPACT_STEPS)) for start in starts],
    )
    return len(starts)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
