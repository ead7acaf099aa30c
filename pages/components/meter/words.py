"""What the meter says: figures with a line about each, and the points of its curve. Pure: no streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multirate_core.cost.predict import Prediction
from multirate_core.cost.reach import PullBack
from multirate_core.memory.words import gigabytes
from pages.components.text import number, percent

CURVE_KS = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100)


def meter_data(
    found: Prediction, plain: str, steps_per_epoch: float | None, curve: Sequence[tuple[int, float]], k: int | None
) -> dict[str, Any]:
    """Return what the meter's component draws: JSON values.

    Args:
        found: the prediction for the board's partition.
        plain: what people call the plain arm: "SGD".
        steps_per_epoch: None if the size of the data is not known.
        curve: (k, speed-up) pairs, k rising; fewer than two draw none.
        k: the period of the slow groups; None if they have several, or there is none.
    """
    parts = [_speed_up(found, plain), _time(found, plain, steps_per_epoch), _memory(found), _exchange(found, plain)]
    chart = None
    if len(curve) > 1:
        limit, speed_up = 1 / found.ratio_limit, 1 / found.ratio
        (least, first), (most, last) = curve[0], curve[-1]
        label = f"Speed-up against k, from {first:.2f} at k = {least} to {last:.2f} at k = {most}"
        label += f"; {speed_up:.2f} at the chosen k = {k}" if k is not None else ""
        points = [[at, round(value, 4)] for at, value in curve]
        chart = {"points": points, "k": k, "speed_up": round(speed_up, 4), "limit": round(limit, 4), "label": label}
    cells = [dict(zip(("value", "spread", "about"), part, strict=True)) for part in parts if part is not None]
    return {"cells": cells, "curve": chart}


def pull_back_text(found: PullBack) -> str:
    """Return which layer sends gradients how far back, and what moving it would do."""
    saves = "cuts that short" if found.saving is None else f"saves {percent(found.saving, 0)} of the time"
    return (
        f"{found.module} is fast: on fast steps gradients cross {found.reach.crossed} of {found.reach.layers} layers "
        f"instead of {found.reach_without.crossed}. Moving it to {found.group} {saves}."
    )


def _speed_up(found: Prediction, plain: str) -> tuple[str, str, str]:
    speed_up = 1 / found.ratio
    spread = max(0.01, found.uncertainty / found.ratio * speed_up)
    limit = f"; at most {1 / found.ratio_limit:.2f}× as k grows" if found.ratio_limit < found.ratio else ""
    return f"{speed_up:.2f}×", f"± {spread:.2f}", f"{plain}’s speed at equal epochs{limit}"


def _time(found: Prediction, plain: str, steps_per_epoch: float | None) -> tuple[str, str, str]:
    steps = f"steps: {_seconds(found.fast_step_s)} fast, {_seconds(found.full_step_s)} full"
    if steps_per_epoch is None:
        return f"{_seconds(found.mean_step_s)} a step", "", f"{plain} {_seconds(found.sgd_step_s)}; {steps}"
    mine, theirs = (_seconds(steps_per_epoch * each) for each in (found.mean_step_s, found.sgd_step_s))
    return f"{mine} an epoch", "", f"{plain} {theirs}; {steps}"


def _memory(found: Prediction) -> tuple[str, str, str] | None:
    if found.multirate_peak_bytes is None:
        return None
    lean = "" if found.lean_peak_bytes is None else f"; {_bytes(found.lean_peak_bytes)} with lean memory"
    return f"{_bytes(found.multirate_peak_bytes)} in tensors", "", f"at most, in one arm{lean}"


def _exchange(found: Prediction, plain: str) -> tuple[str, str, str]:
    mine, theirs = _bytes(found.multirate_allreduce_bytes), _bytes(found.sgd_allreduce_bytes)
    return f"{mine} a step", "", f"between GPUs, if there are several; {plain} {theirs}"


def _seconds(seconds: float) -> str:
    if seconds >= 90:
        return f"{seconds / 60:,.1f} min"
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(1000 * seconds)} ms"


def _bytes(count: float) -> str:
    return gigabytes(round(count)) if count >= 1e9 else f"{number(count / 1e6)} MB"
