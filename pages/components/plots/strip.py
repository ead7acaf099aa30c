"""The strip: a row per group of each arm, with a mark at every recent step that gave it a gradient. No streamlit."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pages.components.plots.curves import RECENT_STEPS, LaneCurve
from pages.components.plots.lines import Line

WINDOW_STEPS = 60  # can be told apart on a narrow screen; more only for a period so long that no rhythm could be seen
CYCLES = 3
MOST_ROWS = 12
ROW_PX = 36


@dataclass(frozen=True)
class Strip:
    """What the figure needs to draw the strip: plotly's dicts, its height in pixels (0 = nothing yet), its steps."""

    traces: tuple[dict[str, Any], ...]
    labels: tuple[dict[str, Any], ...]
    axes: dict[str, Any]
    height_px: int
    steps: int


def gradient_steps(curve: LaneCurve, group: int, steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the steps, counted back from the newest (0, -1, …), at which a group had a gradient.

    Args:
        curve: of the lane.
        group: number of its bit.
        steps: how far to look back.
    """
    due = curve.due[-steps:]
    had = (due >> np.uint64(group)) & np.uint64(1)
    return (np.flatnonzero(had) - (len(due) - 1)).astype(np.float64)


def strip_of(lines: Sequence[Line], y_axis: str) -> Strip:
    """Return the strip; every arm shows its newest seed.

    The steps are counted back from the newest one, because the arms of a race have not done equally many.

    Args:
        lines: all that are drawn.
        y_axis: plotly's name of its y axis, "y4".
    """
    newest = {line.arm_key: line for line in lines if len(line.curve.due)}
    rows = [(line, number) for line in newest.values() for number in range(len(line.curve.groups))][:MOST_ROWS]
    if not rows:
        return Strip((), (), {}, 0, WINDOW_STEPS)
    slowest = max(group.period for line in newest.values() for group in line.curve.groups)
    steps = min(RECENT_STEPS, max(WINDOW_STEPS, CYCLES * slowest))
    return Strip(
        traces=tuple(_row(line, number, place, steps, y_axis) for place, (line, number) in enumerate(rows)),
        labels=tuple(_label(line, number, place, y_axis) for place, (line, number) in enumerate(rows)),
        axes=_axes(len(rows), steps, y_axis),
        height_px=ROW_PX * len(rows),
        steps=steps,
    )


def _axes(rows: int, steps: int, y_axis: str) -> dict[str, Any]:
    """Return the strip's own axes; they do not zoom."""
    still = {"fixedrange": True, "showgrid": False, "zeroline": False}
    words = [f"{steps} steps ago", f"{steps // 2}", "now"]
    x = {"anchor": y_axis, "range": [-steps, 1], "tickvals": [1 - steps, -steps // 2, 0], "ticktext": words}
    y = {"anchor": "x2", "range": [rows - 0.5, -0.5], "showticklabels": False}
    return {"xaxis2": x | still, "yaxis" + y_axis[1:]: y | still}


def _row(line: Line, number: int, place: int, steps: int, y_axis: str) -> dict[str, Any]:
    x = gradient_steps(line.curve, number, steps)
    mark = {"symbol": "line-ns", "size": 12, "line": {"width": 2 if steps <= 200 else 1, "color": line.colour}}
    trace = {"type": "scatter", "mode": "markers", "uid": f"strip-{line.arm_key}-{number}", "marker": mark}
    trace |= {"x": x, "y": np.full(len(x), place + 0.2), "xaxis": "x2", "yaxis": y_axis, "hoverinfo": "skip"}
    return trace | {"name": html.escape(line.label), "legendgroup": line.arm_key, "showlegend": False}


def _label(line: Line, number: int, place: int, y_axis: str) -> dict[str, Any]:
    group = line.curve.groups[number]
    text = f"{line.label} · {group.name}" if len(line.curve.groups) > 1 else line.label
    text = html.escape(text if len(text) <= 60 else text[:59] + "…")
    place_in_row = {"xref": "paper", "x": 0, "xanchor": "left", "yref": y_axis, "y": place - 0.5, "yanchor": "top"}
    return {"text": text, "showarrow": False, "font": {"size": 11}, "yshift": 2, **place_in_row}
