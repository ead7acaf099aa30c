"""What both examples share: settings chosen with equal effort, arms compared over the same seeds, an interval."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

Options = Mapping[str, Any]  # of an optimiser, by their names
Scores = Mapping[str, float]  # in percent, by the name of what was tested

CONFIDENCE = 0.95
FIRST_SEED = 100  # of those that are compared
FIRST_TUNING_SEED = 1000


@dataclass(frozen=True)
class Comparison:
    """What was chosen for every arm, and what came of it.

    Args:
        chosen: the options of every arm.
        tuning: what every arm's candidates reached on the validation part, in their order.
        scores: of every arm, one entry per seed.
    """

    chosen: Mapping[str, Options]
    tuning: Mapping[str, Sequence[float]]
    scores: Mapping[str, Sequence[Scores]]

    def values(self, arm: str, score: str) -> list[float]:
        """Return one arm's score of every seed."""
        return [each[score] for each in self.scores[arm]]

    def differences(self, arm: str, other: str, score: str) -> list[float]:
        """Return arm − other for every seed, in points."""
        return [a - b for a, b in zip(self.values(arm, score), self.values(other, score), strict=True)]


def choose(
    candidates: Mapping[str, Sequence[Options]], seeds: int, validate: Callable[[str, Options, int], float]
) -> tuple[dict[str, Options], dict[str, list[float]]]:
    """Return every arm's best candidate and what all of them reached; no candidate, no search.

    Args:
        candidates: of every arm, as many for one as for another.
        seeds: how many to choose by, >= 1; they are not among those compared.
        validate: arm, options and seed → the score on the validation part; the mean over the seeds counts.

    Raises:
        ValueError: the arms have different numbers of candidates.
    """
    counts = {arm: len(each) for arm, each in candidates.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"every arm needs as many candidates as the others, got {counts}.")
    tuning_seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds)
    chosen, tuning = {}, {}
    for arm, each in candidates.items():
        if len(each) == 1:
            chosen[arm], tuning[arm] = each[0], []
            continue
        reached = [statistics.fmean(validate(arm, options, seed) for seed in tuning_seeds) for options in each]
        chosen[arm], tuning[arm] = each[reached.index(max(reached))], reached
    return chosen, tuning


def compared_seeds(count: int) -> range:
    """Return the seeds that are compared."""
    return range(FIRST_SEED, FIRST_SEED + count)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of paired differences (Student's t).

    Raises:
        ValueError: fewer than two differences.
    """
    if len(differences) < 2:
        raise ValueError(f"an interval needs at least two seeds, got {len(differences)}.")
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    half *= statistics.stdev(differences) / len(differences) ** 0.5
    mean = statistics.fmean(differences)
    return mean - half, mean + half


def verdict(differences: Sequence[float]) -> str:
    """Say in one word which way the interval lies: better, worse, or cannot tell."""
    low, high = interval(differences)
    return "better" if low > 0 else "worse" if high < 0 else "cannot tell"


def told(comparison: Comparison, arm: str, others: Sequence[str], scores: Sequence[str]) -> dict[str, Any]:
    """Return a comparison as plain numbers: each seed, the means, and `arm` against every other with its interval."""
    return {
        "chosen": {name: dict(options) for name, options in comparison.chosen.items()},
        "validation": {name: _rounded(reached) for name, reached in comparison.tuning.items()},
        "scores": {
            name: {score: _rounded(comparison.values(name, score)) for score in scores} for name in comparison.scores
        },
        f"{arm} against": {
            other: {score: _difference(comparison.differences(arm, other, score)) for score in scores}
            for other in others
        },
    }


def _difference(differences: Sequence[float]) -> dict[str, Any]:
    each = {"mean": round(statistics.fmean(differences), 3), "each_seed": _rounded(differences)}
    if len(differences) < 2:
        return {**each, "verdict": "one seed: no verdict"}
    return {**each, "interval_95": _rounded(interval(differences)), "verdict": verdict(differences)}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]
