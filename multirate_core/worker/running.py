"""One race from waiting for its turn to the written outcome, in whatever process it runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from multirate_core.config import RaceConfig
from multirate_core.errors import StoreError
from multirate_core.events import Event, Outcome
from multirate_core.machine import default_threads
from multirate_core.store import RaceRow, Store, compact, finish, get_race
from multirate_core.worker import signals
from multirate_core.worker.launch import COMMAND, tend
from multirate_core.worker.log import say
from multirate_core.worker.outcome import Ending, after_error, after_events
from multirate_core.worker.pulse import Pulse
from multirate_core.worker.recorder import Recorder

Control = Callable[[], Literal["go", "pause", "stop"]]
Engine = Callable[[RaceConfig, Control], Iterator[Event]]

WRITE_ENDING_WITHIN_S = 60.0
UNWRITABLE = Ending("failed", "how it ended could not be written down; the end of its log says more.")


def run_race(
    store: Store,
    race_id: str,
    run: Engine | None = None,
    command: Sequence[str] = COMMAND,
    own_process: bool = False,
) -> Outcome:
    """Run a race that belongs to this process, from waiting for its turn to the written outcome.

    Args:
        store: of the calling thread.
        race_id: claimed, or submitted with `attend`.
        run: the engine; None takes `multirate_core.race.run`.
        command: starts the workers of other races.
        own_process: SIGINT and SIGTERM are requests to stop, and a stop that the engine does not see interrupts it.
    """
    interrupt = signals.interrupt_main_thread if own_process else None
    with Pulse(store, race_id, lambda own: tend(own, command), interrupt) as pulse:
        if own_process:
            signals.listen(pulse)
        ending = _train(store, race_id, run, pulse)
        return _write_ending(store, race_id, ending)


def _train(store: Store, race_id: str, run: Engine | None, pulse: Pulse) -> Ending:
    """Follow the engine to its end and say how it ended. This is the outermost edge: every error becomes an ending."""
    recorder = Recorder(store, race_id, hear=pulse.hear)
    pulse.before_pause = recorder.flush
    try:
        pulse.hear(get_race(store, race_id).request)
        if not pulse.wait_for_turn():
            return Ending("stopped", "stopped before it began")
        for event in _events(get_race(store, race_id), run, pulse):
            recorder.add(event)
        recorder.flush()
        return after_events(recorder.lane_outcomes, pulse.asked == "stop")
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - stored with the race, traceback and all
        ending = after_error(error)
    try:
        recorder.flush()
    except Exception as error:  # noqa: BLE001 - the outcome is worth more than the last steps
        say(f"worker: the last events could not be written: {error}")
    return ending


def _events(race: RaceRow, run: Engine | None, pulse: Pulse) -> Iterator[Event]:
    """Yield the engine's events; only while it works may a signal break in."""
    threads = race.config.threads or default_threads()
    config = dataclasses.replace(race.config, device=race.device or "cpu", threads=threads)
    events = (run or _engine())(config, pulse.control)
    while True:
        pulse.engine_works = True
        try:
            event = next(events, None)
        finally:
            pulse.engine_works = False
        if event is None:
            return
        yield event


def _engine() -> Engine:
    """Load the engine, and torch with it."""
    from multirate_core.race import run

    return run


def _write_ending(store: Store, race_id: str, ending: Ending) -> Outcome:
    """Write the outcome and return it; if its details cannot be written, the race has failed and says so plainly."""
    try:
        _patiently(lambda: finish(store, race_id, ending.outcome, ending.message, ending.traceback))
    except Exception as error:  # noqa: BLE001 - a race without an outcome would count as lost
        say(f"worker: the ending ({ending.outcome}: {ending.message}) could not be written: {error!r}")
        ending = UNWRITABLE
        _patiently(lambda: finish(store, race_id, ending.outcome, ending.message))
    try:
        _patiently(lambda: compact(store, race_id))
    except Exception as error:  # noqa: BLE001 - many small chunks read the same as a few large ones
        say(f"worker: the steps were not joined: {error!r}")
    return ending.outcome


def _patiently(write: Callable[[], object]) -> None:
    """Try again while the store refuses: a full disk may have space a little later, and an outcome is worth it."""
    deadline = time.monotonic() + WRITE_ENDING_WITHIN_S
    while True:
        try:
            write()
            return
        except StoreError as error:
            say(f"worker: {error}")
            if time.monotonic() > deadline:
                return
            time.sleep(1.0)
