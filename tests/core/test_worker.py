"""A race inside a process: every way to end, pausing, stopping, and what is left behind."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import race_cases
from race_cases import SGD, tiny_config
from scripted_engine import COMMAND, run, scripted, steps

from multirate_core import store
from multirate_core.config import RaceConfig
from multirate_core.events import Event, LaneEnded
from multirate_core.store import RaceRow, Store
from multirate_core.training.batches import Images
from multirate_core.training.evaluation import Score
from multirate_core.training.lane import Lane
from multirate_core.worker import Control, Engine, pulse, run_race
from multirate_core.worker.outcome import after_error, after_events

pytestmark = pytest.mark.slow


def run_here(opened: Store, config: RaceConfig, engine: Engine = run) -> RaceRow:
    """Run a race in this thread and return it ended."""
    race_id = store.submit(opened, config, attend=True)
    outcome = run_race(opened, race_id, engine, COMMAND)
    race = store.get_race(opened, race_id)
    assert (race.state, race.outcome) == ("ended", outcome)
    return race


def beside(opened: Store, act: Callable[[Store, str], None]) -> Callable[[str], threading.Thread]:
    """Return what starts a thread that acts on a race with a store of its own."""

    def work(race_id: str) -> None:
        with store.open_store(opened.path) as own:
            act(own, race_id)

    def begin(race_id: str) -> threading.Thread:
        thread = threading.Thread(target=work, args=(race_id,))
        thread.start()
        return thread

    return begin


def wait_for(own: Store, race_id: str, state: str, steps_at_least: int = 0) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        race = store.get_race(own, race_id)
        if race.state == state and store.lanes(own, race_id)[0].steps >= steps_at_least:
            return
        time.sleep(0.02)
    raise AssertionError(f"the race did not become {state}: {race}")


def test_a_race_that_comes_to_its_end_is_finished_with_all_its_steps(opened: Store) -> None:
    race = run_here(opened, scripted(steps=25))
    assert (race.outcome, race.fraction, race.phase) == ("finished", 1.0, "following the script")
    assert race.environment == {"device": "cpu", "threads": "1"}
    assert [len(store.steps_since(opened, race.id, lane)) for lane in (0, 1)] == [25, 25]
    assert race.summary is not None
    assert [lane["final_accuracy"] for lane in race.summary["lanes"]] == [0.5, 0.6]


@pytest.mark.parametrize(
    ("then", "outcome", "words"),
    [
        ("memory", "out_of_memory", "smaller batch size"),
        ("data", "failed", "holds one class, got"),
        ("bug", "failed", "ZeroDivisionError: division by zero"),
        ("diverge", "diverged", "smaller lr"),
    ],
)
def test_a_race_that_goes_wrong_is_named_so_and_keeps_its_curves(
    opened: Store, then: str, outcome: str, words: str
) -> None:
    race = run_here(opened, scripted(steps=12, then=then))
    assert race.outcome == outcome
    assert words in race.message
    assert len(store.steps_since(opened, race.id, 0)) == 12
    assert ("Traceback" in race.traceback) == (then == "bug")


def test_memory_errors_of_torch_are_recognised() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert after_error(caught.value).outcome == "out_of_memory"
    assert after_error(torch.OutOfMemoryError("CUDA out of memory.")).outcome == "out_of_memory"
    assert after_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied")).outcome == "failed"


def test_one_diverged_arm_does_not_make_the_race_diverged() -> None:
    assert after_events({0: "diverged", 1: "finished"}, stop_asked=False).outcome == "finished"
    assert after_events({0: "diverged", 1: "diverged"}, stop_asked=False).outcome == "diverged"
    assert after_events({0: "finished", 1: "stopped"}, stop_asked=True).outcome == "stopped"
    assert after_events({0: "finished", 1: "finished"}, stop_asked=True).outcome == "finished"
    assert after_events({}, stop_asked=True).outcome == "stopped"


def test_a_stop_is_seen_and_the_steps_before_it_are_kept(opened: Store) -> None:
    def stop(own: Store, race_id: str) -> None:
        wait_for(own, race_id, "running", steps_at_least=5)
        store.request(own, race_id, "stop")

    race = run_beside(opened, scripted(steps=100_000, step_s=0.01), stop)
    assert race.outcome == "stopped"
    count = store.lanes(opened, race.id)[0].steps
    assert 5 <= count < 100_000
    assert len(store.steps_since(opened, race.id, 0)) == count


def run_beside(opened: Store, config: RaceConfig, act: Callable[[Store, str], None]) -> RaceRow:
    """Run a race in this thread while another one acts on it."""
    race_id = store.submit(opened, config, attend=True)
    thread = beside(opened, act)(race_id)
    run_race(opened, race_id, run, COMMAND)
    thread.join()
    return store.get_race(opened, race_id)


def test_nothing_moves_while_a_race_is_paused_and_everything_is_readable(opened: Store) -> None:
    counts: list[int] = []

    def pause(own: Store, race_id: str) -> None:
        wait_for(own, race_id, "running", steps_at_least=5)
        store.request(own, race_id, "pause")
        wait_for(own, race_id, "paused")
        for _ in range(2):
            counts.append(len(store.steps_since(own, race_id, 0)))
            time.sleep(0.3)
        store.request(own, race_id, "resume")
        wait_for(own, race_id, "running", steps_at_least=counts[0] + 1)
        store.request(own, race_id, "stop")

    race = run_beside(opened, scripted(steps=100_000, step_s=0.01), pause)
    assert race.outcome == "stopped"
    assert 5 <= counts[0] == counts[1] < store.lanes(opened, race.id)[0].steps


def test_a_paused_race_can_be_stopped(opened: Store) -> None:
    def act(own: Store, race_id: str) -> None:
        wait_for(own, race_id, "running", steps_at_least=1)
        store.request(own, race_id, "pause")
        wait_for(own, race_id, "paused")
        store.request(own, race_id, "stop")

    assert run_beside(opened, scripted(steps=100_000, step_s=0.01), act).outcome == "stopped"


def test_a_race_paused_for_long_lets_the_next_one_run_and_goes_on_afterwards(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "PARK_AFTER_S", 0.5)
    others: list[str] = []

    def act(own: Store, race_id: str) -> None:
        wait_for(own, race_id, "running", steps_at_least=1)
        others.append(store.submit(own, scripted(steps=3)))
        store.request(own, race_id, "pause")
        wait_for(own, race_id, "parked")
        wait_for(own, others[0], "ended")
        assert store.get_race(own, race_id).state == "parked"
        count = len(store.steps_since(own, race_id, 0))
        store.request(own, race_id, "resume")
        wait_for(own, race_id, "running", steps_at_least=count + 1)
        store.request(own, race_id, "stop")

    race = run_beside(opened, scripted(steps=100_000, step_s=0.01), act)
    assert race.outcome == "stopped"
    assert store.get_race(opened, others[0]).outcome == "finished"


def test_a_parked_race_can_be_stopped(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PARK_AFTER_S", 0.2)

    def act(own: Store, race_id: str) -> None:
        wait_for(own, race_id, "running", steps_at_least=1)
        store.request(own, race_id, "pause")
        wait_for(own, race_id, "parked")
        store.request(own, race_id, "stop")

    assert run_beside(opened, scripted(steps=100_000, step_s=0.01), act).outcome == "stopped"


def test_a_keyboard_interrupt_is_a_stop_that_keeps_what_was_recorded(opened: Store) -> None:
    def engine(config: RaceConfig, control: Control) -> Iterator[Event]:
        yield steps(0, 0, 4)
        raise KeyboardInterrupt

    race = run_here(opened, scripted(), engine)
    assert (race.outcome, race.message) == ("stopped", "interrupted in the middle of its work")
    assert len(store.steps_since(opened, race.id, 0)) == 4


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyboardInterrupt(), "stopped"), (MemoryError(), "out_of_memory"), (OSError(), "failed")]
)
def test_a_race_that_ends_inside_a_test_has_the_epochs_of_its_steps(
    opened: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException, outcome: str
) -> None:
    def evaluate(lane: Lane, images: Images, batch_size: int) -> Score:
        if lane.steps > 6:  # the first test after the one at the end of the first epoch
            raise error
        return Score(0.5, 1.0)

    monkeypatch.setattr(Lane, "evaluate", evaluate)
    race = run_here(opened, tiny_config(SGD), lambda config, control: race_cases.race(config, control))
    lane = store.lanes(opened, race.id)[0]
    assert (race.outcome, lane.outcome) == (outcome, outcome)
    assert lane.steps > 6
    assert lane.epochs == pytest.approx(lane.steps / 6)  # 90 images in batches of 16


@pytest.mark.parametrize("when", ["NEW.message LIKE '%division%'", "NEW.traceback != ''"])
def test_an_ending_whose_details_cannot_be_written_is_a_failure_and_no_loss(opened: Store, when: str) -> None:
    opened.connection.execute(
        f"CREATE TRIGGER refuses BEFORE UPDATE ON races WHEN {when} BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )
    race = run_here(opened, scripted(steps=12, then="bug"))
    assert (race.outcome, race.traceback) == ("failed", "")
    assert race.message == "how it ended could not be written down; the end of its log says more."
    assert len(store.steps_since(opened, race.id, 0)) == 12


def test_last_events_that_cannot_be_written_do_not_hide_the_outcome(opened: Store) -> None:
    def engine(config: RaceConfig, control: Control) -> Iterator[Event]:
        yield LaneEnded(0, "finished", "", 2**70, 0.0, 0.0)  # a number that SQLite cannot hold

    race = run_here(opened, scripted(), engine)
    assert (race.outcome, "OverflowError" in race.message) == ("failed", True)


def disk_that_fills_up(opened: Store) -> Engine:
    """Return an engine during whose steps the store's disk becomes full."""

    def engine(config: RaceConfig, control: Control) -> Iterator[Event]:
        yield steps(0, 0, 100)
        time.sleep(0.35)
        yield steps(0, 100, 1)
        pages = opened.connection.execute("PRAGMA page_count").fetchone()[0]
        opened.connection.execute(f"PRAGMA max_page_count = {pages}")
        time.sleep(0.35)
        yield steps(0, 101, 50_000)
        raise AssertionError("the engine went on after the disk was full")

    return engine


def test_a_full_disk_fails_the_race_with_the_reason_and_keeps_the_steps_before(opened: Store) -> None:
    race = run_here(opened, scripted(), disk_that_fills_up(opened))
    assert race.outcome == "failed"
    assert "the disk is full" in race.message
    assert len(store.steps_since(opened, race.id, 0)) == 101


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_that_takes_no_line_of_the_log_either_still_ends_the_race_with_the_reason(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails as well, which is caught below
    monkeypatch.setattr(sys, "stderr", log)
    try:
        race = run_here(opened, scripted(), disk_that_fills_up(opened))
    finally:
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            log.close()
    assert (race.outcome, "the disk is full" in race.message) == ("failed", True)


def test_a_race_that_was_declared_lost_is_left_alone_by_its_process(opened: Store) -> None:
    def act(own: Store, race_id: str) -> None:
        wait_for(own, race_id, "running", steps_at_least=1)
        store.finish(own, race_id, "lost", "declared dead")

    race = run_beside(opened, scripted(steps=100_000, step_s=0.01), act)
    assert (race.outcome, race.message) == ("lost", "declared dead")


def test_an_engine_gets_the_given_device_and_a_definite_number_of_threads(opened: Store) -> None:
    seen: list[RaceConfig] = []

    def engine(config: RaceConfig, control: Control) -> Iterator[Event]:
        seen.append(config)
        yield LaneEnded(0, "finished", "", 0, 0.0, 0.0)

    script: dict[str, Any] = {"device": "auto"}
    run_here(opened, scripted(**script), engine)
    assert seen[0].device == "cpu"
    assert seen[0].threads == 1
