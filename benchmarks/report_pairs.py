"""The table of real networks on real data in docs/measurements.md, and in which rows multirate is behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

COLUMNS = (
    "pair: SGD's lr, steps",
    "fast",
    "training time / SGD's at equal epochs: mean (each seed)",
    "interval of the difference",
    "error of the prediction",
    "accuracy in %: mean (each seed)",
    "times as fast as SGD to an accuracy in %",
    "after equal seconds: SGD's accuracy, this arm's",
    "loading",
)
QUIET_CORES = 0.25  # what other processes may use before a pair is raced, for its times to count
POINT = 0.01  # of accuracy: smaller differences are told as equal, they are a few images

Record = Mapping[str, Any]


def pair_lines(pairs: Mapping[str, Record]) -> Iterator[str]:
    """Yield the table, then sentences on where multirate is behind SGD."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| --- " * len(COLUMNS) + "|"
    for pair in pairs.values():
        for arm in pair["arms"]:
            yield "| " + " | ".join(_cells(pair, arm)) + " |"
    yield ""
    busy = [pair["title"] for pair in pairs.values() if pair["others_cores"] > QUIET_CORES]
    if busy:
        yield f"**Provisional: the machine was not quiet for {'; '.join(busy)}.**"
        yield ""
    yield from _behind(pairs)
    yield ""


def _cells(pair: Record, arm: Record) -> tuple[str, ...]:
    sgd = arm["arm"] == "sgd"
    equal = arm["equal_seconds"]
    return (
        f"**{pair['title']}**: {pair['lr']:.2g}, {pair['steps']}" if sgd else "",
        {"sgd": "all (SGD)", "frozen": "head, the rest frozen"}.get(arm["arm"], arm["arm"]),
        f"1 ({_listed(arm['seconds'], '.1f')} s)" if sgd else _mean_and_each(arm["time_ratio"], ".2f"),
        "",
        "" if sgd else _error(arm),
        _mean_and_each([100 * value for value in arm["accuracy"]], ".1f"),
        "; ".join(f"{100 * target:.1f}: {_times(speedup)}" for target, speedup in arm["to_target"]),
        "" if equal is None else f"{equal[0]:.1f} s: {equal[1]:.1%}, {equal[2]:.1%}",
        f"{arm['loading_share']:.1%}",
    )


def _behind(pairs: Mapping[str, Record]) -> Iterator[str]:
    """Yield in how many rows multirate was behind, by two of the three answers, and which these are."""
    rows = [(pair, arm) for pair in pairs.values() for arm in pair["arms"] if arm["arm"] not in ("sgd", "frozen")]
    answers = (
        ("After equal epochs", "less accurate than SGD by a point or more", _lost_at_equal_epochs),
        ("After equal seconds", "less accurate than SGD by a point or more", _lost_at_equal_seconds),
        ("To SGD's best accuracy", "slower than SGD, or never there at some seed,", _slower_to_the_best),
    )
    for when, what, is_behind in answers:
        names = [f"{pair['title']} ({arm['arm']})" for pair, arm in rows if is_behind(pair, arm)]
        listed = f": {'; '.join(names)}" if names else ""
        yield f"- {when} multirate was {what} in {len(names)} of {len(rows)} rows{listed}."


def _lost_at_equal_epochs(pair: Record, arm: Record) -> bool:
    return fmean(arm["accuracy"]) <= fmean(pair["arms"][0]["accuracy"]) - POINT


def _lost_at_equal_seconds(_: Record, arm: Record) -> bool:
    return bool(arm["equal_seconds"] and arm["equal_seconds"][2] <= arm["equal_seconds"][1] - POINT)


def _slower_to_the_best(_: Record, arm: Record) -> bool:
    speedup = arm["to_target"][-1][1] if arm["to_target"] else None
    return speedup is None or speedup < 1


def _error(arm: Record) -> str:
    """Return how far off the predicted time ratio was, in percent; "" where none was predicted."""
    predicted = arm.get("predicted_ratio")
    return "" if predicted is None else f"{100 * (predicted / fmean(arm['time_ratio']) - 1):+.1f} % ({predicted:.2f})"


def _mean_and_each(values: Sequence[float], form: str) -> str:
    return f"**{fmean(values):{form}}** ({_listed(values, form)})"


def _listed(values: Sequence[float], form: str) -> str:
    return ", ".join(f"{value:{form}}" for value in values)


def _times(speedup: float | None) -> str:
    return "never" if speedup is None else f"{speedup:.2f}×"
