"""Who gets a device, in which order, and what the user may ask in which state."""

from __future__ import annotations

import os
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_steps import set_columns, start, state
from scripted_engine import scripted, steps

from multirate_core import store
from multirate_core.errors import ConfigError, QueueFullError, StoreError
from multirate_core.events import Progress
from multirate_core.store import Store
from multirate_core.store.queue import claim, park, requeue, set_paused, set_running, take_turn
from multirate_core.store.waiting import Outlook, Waiting, allocate, simulate

GPUS = ("cuda:0", "cuda:1", "cpu")
DEVICES = st.lists(st.sampled_from(["cpu", "cuda:0", "cuda:1", "mps"]), min_size=1, max_size=3, unique=True)


@given(wanted=st.lists(DEVICES, max_size=8), busy=st.sets(st.sampled_from(["cpu", "cuda:0", "cuda:1", "mps"])))
def test_no_device_is_given_twice_and_none_stays_idle_while_somebody_waits_for_it(
    wanted: list[list[str]], busy: set[str]
) -> None:
    queue = [Waiting(str(number), tuple(devices)) for number, devices in enumerate(wanted)]
    turns = allocate(queue, busy)
    given_out = list(turns.values())
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & busy
    for race in queue:
        if race.id in turns:
            assert turns[race.id] in race.candidates
        else:
            assert set(race.candidates) <= busy | set(given_out)


def test_the_oldest_that_can_use_a_device_gets_it() -> None:
    queue = [Waiting("a", ("cuda:0",)), Waiting("b", ("cuda:0", "cuda:1")), Waiting("c", ("cpu",))]
    assert allocate(queue, {"cuda:0"}) == {"b": "cuda:1", "c": "cpu"}
    assert allocate(queue, set()) == {"a": "cuda:0", "b": "cuda:1", "c": "cpu"}


def test_races_on_one_device_start_one_by_one_in_the_order_of_submission(opened: Store) -> None:
    first, second, third = (store.submit(opened, scripted()) for _ in range(3))
    assert start(opened) == [first]
    assert start(opened) == []
    assert [store.get_race(opened, race_id).queue_position for race_id in (first, second, third)] == [None, 1, 2]
    store.finish(opened, first, "finished")
    assert start(opened) == [second]


def test_several_devices_run_several_races(opened: Store) -> None:
    ids = [store.submit(opened, scripted(device=device), GPUS) for device in ("cuda", "auto", "cuda", "cpu")]
    assert start(opened) == [ids[0], ids[1], ids[3]]
    assert [store.get_race(opened, race_id).device for race_id in ids] == ["cuda:0", "cuda:1", None, "cpu"]


def test_the_database_itself_refuses_a_second_race_on_a_device(opened: Store) -> None:
    first, second = (store.submit(opened, scripted()) for _ in range(2))
    start(opened)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        set_columns(opened, second, state="running", device=store.get_race(opened, first).device)


def test_a_race_is_claimed_once_and_only_if_it_was_given_a_device(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    with pytest.raises(StoreError, match="is queued, not waiting for its worker"):
        claim(opened, race_id)
    start(opened)
    race = claim(opened, race_id)
    assert (race.state, race.device, race.pid) == ("running", "cpu", os.getpid())
    with pytest.raises(StoreError, match="is running"):
        claim(opened, race_id)


def test_a_worker_that_cannot_be_started_fails_its_own_race_only(opened: Store) -> None:
    broken, fine, last = (store.submit(opened, scripted()) for _ in range(3))

    def spawn(race_id: str) -> int:
        if race_id == broken:
            raise OSError("no more processes")
        return os.getpid()

    assert store.start_next(opened, spawn) == []
    assert [store.get_race(opened, waiting).state for waiting in (fine, last)] == ["queued", "queued"]
    assert store.start_next(opened, spawn) == [fine]
    race = store.get_race(opened, broken)
    assert race.outcome == "failed"
    assert "could not be started: no more processes" in race.message


def test_a_waiting_race_is_cancelled_at_once_and_the_others_move_up(opened: Store) -> None:
    ids = [store.submit(opened, scripted()) for _ in range(3)]
    start(opened)
    assert store.request(opened, ids[1], "stop")
    race = store.get_race(opened, ids[1])
    assert (race.state, race.outcome, race.message) == ("ended", "stopped", "cancelled while it waited")
    assert store.get_race(opened, ids[2]).queue_position == 1


def test_requests_that_make_no_sense_change_nothing(opened: Store) -> None:
    running, waiting = (store.submit(opened, scripted()) for _ in range(2))
    start(opened)
    claim(opened, running)
    assert not store.request(opened, waiting, "pause")
    assert not store.request(opened, waiting, "resume")
    assert store.request(opened, running, "stop")
    assert not store.request(opened, running, "pause")
    assert store.get_race(opened, running).request == "stop"
    store.finish(opened, running, "stopped")
    assert not store.request(opened, running, "stop")
    with pytest.raises(ConfigError, match="got 'explode'"):
        store.request(opened, waiting, "explode")  # type: ignore[arg-type]


def test_recording_tells_what_the_user_asks(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    start(opened)
    claim(opened, race_id)
    assert store.record(opened, race_id, [steps(0, 0, 1)]) is None
    store.request(opened, race_id, "pause")
    assert store.record(opened, race_id, [steps(0, 1, 1)]) == "pause"
    assert store.beat(opened, race_id) == "pause"
    store.request(opened, race_id, "resume")
    assert store.beat(opened, race_id) is None


def test_a_paused_race_keeps_its_device_and_a_parked_one_gives_it_back(opened: Store) -> None:
    first, second = (store.submit(opened, scripted()) for _ in range(2))
    start(opened)
    claim(opened, first)
    set_paused(opened, first)
    assert start(opened) == []
    set_running(opened, first)
    assert state(opened, first) == "running"
    set_paused(opened, first)
    park(opened, first)
    assert state(opened, first) == "parked"
    assert start(opened) == [second]


def test_a_parked_race_that_is_resumed_waits_for_its_own_device_again(opened: Store) -> None:
    first, second, third = (store.submit(opened, scripted(device="cuda"), GPUS[:2]) for _ in range(3))
    assert start(opened) == [first, second]
    claim(opened, first)
    set_paused(opened, first)
    park(opened, first)
    assert start(opened) == [third]
    requeue(opened, first)
    assert not take_turn(opened, first)
    assert store.get_race(opened, first).queue_position == 1
    store.finish(opened, second, "finished")  # frees cuda:1, but the memory of the first race is on cuda:0
    assert start(opened) == []
    assert not take_turn(opened, first)
    store.finish(opened, third, "finished")
    assert start(opened) == []  # its own process takes the turn
    assert take_turn(opened, first)
    assert (state(opened, first), store.get_race(opened, first).device) == ("running", "cuda:0")


def test_nobody_overtakes_a_race_whose_process_waits_with_it(opened: Store) -> None:
    inline = store.submit(opened, scripted(), attend=True)
    later = store.submit(opened, scripted())
    assert start(opened) == []
    assert take_turn(opened, inline)
    assert start(opened) == []
    store.finish(opened, inline, "finished")
    assert start(opened) == [later]


def test_the_queue_has_a_cap_that_the_owner_sets(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_MAX_QUEUED", "2")
    store.submit(opened, scripted())
    start(opened)
    for _ in range(2):
        store.submit(opened, scripted())
    with pytest.raises(QueueFullError, match="2 races wait already and this server allows 2"):
        store.submit(opened, scripted())
    store.submit(opened, scripted(device="cuda"), GPUS)  # its device is free: it does not wait
    assert len(store.list_races(opened)) == 4


def test_a_cap_of_zero_still_lets_a_race_start_on_a_free_device(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_MAX_QUEUED", "0")
    store.submit(opened, scripted())
    with pytest.raises(QueueFullError):
        store.submit(opened, scripted())


@pytest.mark.parametrize("text", ["many", "-1", "\N{SUPERSCRIPT TWO}"])
def test_a_cap_that_is_no_number_is_told(opened: Store, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MULTIRATE_MAX_QUEUED", text)
    with pytest.raises(ConfigError, match=f"got '{text}'"):
        store.submit(opened, scripted())


def test_the_expected_wait_adds_up_along_the_queue() -> None:
    queue = [Waiting("a", ("cpu",), expected_seconds=30.0), Waiting("b", ("cpu",)), Waiting("c", ("cpu",))]
    assert simulate(queue, {"cpu": 12.0}) == {"a": Outlook(1, 12.0), "b": Outlook(2, 42.0), "c": Outlook(3, None)}
    assert simulate(queue[:1], {"cpu": None}) == {"a": Outlook(1, None)}


def test_a_race_is_expected_on_the_device_that_is_free_first() -> None:
    queue = [Waiting(name, ("cuda:0", "cuda:1"), expected_seconds=10.0) for name in "abc"]
    looks = simulate(queue, {"cuda:0": 5.0, "cuda:1": 8.0})
    assert [looks[name].wait_seconds for name in "abc"] == [5.0, 8.0, 15.0]


def test_the_wait_comes_from_the_running_race_and_from_earlier_ones_like_it(opened: Store) -> None:
    earlier = store.submit(opened, scripted())
    store.finish(opened, earlier, "finished")
    set_columns(opened, earlier, started_at=1000.0, ended_at=1040.0)
    ids = [store.submit(opened, scripted()) for _ in range(3)]
    assert start(opened) == [ids[0]]
    claim(opened, ids[0])
    store.record(opened, ids[0], [Progress(0.5, 20.0)])
    waits = [store.get_race(opened, race_id).wait_seconds for race_id in ids[1:]]
    assert waits == [pytest.approx(20.0, abs=2.0), pytest.approx(60.0, abs=2.0)]


def test_the_wait_is_unknown_when_nothing_is_known(opened: Store) -> None:
    ids = [store.submit(opened, scripted()) for _ in range(2)]
    start(opened)
    assert store.get_race(opened, ids[1]).wait_seconds is None
