"""The tables of the store, as a list of migrations: version n of a file has had the first n of them.

A migration that was published is never edited; a change of the tables is a new entry at the end. Standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from multirate_core.errors import StoreError

# A race holds its device in these states; the index below lets the database itself refuse a second holder.
HOLDING = ("starting", "running", "paused")

_RACES = """
CREATE TABLE races (
    id              TEXT PRIMARY KEY,
    created_at      REAL NOT NULL,               -- times are seconds since 1970
    config          TEXT NOT NULL,               -- JSON of the RaceConfig, frozen at submit
    search          TEXT NOT NULL,               -- lower case words that the list can be searched for
    likeness        TEXT NOT NULL,               -- equal for races that should take equally long per unit of work
    work            REAL NOT NULL,               -- training seconds or epochs that were asked for, over all lanes
    state           TEXT NOT NULL CHECK (state IN ('queued', 'starting', 'running', 'paused', 'parked', 'ended')),
    state_since     REAL NOT NULL,
    queue_number    INTEGER NOT NULL,            -- order among the waiting; a new one when a parked race resumes
    candidates      TEXT NOT NULL,               -- devices that would do, comma-separated, best first
    device          TEXT,                        -- the one that it was given
    outcome         TEXT CHECK (outcome IN ('finished', 'stopped', 'diverged', 'out_of_memory', 'failed', 'lost')),
    message         TEXT NOT NULL DEFAULT '',
    traceback       TEXT NOT NULL DEFAULT '',
    request         TEXT CHECK (request IN ('pause', 'stop')),
    pid             INTEGER,
    pid_started     REAL,                        -- tells a process from a later one with the same pid
    own_process     INTEGER NOT NULL DEFAULT 0,  -- 1: the process runs this race only
    heartbeat_at    REAL,
    heartbeat_tick  REAL,                        -- the same on the machine's monotonic clock
    started_at      REAL,
    ended_at        REAL,
    phase           TEXT NOT NULL DEFAULT '',
    fraction        REAL NOT NULL DEFAULT 0,
    seconds_left    REAL,
    progress_at     REAL,
    environment     TEXT NOT NULL DEFAULT '{}',
    summary         TEXT,
    CHECK ((state = 'ended') = (outcome IS NOT NULL))
)
"""

_LANES = """
CREATE TABLE lanes (
    race            TEXT NOT NULL REFERENCES races (id) ON DELETE CASCADE,
    lane            INTEGER NOT NULL,
    seed            INTEGER NOT NULL,
    arm             TEXT NOT NULL,
    outcome         TEXT,
    message         TEXT NOT NULL DEFAULT '',
    steps           INTEGER NOT NULL DEFAULT 0,
    recorded_steps  INTEGER NOT NULL DEFAULT 0,
    epochs          REAL NOT NULL DEFAULT 0,
    train_seconds   REAL NOT NULL DEFAULT 0,
    wall_seconds    REAL,
    excluded        TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (race, lane)
)
"""

_STEP_CHUNKS = """
CREATE TABLE step_chunks (
    race            TEXT NOT NULL,
    lane            INTEGER NOT NULL,
    first_step      INTEGER NOT NULL,
    records         BLOB NOT NULL,               -- 24 bytes a step (store/packing.py)
    FOREIGN KEY (race, lane) REFERENCES lanes (race, lane) ON DELETE CASCADE
)
"""

_EVALUATIONS = """
CREATE TABLE evaluations (
    race            TEXT NOT NULL,
    lane            INTEGER NOT NULL,
    step            INTEGER NOT NULL,
    epoch           REAL NOT NULL,
    train_seconds   REAL NOT NULL,
    accuracy        REAL,                        -- NULL stands for NaN, which SQLite cannot hold
    loss            REAL,
    reason          TEXT NOT NULL,
    FOREIGN KEY (race, lane) REFERENCES lanes (race, lane) ON DELETE CASCADE
)
"""

_PHASES = """
CREATE TABLE phases (
    race            TEXT NOT NULL REFERENCES races (id) ON DELETE CASCADE,
    at              REAL NOT NULL,
    text            TEXT NOT NULL
)
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        _RACES,
        _LANES,
        _STEP_CHUNKS,
        _EVALUATIONS,
        _PHASES,
        "CREATE UNIQUE INDEX one_race_per_device ON races (device) WHERE state IN ('starting', 'running', 'paused')",
        "CREATE INDEX races_by_state ON races (state, queue_number)",
        "CREATE INDEX races_by_time ON races (created_at)",
        "CREATE INDEX races_by_likeness ON races (likeness, ended_at)",
        "CREATE UNIQUE INDEX chunks_by_step ON step_chunks (race, lane, first_step)",
        "CREATE INDEX evaluations_by_lane ON evaluations (race, lane)",
        "CREATE INDEX phases_by_race ON phases (race)",
    ),
    (  # NULL: of too many classes to tell, or recorded before there was this column
        "ALTER TABLE evaluations ADD COLUMN balanced_accuracy REAL",
        "ALTER TABLE evaluations ADD COLUMN macro_f1 REAL",
        "ALTER TABLE evaluations ADD COLUMN mcc REAL",
    ),
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file to the newest version, in one transaction.

    Args:
        connection: in autocommit mode (isolation_level None).
        migrations: entry n leads from version n to n + 1.

    Raises:
        StoreError: the file was written by a newer version of this program.
    """
    if _version(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")  # another process may be migrating: look again under the lock
    try:
        version = _version(connection)
        _refuse_newer(version, len(migrations))
        for statement in [line for migration in migrations[version:] for line in migration]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(version: int, known: int) -> None:
    if version > known:
        raise StoreError(
            f"the store has version {version}, this program reads up to version {known}. "
            "Update the program, or set MULTIRATE_HOME to another folder."
        )
