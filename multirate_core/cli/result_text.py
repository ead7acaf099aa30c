"""The result of a race as people read it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from multirate_core.answers import MUCH_LOADING, loading_share
from multirate_core.config import BASE_TITLES
from multirate_core.cost.beside import Beside, beside
from multirate_core.metrics import Metric, metric_format, metric_title
from multirate_core.store import LaneRow, RaceRow


def result_lines(report: dict[str, Any], race: RaceRow) -> Iterator[str]:
    """Yield a table of the arms and the three answers, as what happened and not as a winner."""
    yield f"race {race.id}: {report['outcome']}, on {report['device']} with {report['threads']} threads"
    metric = race.config.metric
    title, width = metric_title(metric), max(10, len(metric_title(metric)) + 2)
    yield f"{'arm':<12}{'train s':>10}{'epochs':>9}{'steps':>9}{title:>{width}}{'loss':>9}  outcome"
    for name, arm in report["arms"].items():
        cells = [
            _cell(arm[key], form, wide)
            for key, form, wide in (
                ("train_seconds", ".2f", 10),
                ("epochs", ".2f", 9),
                ("steps", ".0f", 9),
                (f"final_{metric}", metric_format(metric, 2), width),
                ("final_loss", ".4f", 9),
            )
        ]
        yield f"{race.config.title(name):<12}{''.join(cells)}  {arm['outcome']}"
    yield from _answers(report, BASE_TITLES[race.config.recipe.base], metric)
    seeds = len(race.config.seeds)
    yield "one run: no verdict" if seeds == 1 else f"means over {seeds} seeds"


def loading_lines(race: RaceRow, lanes: Sequence[LaneRow]) -> Iterator[str]:
    """Yield a line if an arm waited long for its batches."""
    shares = {arm.name: loading_share(lanes, arm.name) for arm in race.config.arms}
    much = [f"{share:.0%} ({race.config.title(arm)})" for arm, share in shares.items() if share > MUCH_LOADING]
    if much:
        yield f"loading batches took {', '.join(much)} of loading and training; it is no part of the training seconds"


def prediction_lines(race: RaceRow, lanes: Sequence[LaneRow]) -> Iterator[str]:
    """Yield what had been predicted for every arm beside the plain one, and how far off it was."""
    plain = BASE_TITLES[race.config.recipe.base]
    others = {arm.name for arm in race.config.arms if arm.kind != "sgd"}
    for row in beside(race.environment, race.config, lanes):
        if row.arm in others and row.measured_ratio is not None:
            yield (
                f"{row.arm}: predicted {row.predicted.ratio:.2f} of {plain}'s time, measured {row.measured_ratio:.2f} "
                f"({_off(row)})"
            )


def _off(row: Beside) -> str:
    percent = round(100 * (row.ratio_error or 0.0))
    return f"{abs(percent)} % too {'high' if percent > 0 else 'low'}" if percent else "less than 1 % off"


def _answers(report: dict[str, Any], plain: str, metric: Metric) -> Iterator[str]:
    """Yield the three answers; `plain` is what people call the arm that multirate is held against."""
    speedup, seconds = report["speedup_equal_epochs"], report["metric_at_equal_seconds"]
    if speedup is not None:
        yield f"at equal epochs: {plain} took {speedup:.2f} times multirate's training seconds"
    if report["speedup_to_target"]:
        rows = [
            f"{row['target']:{metric_format(metric, 1)}}: {_times(row['speedup'])}"
            for row in report["speedup_to_target"]
        ]
        yield f"to reach {'an' if metric in ('accuracy', 'mcc') else 'a'} {metric_title(metric)}: {', '.join(rows)}"
    if seconds is not None:
        form = metric_format(metric, 2)
        yield (
            f"after {seconds['seconds']:.2f} training seconds: {plain} {seconds['sgd']:{form}}, "
            f"multirate {seconds['multirate']:{form}}"
        )


def _times(speedup: float | None) -> str:
    return "never" if speedup is None else f"{speedup:.2f}×"


def _cell(value: float | None, form: str, width: int) -> str:
    return f"{'–' if value is None else format(value, form):>{width}}"
