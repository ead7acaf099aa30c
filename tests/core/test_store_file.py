"""The file under the store: migrations, a full disk, damage, and several writers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from scripted_engine import scripted, steps

from multirate_core import schema, store
from multirate_core.errors import StoreError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "store_v1.sql"


def test_a_store_of_version_1_keeps_its_races_when_it_is_opened_today(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    old = sqlite3.connect(path)
    old.executescript(GOLDEN.read_text(encoding="utf-8"))
    assert old.execute("PRAGMA user_version").fetchone()[0] == 1
    old.close()
    with store.open_store(path) as opened:
        (race,) = store.list_races(opened)
        assert (race.state, race.outcome, race.config.data.name) == ("ended", "stopped", "digits")
        assert race.summary is not None
        assert store.steps_since(opened, race.id, 1).train_seconds.tolist() == [0.01, 0.02, 0.03]
        assert [tested.accuracy for tested in store.evaluations(opened, race.id)] == [0.75]
        assert opened.connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)


def test_a_later_migration_is_applied_once_and_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    with store.open_store(path) as opened:
        race_id = store.submit(opened, scripted())
        later = (*schema.MIGRATIONS, ("ALTER TABLE races ADD COLUMN note TEXT NOT NULL DEFAULT 'none yet'",))
        schema.migrate(opened.connection, later)
        schema.migrate(opened.connection, later)
        assert [tuple(row) for row in opened.connection.execute("SELECT id, note FROM races")] == [
            (race_id, "none yet")
        ]


def test_a_migration_that_fails_halfway_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with store.open_store(tmp_path / "races.sqlite3") as opened:
        broken = (*schema.MIGRATIONS, ("CREATE TABLE notes (text TEXT)", "CREATE TABLE notes (text TEXT)"))
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            schema.migrate(opened.connection, broken)
        tables = {row[0] for row in opened.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "notes" not in tables
        assert opened.connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)


def test_a_store_of_a_newer_version_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    with store.open_store(path) as opened:
        opened.connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match=r"reads up to version \d+\. Update the program"):
        store.open_store(path)


@pytest.mark.slow
def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    code = f"from multirate_core import store; store.open_store({str(path)!r}).close()"
    root = Path(schema.__file__).parents[1]
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=root) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    with store.open_store(path) as opened:
        assert store.list_races(opened) == []


@pytest.mark.slow
def test_two_writers_and_a_reader_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    with store.open_store(path) as opened:
        ids = [store.submit(opened, scripted()) for _ in range(2)]
        writers = [threading.Thread(target=_write_steps, args=(path, race_id)) for race_id in ids]
        for writer in writers:
            writer.start()
        seen = 0
        while any(writer.is_alive() for writer in writers):
            columns = store.steps_since(opened, ids[0], 0, seen)
            assert columns.first_step == seen
            seen += len(columns)
        assert [len(store.steps_since(opened, race_id, 0)) for race_id in ids] == [500, 500]


def _write_steps(path: Path, race_id: str) -> None:
    with store.open_store(path) as own:
        for first in range(0, 500, 5):
            store.record(own, race_id, [steps(0, first, 5)])


def test_a_full_disk_is_told_in_words_and_what_was_recorded_stays(tmp_path: Path) -> None:
    with store.open_store(tmp_path / "races.sqlite3") as opened:
        race_id = store.submit(opened, scripted())
        store.record(opened, race_id, [steps(0, 0, 10)])
        pages = opened.connection.execute("PRAGMA page_count").fetchone()[0]
        opened.connection.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite says then is what a full disk says
        with pytest.raises(StoreError, match=r"the disk is full\. Free some space"):
            store.record(opened, race_id, [steps(0, 10, 50_000)])
        assert len(store.steps_since(opened, race_id, 0)) == 10
        opened.connection.execute("PRAGMA max_page_count = 1000000")
        store.record(opened, race_id, [steps(0, 10, 50_000)])
        assert len(store.steps_since(opened, race_id, 0)) == 50_010


def test_a_file_that_may_not_be_written_is_told_in_words(tmp_path: Path) -> None:
    with store.open_store(tmp_path / "races.sqlite3") as opened:
        opened.connection.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match="may not be written"):
            store.submit(opened, scripted())


def test_a_file_that_is_no_store_is_told_in_words_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    path.write_bytes(b"these are holiday pictures" * 400)
    with pytest.raises(StoreError, match="is not a store"):
        store.open_store(path)
    assert path.read_bytes().startswith(b"these are holiday pictures")


def test_a_damaged_store_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    with store.open_store(path) as opened:
        race_id = store.submit(opened, scripted())
        store.record(opened, race_id, [steps(0, 0, 20_000)])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="it is damaged"), store.open_store(path) as opened:
        store.get_race(opened, race_id)


def test_a_folder_that_does_not_exist_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        store.open_store(tmp_path / "nowhere" / "races.sqlite3")


def test_a_lock_that_is_held_too_long_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "races.sqlite3"
    with store.open_store(path) as holder, store.open_store(path) as other:
        other.connection.execute("PRAGMA busy_timeout = 50")
        holder.connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="kept it locked"):
            store.submit(other, scripted())
        holder.connection.execute("ROLLBACK")
        store.submit(other, scripted())
