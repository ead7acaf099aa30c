"""One process, one race: `python -m multirate_core.worker --store PATH --race ID`.

The worker claims the race, lets the engine train, writes what it says in batches, looks for requests, writes the
outcome and gives the device to the next race. torch is imported by the engine only, after the threads are set.
"""

from multirate_core.worker.launch import COMMAND, spawn, tend
from multirate_core.worker.running import Control, Engine, run_race

__all__ = ["COMMAND", "Control", "Engine", "run_race", "spawn", "tend"]
