"""The result of a race as the command line prints it: per arm the means over seeds, then the three answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from multirate_core.answers import answers_of
from multirate_core.config_json import to_json
from multirate_core.cost.beside import beside, forecast_of
from multirate_core.events import Evaluated
from multirate_core.store import LaneRow, RaceRow
from multirate_core.verdict import ThreeAnswers

NUMBERS = (
    *("train_seconds", "epochs", "steps", "final_accuracy", "final_loss"),
    *("final_balanced_accuracy", "final_macro_f1", "final_mcc"),
)


def make_report(race: RaceRow, lanes: Sequence[LaneRow], tests: Sequence[Evaluated]) -> dict[str, Any]:
    """Return the result as plain dicts, lists and numbers; what is not known is None.

    Args:
        race: as the store has it.
        lanes: of the race.
        tests: all evaluations of the race.
    """
    by_lane = {lane.lane: [test for test in tests if test.lane == lane.lane] for lane in lanes}
    metric = race.config.metric
    answers = answers_of(lanes, by_lane, "multirate", metric)
    accuracies = answers_of(lanes, by_lane, "multirate")
    return {
        "arms": {
            arm.name: _arm([_seed(lane, by_lane[lane.lane]) for lane in lanes if lane.arm == arm.name])
            for arm in race.config.arms
        },
        **_speedups(answers),
        "accuracy_at_equal_seconds": _at_equal_seconds(accuracies),
        "metric": metric,
        "metric_at_equal_seconds": _at_equal_seconds(answers),
        "predicted": _predicted(race, lanes),
        "device": race.environment.get("device", race.device),
        "threads": int(race.environment["threads"]) if "threads" in race.environment else None,
        "outcome": race.outcome,
        "race": race.id,
        "config": json.loads(to_json(race.config)),
    }


def _predicted(race: RaceRow, lanes: Sequence[LaneRow]) -> dict[str, dict[str, float | None]] | None:
    """Return what had been predicted for every arm, and the ratio's error where it was measured; None without it."""
    errors = {row.arm: row.ratio_error for row in beside(race.environment, race.config, lanes)}
    found = {
        name: {
            "step_s": each.step_s,
            "ratio": each.ratio,
            "ratio_uncertainty": each.uncertainty,
            "ratio_error": errors.get(name),
        }
        for name, each in forecast_of(race.environment, race.config).items()
    }
    return found or None


def _seed(lane: LaneRow, tests: Sequence[Evaluated]) -> dict[str, Any]:
    """Return one lane's numbers."""
    last = tests[-1] if tests else None
    return {
        "seed": lane.seed,
        "train_seconds": lane.train_seconds,
        "epochs": lane.epochs,
        "steps": lane.steps,
        "final_accuracy": None if last is None else last.accuracy,
        "final_loss": None if last is None else last.loss,
        "final_balanced_accuracy": None if last is None else last.balanced_accuracy,
        "final_macro_f1": None if last is None else last.macro_f1,
        "final_mcc": None if last is None else last.mcc,
        "outcome": lane.outcome,
    }


def _arm(per_seed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over the seeds, and the outcome that is not "finished" if there is one.

    A seed that was cut short counts only if none came to an end of its own (a divergence is one).
    """
    begun = [seed for seed in per_seed if seed["steps"]]
    whole = [seed for seed in begun if seed["outcome"] in ("finished", "diverged")]
    means = {name: _mean([seed[name] for seed in whole or begun if seed[name] is not None]) for name in NUMBERS}
    unlucky = [seed["outcome"] for seed in per_seed if seed["outcome"] != "finished"]
    return {**means, "outcome": unlucky[0] if unlucky else "finished", "per_seed": per_seed}


def _mean(values: Sequence[float]) -> float | int | None:
    """Return the mean, whole if all values are; None of nothing."""
    if not values:
        return None
    mean = fmean(values)
    return int(mean) if all(isinstance(value, int) for value in values) and mean.is_integer() else mean


def _speedups(answers: ThreeAnswers | None) -> dict[str, Any]:
    epochs = answers.equal_epochs if answers else None
    return {
        "speedup_equal_epochs": epochs.speedup if epochs else None,
        "speedup_to_target": [{"target": row.target, "speedup": row.speedup} for row in answers.to_target]
        if answers
        else [],
    }


def _at_equal_seconds(answers: ThreeAnswers | None) -> dict[str, float] | None:
    found = answers.equal_seconds if answers else None
    return None if found is None else {"seconds": found.seconds, "sgd": found.sgd, "multirate": found.other}
