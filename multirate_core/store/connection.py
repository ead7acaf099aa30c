"""The connection to the store's SQLite file, and the two kinds of transaction. Errors are told in words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from multirate_core import home, schema
from multirate_core.errors import StoreError

BUSY_TIMEOUT_S = 10.0


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold; a byte of a file name that is no UTF-8 becomes a backslash and its number."""
    return text.encode("utf-8", "backslashreplace").decode()


class _Connection(sqlite3.Connection):
    """A connection that makes every text storable on its way in."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:  # type: ignore[override]
        return super().execute(sql, _storable_row(parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> sqlite3.Cursor:  # type: ignore[override]
        return super().executemany(sql, map(_storable_row, rows))


def _storable_row(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(storable(value) if isinstance(value, str) else value for value in values)


@dataclass(frozen=True)
class Store:
    """An open store: one SQLite connection, for the thread that opened it. Works as a context manager.

    Args:
        path: of the SQLite file; logs of workers lie in the folder `logs` beside it.
        connection: in autocommit mode; use `reading` and `writing`.
    """

    path: Path
    connection: sqlite3.Connection

    def close(self) -> None:
        """Close the connection; the store cannot be used afterwards."""
        self.connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(path: Path | str | None = None) -> Store:
    """Open the store and bring its tables to the newest version; a missing file is made.

    Args:
        path: of the SQLite file; None takes the one in the user data folder.

    Returns:
        A store for the calling thread.

    Raises:
        StoreError: the file cannot be opened, is no store, or was written by a newer version.
    """
    place = home.store_path() if path is None else Path(path)
    with errors_in_words(place):
        connection = sqlite3.connect(place, timeout=BUSY_TIMEOUT_S, isolation_level=None, factory=_Connection)
        try:
            connection.row_factory = sqlite3.Row
            _use_wal(connection, place)
            connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode a commit then costs no disk flush
            connection.execute("PRAGMA foreign_keys = ON")
            schema.migrate(connection)
        except BaseException:
            connection.close()
            raise
    return Store(place, connection)


@contextmanager
def reading(store: Store) -> Iterator[sqlite3.Connection]:
    """Everything read inside belongs to one moment."""
    with errors_in_words(store.path):
        store.connection.execute("BEGIN")
        try:
            yield store.connection
        finally:
            if store.connection.in_transaction:
                store.connection.execute("ROLLBACK")  # nothing was written


@contextmanager
def writing(store: Store) -> Iterator[sqlite3.Connection]:
    """Everything inside happens at once, or not at all; other writers wait.

    The write lock is taken at the beginning: a transaction that reads first and asks for the lock later is refused
    by SQLite when another one has written in between, whatever the timeout.
    """
    with errors_in_words(store.path):
        store.connection.execute("BEGIN IMMEDIATE")
        try:
            yield store.connection
            store.connection.execute("COMMIT")
        except BaseException:
            if store.connection.in_transaction:  # SQLite ends it by itself when the disk is full
                store.connection.execute("ROLLBACK")
            raise


@contextmanager
def errors_in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite reports about the file into a StoreError; mistakes in the SQL stay what they are."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        raise StoreError(_in_words(error, path)) from error


_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full. Free some space; everything recorded so far is kept",
    sqlite3.SQLITE_READONLY: "it may not be written. Change its permissions or set MULTIRATE_HOME to another folder",
    sqlite3.SQLITE_PERM: "it may not be accessed. Change its permissions or set MULTIRATE_HOME to another folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Check that its folder exists and may be written",
    sqlite3.SQLITE_NOTADB: "it is not a store. Move the file away or set MULTIRATE_HOME to another folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged. Move the file away, or restore it from a backup",
    sqlite3.SQLITE_BUSY: f"another process kept it locked for {BUSY_TIMEOUT_S:.0f} s. Try again",
    sqlite3.SQLITE_IOERR: "the disk reports an error. Check the disk, or set MULTIRATE_HOME to another folder",
}


def _in_words(error: sqlite3.Error, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest its detail
    advice = _ADVICE.get(code, "it cannot be used")
    return f"the store {path}: {advice} (SQLite says: {error})."


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to write-ahead logging, so that pages read while a worker writes; the file remembers it."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:  # SQLite does not wait by itself for this lock
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if mode != "wal":
        raise StoreError(
            f"the store {path} lies on a file system without write-ahead logging (got mode {mode!r}). "
            "Set MULTIRATE_HOME to a folder on a local disk."
        )
