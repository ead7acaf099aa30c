"""An engine that follows a script instead of training, for tests of store, queue, worker and backends.

The script is JSON in `data.path` of the configuration: {"steps", "step_s", "then", "silent_s"}. Run as a program it is
a worker with this engine: the real worker's `main`, in a real process.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multirate_core.config import ArmConfig, Budget, DataConfig, GroupSpec, PartitionSpec, RaceConfig, Rule
from multirate_core.errors import DataError
from multirate_core.events import (
    EnvironmentFound,
    Evaluated,
    Event,
    LaneClock,
    LaneEnded,
    PhaseChanged,
    Progress,
    StepsRecorded,
)
from multirate_core.worker import Control

COMMAND = (sys.executable, str(Path(__file__).resolve()))
SPLIT = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", 5)), (Rule("head.*", "fast"), Rule("*", "slow")))
ARMS = (ArmConfig("SGD", "sgd"), ArmConfig("multirate", "multirate", SPLIT))


def scripted(device: str = "cpu", name: str = "digits", **script: Any) -> RaceConfig:
    """Return a configuration whose race follows the script."""
    data = DataConfig(name=name, path=json.dumps(script))
    return RaceConfig(arms=ARMS, data=data, budget=Budget(epochs=2), device=device, threads=1)


def steps(lane: int, first: int, count: int) -> StepsRecorded:
    """Return steps whose numbers follow from their index: clock (i + 1) / 100 s, loss 1 / (i + 1)."""
    at = range(first, first + count)
    return StepsRecorded(
        lane=lane,
        first_step=first,
        train_seconds=array("d", [(i + 1) / 100 for i in at]),
        loss=array("f", [1 / (i + 1) for i in at]),
        step_seconds=array("f", [0.01] * count),
        due=array("Q", [3 if i % 5 == 0 else 1 for i in at]),
    )


def run(config: RaceConfig, control: Control) -> Iterator[Event]:
    """Yield the events of a race that follows its script."""
    script = {"steps": 10, "step_s": 0.0, "then": "", "silent_s": 0.0} | json.loads(config.data.path or "{}")
    yield PhaseChanged("following the script")
    yield EnvironmentFound({"device": config.device, "threads": str(config.threads)})
    time.sleep(script["silent_s"])
    for step in range(script["steps"]):
        if control() == "stop":
            yield from _end(config, step, "stopped")
            return
        time.sleep(script["step_s"])
        for lane in range(len(config.lanes)):
            yield steps(lane, step, 1)
        yield Progress((step + 1) / script["steps"], (script["steps"] - step - 1) * script["step_s"])
    _fail(script["then"])
    yield from _end(config, script["steps"], "diverged" if script["then"] == "diverge" else "finished")


def _end(config: RaceConfig, done: int, outcome: Any) -> Iterator[Event]:
    for lane in range(len(config.lanes)):
        yield Evaluated(lane, done, done / 5, done / 100, 0.5 + lane / 10, 1.25, "end")
        yield LaneClock(lane, done / 50, done / 100, {"evaluation": done / 100})
        yield LaneEnded(lane, outcome, "", done, done / 5, done / 100)


def _fail(how: str) -> None:
    if how == "memory":
        raise MemoryError
    if how == "data":
        raise DataError("the folder /images holds one class, got ['cat']. Add a second class.")
    if how == "bug":
        raise ZeroDivisionError("division by zero")


if __name__ == "__main__":
    from multirate_core.worker.process import main

    sys.exit(main(run=run, command=COMMAND))
