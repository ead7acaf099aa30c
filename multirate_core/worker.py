"""One process, one race: `python -m multirate_core.worker --store PATH --race ID`.

The worker claims the race, lets the engine train, writes what it says in batches, looks for requests, writes the
outcome and gives the device to the next race. torch is imported by the engine only, after the threads are set.
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Literal

from multirate_core.config import RaceConfig
from multirate_core.errors import MultirateError, StoreError
from multirate_core.events import Event, Outcome
from multirate_core.launch import COMMAND, tend
from multirate_core.machine import default_threads
from multirate_core.outcome import Ending, after_error, after_events
from multirate_core.pulse import Pulse
from multirate_core.recorder import Recorder
from multirate_core.store import RaceRow, Store, compact, finish, get_race, open_store
from multirate_core.store.queue import claim

Control = Callable[[], Literal["go", "pause", "stop"]]
Engine = Callable[[RaceConfig, Control], Iterator[Event]]

# Read by OpenMP, MKL, OpenBLAS and Accelerate when torch is loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
WRITE_ENDING_WITHIN_S = 60.0


def main(arguments: Sequence[str] | None = None, run: Engine | None = None, command: Sequence[str] = COMMAND) -> int:
    """Run one race and start the next.

    Args:
        arguments: of the command line; None takes those of the process.
        run: the engine; None takes `multirate_core.race.run`.
        command: starts the worker of the next race.

    Returns:
        Exit code: 0 whatever the outcome, which is in the store; 2 if the race was not this process's to run.
    """
    parser = argparse.ArgumentParser(prog="multirate_core.worker", description="Run one race of a store.")
    parser.add_argument("--store", required=True, help="path of the SQLite file")
    parser.add_argument("--race", required=True, help="id of the race")
    chosen = parser.parse_args(arguments)
    faulthandler.enable()  # a crash in native code leaves its traceback in the log
    try:
        with open_store(chosen.store) as store:
            race = claim(store, chosen.race)
            _set_threads(race.config.threads or default_threads())
            outcome = run_race(store, race.id, run, command, own_process=True)
            print(f"race {race.id}: {outcome}", flush=True)
            tend(store, command)
    except MultirateError as error:
        print(f"worker: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


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
    with Pulse(
        store, race_id, lambda own: tend(own, command), _interrupt_main_thread if own_process else None
    ) as pulse:
        if own_process:
            _stop_on_signals(pulse)
        ending = _train(store, race_id, run, pulse)
        _write_ending(store, race_id, ending)
    return ending.outcome


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
    except MultirateError as error:
        print(f"worker: the last events could not be written: {error}", file=sys.stderr, flush=True)
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


def _write_ending(store: Store, race_id: str, ending: Ending) -> None:
    """Write the outcome; a full disk may have space again a little later, and the outcome is worth waiting for."""
    deadline = time.monotonic() + WRITE_ENDING_WITHIN_S
    while True:
        try:
            finish(store, race_id, ending.outcome, ending.message, ending.traceback)
            compact(store, race_id)
            return
        except StoreError as error:
            print(f"worker: {error}", file=sys.stderr, flush=True)
            if time.monotonic() > deadline:
                return
            time.sleep(1.0)


def _set_threads(threads: int) -> None:
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))


def _stop_on_signals(pulse: Pulse) -> None:
    """Make SIGINT and SIGTERM requests to stop; one that the engine has ignored for a while breaks into its work."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        if pulse.impatient and pulse.engine_works:
            raise KeyboardInterrupt
        pulse.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _interrupt_main_thread() -> None:
    """Deliver SIGINT to the main thread, which also ends a blocking system call such as a download's."""
    if hasattr(signal, "pthread_kill") and (ident := threading.main_thread().ident) is not None:
        signal.pthread_kill(ident, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
