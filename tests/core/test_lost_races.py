"""A race whose process died, hangs or never began is found and named, and one that only slept is not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from queue_steps import set_columns, start, state
from scripted_engine import scripted, steps

from multirate_core import store
from multirate_core.store import Store
from multirate_core.store.queue import claim


def test_a_race_whose_process_is_gone_is_lost_at_once_and_keeps_its_curves(opened: Store) -> None:
    race_id, waiting = (store.submit(opened, scripted()) for _ in range(2))
    start(opened)
    claim(opened, race_id)
    store.record(opened, race_id, [steps(0, 0, 5)])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    set_columns(opened, race_id, pid=dead.pid)
    assert store.sweep(opened) == ["cpu"]
    race = store.get_race(opened, race_id)
    assert (race.state, race.outcome) == ("ended", "lost")
    assert f"its process {dead.pid} ended without a word" in race.message
    assert len(store.steps_since(opened, race_id, 0)) == 5
    assert [lane.outcome for lane in store.lanes(opened, race_id)] == ["lost", "lost"]
    assert start(opened) == [waiting]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_zombie_counts_as_gone(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    claim(opened, race_id)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{zombie.pid}/stat").read_text(encoding="ascii").split()[2] != "Z":
        time.sleep(0.01)
    set_columns(opened, race_id, pid=zombie.pid)
    assert store.sweep(opened) == ["cpu"]
    zombie.wait()


@pytest.mark.slow
def test_a_pid_that_passed_to_another_process_is_not_taken_for_the_worker(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    claim(opened, race_id)
    set_columns(opened, race_id, pid_started=1000.0)
    assert store.sweep(opened) == []  # a heartbeat of this second outweighs a clock that was set
    set_columns(opened, race_id, heartbeat_tick=time.monotonic() - 6)
    assert store.sweep(opened) == ["cpu"]


@pytest.mark.slow
def test_a_process_without_heartbeat_for_30_seconds_is_lost_and_ended(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    claim(opened, race_id)
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    set_columns(opened, race_id, pid=hanging.pid, pid_started=None, heartbeat_tick=time.monotonic() - 29)
    assert store.sweep(opened) == []
    set_columns(opened, race_id, heartbeat_tick=time.monotonic() - 31)
    assert store.sweep(opened) == ["cpu"]
    assert hanging.wait(10) != 0
    assert "no sign of life for 3" in store.get_race(opened, race_id).message


@pytest.mark.slow
def test_a_process_that_slept_with_the_whole_machine_is_not_lost_when_all_wake(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    claim(opened, race_id)
    set_columns(opened, race_id, heartbeat_tick=time.monotonic() - 3600)

    def wake() -> None:
        time.sleep(0.5)
        with store.open_store(opened.path) as own:
            store.beat(own, race_id)

    waking = threading.Thread(target=wake)
    waking.start()
    assert store.sweep(opened) == []
    waking.join()
    assert state(opened, race_id) == "running"


@pytest.mark.slow
def test_a_worker_that_does_not_claim_its_race_within_a_minute_is_lost(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    set_columns(opened, race_id, state_since=time.time() - 59)
    assert store.sweep(opened) == []
    set_columns(opened, race_id, state_since=time.time() - 61)
    assert store.sweep(opened) == ["cpu"]
    assert "did not begin within 60 s" in store.get_race(opened, race_id).message


def test_the_end_of_the_log_is_kept_with_a_lost_race(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    log = store.log_path(opened, race_id)
    log.parent.mkdir()
    log.write_text("Fatal Python error: Segmentation fault", encoding="utf-8")
    set_columns(opened, race_id, pid=2**22 + 1)
    store.sweep(opened)
    assert "Segmentation fault" in store.get_race(opened, race_id).traceback


def test_waiting_races_without_a_process_are_never_lost(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    set_columns(opened, race_id, state_since=time.time() - 10_000, created_at=time.time() - 10_000)
    assert store.sweep(opened) == []
    assert state(opened, race_id) == "queued"


def test_a_process_that_lost_its_race_is_told_to_leave_it(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    claim(opened, race_id)
    store.finish(opened, race_id, "lost")
    assert store.beat(opened, race_id) == "leave"
    store.delete_race(opened, race_id)
    assert store.beat(opened, race_id) == "leave"
