"""Figures as plain dicts in plotly's form, made from recorded curves; arrays stay numpy arrays. No streamlit.

One figure holds all live plots, so that they share the x axis, the legend and the zoom: test accuracy (or what else the
race is judged by), minibatch loss, time per step, and a strip that shows at which steps each group got a gradient.
Colours of text and grid are the theme's and are added in the browser.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from multirate_core.metrics import METRIC_INFO, Metric, metric_format, metric_title
from pages.components.plots.curves import RaceCurves
from pages.components.plots.lines import Axis, Line, colour_of, lines_left_out, lines_of, marker_of
from pages.components.plots.strip import Strip, strip_of
from pages.components.text import number

Figure = dict[str, Any]
Trace = dict[str, Any]

AXIS_TITLES: dict[Axis, str] = {"seconds": "training seconds", "steps": "steps", "epochs": "epochs"}
X_FORMATS: dict[Axis, str] = {"seconds": ".1f", "steps": ".0f", "epochs": ".2f"}
PANELS_PX = {"accuracy": 200, "loss": 170, "time": 120}
Y_AXES = {"accuracy": "y", "loss": "y2", "time": "y3", "strip": "y4"}
TITLE_PX = 30  # above each panel, its title stands here
X_AXIS_PX = 48  # below the panels that share the x axis
STRIP_AXIS_PX = 26
LEGEND_PX = 30
MOST_EVALUATIONS = 500  # of a line that are drawn
MOST_MARKS = 80
EMPTY_RANGES = {"y": 1.03, "y2": 3.3, "y3": 11}  # of a panel without a point, in which plotly would count from -1 to 4
BANDS_UP_TO = 4  # lines; more bands would hide each other


def race_figure(races: Sequence[tuple[str, RaceCurves]], axis: Axis = "seconds") -> Figure:
    """Return all live plots of one race, or of several laid over each other.

    Args:
        races: a title for the legend ("" for a race that is drawn alone) and the curves of each race.
        axis: what x counts.

    Returns:
        {"data": traces, "layout": layout}. The layout's `uirevision` is the same as long as the races and the axis
        are: plotly keeps zoom and hidden arms then.
    """
    lines = lines_of(races)
    strip = strip_of(lines, Y_AXES["strip"])
    loss_limit = _loss_limit(lines)
    metric, band = common_metric(races), len(lines) <= BANDS_UP_TO
    data = [trace for line in lines for trace in _traces(line, axis, metric, band, loss_limit)]
    _give_every_arm_one_legend_entry(data)
    layout = _layout(_titles(lines, strip, lines_left_out(races), metric), axis, strip)
    layout["yaxis"] |= _metric_axis(metric)
    layout["yaxis2"]["autorangeoptions"] = {"clipmax": loss_limit}
    layout["yaxis3"]["autorangeoptions"] = {"clipmax": _time_limit(lines)}
    for name, top in EMPTY_RANGES.items():
        if not any(trace["yaxis"] == name and len(trace["x"]) for trace in data):
            layout["yaxis" + name[1:]]["range"] = [0, top]
            data.append(_unseen(name))
    layout["uirevision"] = "|".join([axis, *(curves.race for _, curves in races)])
    return {"data": [*data, *strip.traces], "layout": layout}


def race_summary(races: Sequence[tuple[str, RaceCurves]]) -> str:
    """Return the newest values of every line in words, for those who cannot see the plots."""
    lines, metric = lines_of(races), common_metric(races)
    words = [_in_words(line, metric) for line in lines]
    return " ".join(["Live plots." if lines else "No step was recorded yet.", *words])


def common_metric(races: Sequence[tuple[str, RaceCurves]]) -> Metric:
    """Return what all these races are judged by; accuracy, which all of them have, if they differ."""
    metrics = {curves.metric for _, curves in races}
    return metrics.pop() if len(metrics) == 1 else "accuracy"


def sweep_figure(sweep: Sequence[tuple[float, float | None]], place: int = 1, metric: Metric = "accuracy") -> Figure:
    """Return the speed-up to reach a target, against the target.

    Args:
        sweep: target and speed-up (SGD's training seconds divided by multirate's), None where it was not reached.
        place: of the arm among the race's arms; gives it the look that it has in the curves.
        metric: what the targets are values of.
    """
    reached = [(target, speedup) for target, speedup in sweep if speedup is not None]
    x = np.array([target for target, _ in reached])
    y = np.array([speedup for _, speedup in reached])
    ends = np.array([sweep[0][0], sweep[-1][0]]) if sweep else np.empty(0)
    level = _trace("sweep-even", ends, np.ones(len(ends)), name="equally fast", hoverinfo="skip")
    level |= {"mode": "lines", "line": {"color": "#808080", "width": 1, "dash": "dash"}}
    at = f"%{{x:{metric_format(metric, 1)}}}"
    line = _trace("sweep-speedup", x, y, name="speed-up", hovertemplate=f"%{{y:.2f}}× to reach {at}<extra></extra>")
    line |= {
        "mode": "lines+markers",
        "line": {"color": colour_of(place)},
        "marker": {"symbol": marker_of(place), "size": 7},
    }
    layout = {"height": 220, "margin": {"l": 48, "r": 12, "t": TITLE_PX, "b": 44}, "uirevision": "sweep"}
    layout |= {"showlegend": False, "hovermode": "closest", "annotations": [_title("Speed-up to reach a target", 1.0)]}
    layout["xaxis"] = {"title": {"text": f"target {metric_title(metric)}"}, "tickformat": metric_format(metric, 0)}
    layout["yaxis"] = {"ticksuffix": "×", "rangemode": "tozero"}
    return {"data": [level, line], "layout": layout}


def sweep_summary(sweep: Sequence[tuple[float, float | None]], metric: Metric = "accuracy") -> str:
    """Return the sweep in words."""
    form = metric_format(metric, 1)
    reached = [f"{target:{form}}: {speedup:.2f} times" for target, speedup in sweep if speedup is not None]
    found = ", ".join(reached) + "." if reached else "No target was reached."
    return f"Speed-up to reach a target {metric_title(metric)}. {found}"


def _traces(line: Line, axis: Axis, metric: Metric, band: bool, loss_limit: float | None) -> list[Trace]:
    x, style = line.x(axis), {"color": line.colour, "dash": line.dash}
    accuracy = _tests(line, axis, metric)
    loss = _of(line, "loss", x, line.loss, hovertemplate="loss %{y:.3g}", line={**style, "width": 1.8})
    full = _of(
        line, "time", x, line.full_step_ms, hovertemplate="%{y:.3g} ms, full steps", line={**style, "width": 1.2}
    )
    partial = _of(line, "time", x, line.partial_step_ms, hovertemplate="%{y:.3g} ms, fast steps")
    partial |= {"uid": f"short-{line.key}", "line": {**style, "width": 2}}
    traces = [accuracy, *(_band(line, x) if band else []), loss, full]
    traces += [partial] if np.isfinite(partial["y"]).any() else []
    return traces + (_crosses(loss, accuracy, loss_limit) if line.curve.outcome == "diverged" else [])


def _tests(line: Line, axis: Axis, metric: Metric) -> Trace:
    """Return the evaluations, marked one by one unless there are so many that the marks would hide the line."""
    tested = line.evaluated_x(axis)
    shown = np.unique(np.linspace(0, len(tested) - 1, min(len(tested), MOST_EVALUATIONS)).round().astype(int))
    trace = _of(line, "accuracy", tested[shown], line.curve.evaluations.score(metric)[shown])
    hover = f"{metric_title(metric)} %{{y:{metric_format(metric, 1)}}}"
    trace |= {"hovertemplate": hover, "line": {"color": line.colour, "dash": line.dash, "width": 1.5}}
    trace["mode"] = "lines+markers" if len(shown) <= MOST_MARKS else "lines"
    return trace | {"marker": {"symbol": line.marker, "size": 7, "color": line.colour}}


def _of(line: Line, panel: str, x: Any, y: Any, /, **style: Any) -> Trace:
    name = html.escape(line.label)
    trace = _trace(f"{panel}-{line.key}", x, y, name=name, legendgroup=line.arm_key, showlegend=False, mode="lines")
    return trace | {"yaxis": Y_AXES[panel], "connectgaps": False, **style}


def _trace(uid: str, x: Any, y: Any, **rest: Any) -> Trace:
    """Return a line; plotly puts the uid into a CSS selector, so it is letters, digits and dashes."""
    return {"type": "scatter", "uid": uid, "x": x, "y": y, **rest}


def _unseen(y_axis: str) -> Trace:
    """Return a point that nobody sees: plotly leaves a panel without any out, and draws the x axis into another."""
    hidden = {"mode": "markers", "opacity": 0, "hoverinfo": "skip", "showlegend": False}
    return _trace(f"unseen-{y_axis}", np.zeros(1), np.zeros(1), yaxis=y_axis, name="", legendgroup="", **hidden)


def _band(line: Line, x: Any) -> list[Trace]:
    """Return lowest and highest minibatch loss with the space between them filled."""
    faint = _translucent(line.colour, 0.35)
    low = _of(line, "loss", x, line.buckets.loss_low, hoverinfo="skip", line={"width": 0.5, "color": faint})
    high = _of(line, "loss", x, line.buckets.loss_high, hoverinfo="skip", line={"width": 0.5, "color": faint})
    high |= {"uid": f"high-{line.key}", "fill": "tonexty", "fillcolor": _translucent(line.colour, 0.15)}
    return [low | {"uid": f"low-{line.key}"}, high]


def _crosses(loss: Trace, accuracy: Trace, loss_limit: float | None) -> list[Trace]:
    """Return a cross at the last finite loss, moved into the picture, and at the last evaluation."""
    crosses = []
    for trace, top in ((loss, loss_limit), (accuracy, 1.0)):
        finite = np.flatnonzero(np.isfinite(trace["y"]))[-1:]
        x, y = trace["x"][finite], np.minimum(trace["y"][finite], np.inf if top is None else top)
        marker = {"symbol": "x", "size": 12, "color": trace["line"]["color"]}
        look = {"mode": "markers", "marker": marker, "hovertemplate": "diverged here", "cliponaxis": False}
        crosses.append({**trace, **look, "uid": f"end-{trace['uid']}", "x": x, "y": y})
    return crosses


def _give_every_arm_one_legend_entry(data: list[Trace]) -> None:
    """Let the first trace with data speak for its arm; a click on it hides the whole arm."""
    seen: set[str] = set()
    for trace in data:
        if trace["legendgroup"] not in seen and len(trace["x"]):
            trace["showlegend"] = True
            seen.add(trace["legendgroup"])


def _layout(titles: dict[str, str], axis: Axis, strip: Strip) -> Figure:
    """Stack the panels from the top down; heights are pixels, domains fractions of the space between the margins."""
    heights = {**PANELS_PX, "strip": strip.height_px} if strip.height_px else PANELS_PX
    below = {panel: TITLE_PX + (X_AXIS_PX if panel == "time" else 0) for panel in heights}
    total = sum(heights[panel] + below[panel] for panel in heights) - below[list(heights)[-1]]
    margin = {"l": 48, "r": 12, "t": TITLE_PX + LEGEND_PX, "b": STRIP_AXIS_PX if strip.height_px else X_AXIS_PX}
    layout: Figure = {"height": total + margin["t"] + margin["b"], "margin": margin, **strip.axes}
    layout |= {"hovermode": "x unified", "hoversubplots": "axis", "annotations": list(strip.labels)}
    layout["legend"] = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + TITLE_PX / total, "yanchor": "bottom"}
    layout["xaxis"] = {"title": {"text": AXIS_TITLES[axis], "standoff": 4, "font": {"size": 12}}, "rangemode": "tozero"}
    hover = {"text": f"%{{x:{X_FORMATS[axis]}}} {AXIS_TITLES[axis]}"}
    layout["xaxis"] |= {"anchor": Y_AXES["time"], "unifiedhovertitle": hover}
    top = total
    for panel, height in heights.items():
        y_axis = layout.setdefault("yaxis" + Y_AXES[panel][1:], {"zeroline": False})
        y_axis["domain"] = [(top - height) / total, top / total]
        layout["annotations"].append(_title(titles[panel], top / total))
        top -= height + below[panel]
    layout["yaxis2"]["rangemode"] = layout["yaxis3"]["rangemode"] = "tozero"
    return layout


def _metric_axis(metric: Metric) -> dict[str, Any]:
    """Return how the tests' panel counts; there is room for the marks at both ends of the metric's range."""
    if METRIC_INFO[metric].is_share:
        return {"tickformat": ".2~%", "autorangeoptions": {"clipmin": -0.02, "clipmax": 1.03}}
    return {"tickformat": ".3~f", "autorangeoptions": {"clipmin": -1.03, "clipmax": 1.03}}


def _titles(lines: Sequence[Line], strip: Strip, left_out: int, metric: Metric) -> dict[str, str]:
    smooth = max((line.window_steps for line in lines), default=0)
    how = f", mean of {smooth} steps" + " and range" * (len(lines) <= BANDS_UP_TO) if smooth else ""
    short = any(np.isfinite(line.partial_step_ms).any() for line in lines)
    return {
        "accuracy": f"<b>Test {metric_title(metric)}</b>"
        + (f", the newest {len(lines)} of {len(lines) + left_out}" * bool(left_out)),
        "loss": "<b>Minibatch loss</b>" + how,
        "time": "<b>Time per step</b>, ms" + (": full steps above, fast steps below" * short),
        "strip": f"<b>Gradients</b> in the last {strip.steps} steps, by group",
    }


def _title(text: str, top: float) -> dict[str, Any]:
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": top, "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "align": "left", "xshift": -40, **place}


def _loss_limit(lines: Sequence[Line]) -> float | None:
    """Return the loss above which a line leaves the picture: twice what the worst line started with.

    An arm that diverges would otherwise press all the others flat.
    """
    starts = [loss[np.isfinite(loss)][0] for line in lines if np.isfinite(loss := line.loss).any()]
    return float(2 * max(starts)) if starts else None


def _time_limit(lines: Sequence[Line]) -> float | None:
    """Return the time per step in ms above which a line leaves the picture: the first steps warm the device up."""
    typical = [np.nanmedian(times) for line in lines if np.isfinite(times := line.full_step_ms).any()]
    return float(3 * max(typical)) if typical else None


def _in_words(line: Line, metric: Metric) -> str:
    curve, tested = line.curve, line.curve.evaluations.score(metric)
    words = [f"{line.label}, seed {curve.seed}: {curve.steps} steps in {number(curve.train_seconds)} training seconds"]
    if len(tested) and np.isfinite(tested[-1]):
        words.append(f"test {metric_title(metric)} {tested[-1]:{metric_format(metric, 1)}}")
    if np.isfinite(loss := line.loss).any():
        words.append(f"loss {loss[np.isfinite(loss)][-1]:.3g}")
    return ", ".join([*words, *([curve.outcome] if curve.outcome else [])]) + "."


def _translucent(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
