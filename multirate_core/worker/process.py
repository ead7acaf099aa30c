"""The worker process: claim a race, set the threads, run it, start the next."""

from __future__ import annotations

import argparse
import faulthandler
import os
from collections.abc import Sequence

from multirate_core.errors import MultirateError
from multirate_core.machine import default_threads
from multirate_core.store import open_store
from multirate_core.store.queue import claim
from multirate_core.worker.launch import COMMAND, tend
from multirate_core.worker.log import say
from multirate_core.worker.running import Engine, run_race

# Read by OpenMP, MKL, OpenBLAS and Accelerate when torch is loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


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
            threads = race.config.threads or default_threads()
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
            outcome = run_race(store, race.id, run, command, own_process=True)
            say(f"race {race.id}: {outcome}")
            tend(store, command)
    except MultirateError as error:
        say(f"worker: {error}")
        return 2
    return 0
