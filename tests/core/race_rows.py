"""Races and lanes as the store returns them, for the tests of what the pages say about them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import Any

from plot_races import config

from multirate_core.store import RaceRow


def row(**changes: Any) -> RaceRow:
    """A race that runs, unless told otherwise."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(RaceRow))
    values |= {"id": "abcdefghij", "created_at": 1_000_000.0, "config": config(), "state": "running", "device": "cpu"}
    values |= {"candidates": ("cpu",), "message": "", "traceback": "", "phase": "", "fraction": 0.5, "environment": {}}
    return RaceRow(**{**values, **changes})


def lane(number: int, arm: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A lane as the summary of an ended race holds it."""
    done = {"steps": 100, "epochs": 2.0, "train_seconds": 8.0, "outcome": "finished", "message": "", "evaluations": 3}
    tested = {"final_accuracy": 0.9, "final_loss": 0.3, "best_accuracy": 0.91}
    return {"lane": number, "seed": seed, "arm": arm, **done, **tested, **changes}


def ended(*lanes: dict[str, Any], outcome: str = "finished", **changes: Any) -> RaceRow:
    return row(state="ended", outcome=outcome, summary={"lanes": list(lanes)}, **changes)


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def forecast(sgd: float = 1.0, multirate: float = 0.48) -> dict[str, str]:
    """The environment of a race with a prediction."""
    ratios = {"sgd": sgd, "multirate": multirate}
    text = {arm: {"step_s": 0.01 * ratio, "ratio": ratio, "uncertainty": 0.02} for arm, ratio in ratios.items()}
    return {"forecast": json.dumps(text)}
