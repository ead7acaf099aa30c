"""Races as rows: submit, get, list, delete."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from multirate_core import config_json
from multirate_core.config import RaceConfig
from multirate_core.errors import ConfigError, QueueFullError, StoreError
from multirate_core.machine import process_start
from multirate_core.store.connection import Store, reading, storable, writing
from multirate_core.store.rows import RaceRow, find, race_row
from multirate_core.store.waiting import Waiting, allocate, busy_devices, outlooks, waiting_races

_ID_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # none that look alike
_ID_LENGTH = 10  # 31^10: nobody finds another's race by guessing
MAX_QUEUED = 20


def submit(store: Store, config: RaceConfig, devices: Sequence[str] = ("cpu",), attend: bool = False) -> str:
    """Put a race at the end of the queue; its configuration is frozen from now on.

    Args:
        config: of the race.
        devices: what this machine has, best first, such as ("cuda:0", "cuda:1", "cpu").
        attend: this process waits with the race and runs it inside when its turn comes.

    Returns:
        The race's id.

    Raises:
        ConfigError: the machine has no such device, or a name in the configuration is not valid Unicode.
        QueueFullError: the server's owner allows no more waiting races.
    """
    candidates = candidate_devices(config.device, devices)
    _check_text(config)
    race_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    with writing(store) as connection:
        _check_room(connection, Waiting(race_id, candidates))
        _insert(connection, race_id, config, candidates)
        if attend:
            connection.execute(
                "UPDATE races SET pid = ?, pid_started = ?, heartbeat_at = ?, heartbeat_tick = ? WHERE id = ?",
                (os.getpid(), process_start(os.getpid()), time.time(), time.monotonic(), race_id),
            )
        connection.executemany(
            "INSERT INTO lanes (race, lane, seed, arm) VALUES (?, ?, ?, ?)",
            [(race_id, number, seed, arm) for number, (seed, arm) in enumerate(config.lanes)],
        )
    return race_id


def candidate_devices(wanted: str, devices: Sequence[str]) -> tuple[str, ...]:
    """Return the devices that a setting allows.

    Args:
        wanted: "auto" (the best kind there is), "cuda" (any of them), or one device.
        devices: what this machine has, best first.
    """
    kind = devices[0].partition(":")[0] if wanted == "auto" else wanted
    found = tuple(device for device in devices if kind in (device, device.partition(":")[0]))
    if not found:
        raise ConfigError(f"this machine has no device {wanted!r}; it has: {', '.join(devices)}. Choose one, or auto.")
    return found


def get_race(store: Store, race_id: str) -> RaceRow:
    """Return the race as it is now; RaceNotFoundError if there is none."""
    with reading(store) as connection:
        row = find(connection, race_id)
        outlook = outlooks(connection, time.time()).get(race_id) if row["state"] == "queued" else None
    return race_row(row, outlook)


def list_races(store: Store, text: str = "", limit: int = 200) -> list[RaceRow]:
    """Return the races, newest first, without those that `unreadable_races` names.

    Args:
        text: words that must all occur in the race's id, model, data, arms, state or outcome; case does not matter.
        limit: how many at most.
    """
    where, words = _matching(text)
    with reading(store) as connection:
        rows = connection.execute(
            f"SELECT * FROM races WHERE {where} ORDER BY created_at DESC, queue_number DESC LIMIT ?", (*words, limit)
        ).fetchall()
        looks = outlooks(connection, time.time())
    return [race_row(row, looks.get(row["id"])) for row in rows if not _why_unreadable(row)]


def unreadable_races(store: Store) -> dict[str, str]:
    """Return id -> reason of the races whose configuration this version cannot read; another version wrote them."""
    with reading(store) as connection:
        rows = connection.execute("SELECT id, config FROM races ORDER BY created_at DESC").fetchall()
    return {row["id"]: why for row in rows if (why := _why_unreadable(row))}


def count_races(store: Store, text: str = "") -> int:
    """Return how many races `list_races` would find without a limit."""
    where, words = _matching(text)
    with reading(store) as connection:
        return int(connection.execute(f"SELECT count(*) FROM races WHERE {where}", words).fetchone()[0])


def delete_race(store: Store, race_id: str) -> None:
    """Delete an ended race with its curves and its log; StoreError if it has not ended."""
    with writing(store) as connection:
        if find(connection, race_id)["state"] != "ended":
            raise StoreError(f"the race {race_id} has not ended. Stop it first, then delete it.")
        connection.execute("DELETE FROM races WHERE id = ?", (race_id,))
    log_path(store, race_id).unlink(missing_ok=True)


def log_path(store: Store, race_id: str) -> Path:
    """Return where the race's worker writes what it prints."""
    return store.path.parent / "logs" / f"{race_id}.log"


def max_queued() -> int:
    """Return how many races may wait: the environment variable MULTIRATE_MAX_QUEUED, 20 unless set."""
    text = os.environ.get("MULTIRATE_MAX_QUEUED", str(MAX_QUEUED))
    if not text.isdecimal():
        raise ConfigError(f"MULTIRATE_MAX_QUEUED must be a whole number ≥ 0, got {text!r}.")
    return int(text)


def _why_unreadable(row: sqlite3.Row) -> str:
    try:
        config_json.from_json(row["config"])
    except ConfigError as error:
        return str(error)
    return ""


def _check_text(config: RaceConfig) -> None:
    """Refuse what cannot be stored and read back equal, such as the name of a folder from an old Windows disk."""
    text = config_json.to_json(config)
    if storable(text) != text:
        part = next(value for value in text.split('"') if storable(value) != value)
        raise ConfigError(f"{storable(part)} is not valid Unicode. Rename it, then use the new name.")


def _matching(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition that a race holds all words of a search, and its parameters."""
    words = [word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for word in text.lower().split()]
    where = " AND ".join(["(search || ' ' || state || ' ' || ifnull(outcome, '')) LIKE ? ESCAPE '\\'"] * len(words))
    return where or "1", tuple(f"%{word}%" for word in words)


def _check_room(connection: sqlite3.Connection, newcomer: Waiting) -> None:
    queue = waiting_races(connection)
    cap = max_queued()
    starts_at_once = newcomer.id in allocate([*queue, newcomer], busy_devices(connection))
    if len(queue) >= cap and not starts_at_once:
        raise QueueFullError(
            f"{len(queue)} races wait already and this server allows {cap}. "
            "Wait until one has ended, or ask the server's owner to raise MULTIRATE_MAX_QUEUED."
        )


def _insert(connection: sqlite3.Connection, race_id: str, config: RaceConfig, candidates: tuple[str, ...]) -> None:
    now = time.time()
    model, data = config.model, config.data
    words = (race_id, model.name, Path(model.source).name, data.name, Path(data.path or "").name)
    values = {
        "id": race_id,
        "created_at": now,
        "config": config_json.to_json(config),
        "search": " ".join((*words, *(arm.name for arm in config.arms))).lower(),
        "likeness": likeness(config, candidates),
        "work": float(len(config.seeds) * config.budget.epochs)
        if config.budget.epochs is not None
        else len(config.lanes) * (config.budget.seconds or 0.0),
        "state": "queued",
        "state_since": now,
        "queue_number": next_queue_number(connection),
        "candidates": ",".join(candidates),
    }
    connection.execute(
        f"INSERT INTO races ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
    )


def next_queue_number(connection: sqlite3.Connection) -> int:
    """Return the place behind everybody who waits; call it inside `writing`."""
    return int(connection.execute("SELECT ifnull(max(queue_number), 0) + 1 FROM races").fetchone()[0])


def likeness(config: RaceConfig, candidates: Sequence[str]) -> str:
    """Return a text that is equal for races that should take equally long per unit of work."""
    arms = [
        (arm.kind, [group.period for group in arm.partition.groups] if arm.partition else []) for arm in config.arms
    ]
    data = config.data
    data_key = (data.name, data.path, data.image_size, data.train_images, data.test_images)
    model = config.model.name + config.model.source
    unit = "seconds" if config.budget.epochs is None else "epochs"
    device = candidates[0].partition(":")[0]
    work = [device, config.threads, model, data_key, config.recipe.batch_size, arms, config.evaluations]
    return f"{unit} {json.dumps(work)}"
