"""Runs one benchmark as a program: measure, print one line of JSON, keep it in the results folder."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from benchmarks.figures import Result
from benchmarks.surroundings import busy_cores, surroundings

Measure = Callable[[bool], Result]
WORKERS_LEAVE_WITHIN_S = 10.0
SETTLE_S = 4.0


class NotMeasurableError(Exception):
    """Something that the benchmark needs is not here; the message says what and how to get it."""


def main(measure: Measure, name: str) -> int:
    """Run a benchmark from the command line.

    With `--quick` it measures with as few repetitions as it can and keeps nothing: to see that it works.

    Returns:
        0 when it measured, whether or not targets were met; 3 when something that it needs is missing.
    """
    about = sys.modules[measure.__module__].__doc__
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="few repetitions, keep nothing")
    quick = parser.parse_known_args()[0].quick  # a benchmark may have options of its own
    # Python keeps compiled modules unless it is told otherwise: starts are measured as users have them.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    before, begun = surroundings(), time.time()
    try:
        result = measure(quick)
    except NotMeasurableError as error:
        print(f"{name}: not measured: {error}", file=sys.stderr)
        return 3
    record = complete(result, before, begun, quick)
    print(json.dumps(record, ensure_ascii=False), flush=True)
    if not quick:
        keep(record, RESULTS)
    return 0


def complete(result: Result, before: dict[str, Any], begun: float, quick: bool) -> dict[str, Any]:
    """Return the record of a result: what was found, and where, when and how quietly it was measured."""
    took_s = time.time() - begun
    time.sleep(SETTLE_S)  # a worker frees its memory for a second after its race: that is nobody else's work
    return {
        **result.as_dict(),
        "quick": quick,
        "measured_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begun)),
        "took_s": round(took_s, 1),
        **before,
        "others_cores_after": busy_cores(),
    }


def keep(record: dict[str, Any], folder: Path) -> Path:
    """Write a record to its file in the results folder and return the path."""
    path = folder / f"{record['benchmark']}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


@contextmanager
def fresh_home() -> Iterator[Path]:
    """Give this process and those that it starts an empty user data folder, and take it away afterwards.

    Inside, the cost meter measures when it is asked to: by itself it would begin beside what is being timed.
    """
    before = {name: os.environ.get(name) for name in ("MULTIRATE_HOME", "MULTIRATE_METER")}
    with tempfile.TemporaryDirectory(prefix="multirate-benchmark-", ignore_cleanup_errors=True) as folder:
        os.environ |= {"MULTIRATE_HOME": folder, "MULTIRATE_METER": "ask"}
        try:
            yield Path(folder)
        finally:
            _wait_for_workers()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _wait_for_workers() -> None:
    """Wait until the workers that this process started have left their store: a backend watches each in a thread."""
    for thread in threading.enumerate():
        if thread.name.startswith("watch-"):
            thread.join(WORKERS_LEAVE_WITHIN_S)


def say(text: str) -> None:
    """Tell on stderr how far a benchmark is."""
    print(text, file=sys.stderr, flush=True)
