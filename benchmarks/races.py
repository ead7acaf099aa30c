"""Races through the product's own doors: a configuration from the command line's words, the command, its result."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks import ROOT
from benchmarks.run import say
from multirate_core import home, store
from multirate_core.backends import LocalProcess
from multirate_core.cli.parser import make_parser
from multirate_core.cli.settings import race_config
from multirate_core.config import RaceConfig
from multirate_core.events import Evaluated
from multirate_core.store import LaneRow

POLL_S = 0.1
ANSWERS = ("speedup_equal_epochs", "speedup_to_target", "accuracy_at_equal_seconds")


@dataclass(frozen=True)
class Comparison:
    """What the command `compare` gave.

    Args:
        words: of its command line, after "compare".
        wall_s: from its start to its end, in seconds.
        report: its line of JSON.
        evaluations: of every lane, in order.
        notes: what the worker said about model and data.
    """

    words: tuple[str, ...]
    wall_s: float
    report: dict[str, Any]
    evaluations: tuple[Evaluated, ...]
    notes: dict[str, str]

    @property
    def command(self) -> str:
        """The command as a user types it."""
        return " ".join(["python -m multirate_core compare", *self.words])

    @property
    def answers(self) -> dict[str, Any]:
        """The three answers, as the report has them."""
        return {name: self.report[name] for name in ANSWERS}

    def per_seed(self, arm: str, number: str) -> list[float]:
        """Return one of the report's numbers for every seed of an arm."""
        return [float(seed[number]) for seed in self.report["arms"][arm]["per_seed"]]

    def mean(self, arm: str, number: str) -> float:
        """Return one of the report's numbers of an arm, averaged over its seeds."""
        return float(self.report["arms"][arm][number])


def compare(*words: str) -> Comparison:
    """Run `python -m multirate_core compare … --json` and return its result; RuntimeError if it fails."""
    words = (*words, "--json")
    say(f"compare {' '.join(words)}")
    begun = time.perf_counter()
    command = [sys.executable, "-m", "multirate_core", "compare", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"compare ended with exit code {done.returncode}: {done.stderr[-1000:]}")
    with store.open_store(home.store_path()) as opened:
        race = store.list_races(opened, limit=1)[0]
        tests = tuple(store.evaluations(opened, race.id))
    return Comparison(words, wall_s, json.loads(done.stdout.splitlines()[-1]), tests, race.environment)


def config(*words: str) -> RaceConfig:
    """Return the configuration that `compare` makes of these words."""
    return race_config(make_parser().parse_args(["compare", *words]))


def race_to_the_end(config: RaceConfig, may_diverge: bool = False) -> list[LaneRow]:
    """Race in a worker process and return the lanes; RuntimeError if it does not finish, or diverges and may not."""
    backend = LocalProcess(home.store_path())
    race_id = backend.submit(config)
    while (race := backend.status(race_id)).state != "ended":
        time.sleep(POLL_S)
    if race.outcome not in ("finished", "diverged" if may_diverge else "finished"):
        raise RuntimeError(f"the race ended as {race.outcome}: {race.message}")
    with store.open_store(home.store_path()) as opened:
        return store.lanes(opened, race_id)
