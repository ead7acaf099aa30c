"""What is said about a prediction once its race has ended: a table, how far off it was, what to measure anew.

No streamlit. The parts may hold names that a user chose; pages put them through `text.plain` before they show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from multirate_core.config import RaceConfig
from multirate_core.cost.beside import Beside, beside, forecast_of
from multirate_core.cost.forecast import MUCH
from multirate_core.cost.request import CalibrationRequest, request_of
from multirate_core.data.catalog import data_shape
from multirate_core.models.catalog import model_info
from multirate_core.store import LaneRow, RaceRow
from pages.components.text import number, percent

EXPLANATION = """\
Mean training time of a step, predicted from a measurement before the race. ±: half of its repetitions lay within."""
LEAST_SHOWN = 0.01  # of an uncertainty: "± 0.00" would promise too much
LANE_FIELDS = ("lane", "seed", "arm", "outcome", "message", "steps", "epochs", "train_seconds")


def beside_table(config: RaceConfig, rows: Sequence[Beside]) -> list[dict[str, str]]:
    """Return what was predicted and measured of every arm: a step's time, and its ratio to the plain arm's.

    Args:
        config: of the race.
        rows: as `beside` gives them.
    """
    plain = next((arm.name for arm in config.arms if arm.kind == "sgd"), "")
    table = []
    for row in rows:
        table.append(_step_line(config.title(row.arm), row))
        if row.measured_ratio is not None and row.arm != plain:
            table.append(_ratio_line(f"{config.title(row.arm)}, of {config.title(plain)}'s time", row))
    return table


def _step_line(arm: str, row: Beside) -> dict[str, str]:
    predicted, measured = (f"{number(1000 * each)} ms" for each in (row.predicted.step_s, row.measured_s))
    return _line(f"{arm}, a step", predicted, measured, row.seconds_error)


def _ratio_line(what: str, row: Beside) -> dict[str, str]:
    spread = max(LEAST_SHOWN, row.predicted.uncertainty)
    predicted, measured = f"{row.predicted.ratio:.2f} ± {spread:.2f}", f"{row.measured_ratio:.2f}"
    return _line(what, predicted, measured, row.ratio_error or 0.0)


def _line(what: str, predicted: str, measured: str, error: float) -> dict[str, str]:
    """Return a line of the table; no figure is broken in two where the page is narrow."""
    signed = f"{'+' if error > 0 else ''}{percent(error)}"
    figures = {"Predicted": predicted, "Measured": measured, "Error": signed}
    return {"What": what} | {name: text.replace(" ", "\N{NO-BREAK SPACE}") for name, text in figures.items()}


def warning(rows: Sequence[Beside]) -> str:
    """Return which predictions were far off; "" if none was."""
    errors = {row.arm: row.ratio_error for row in rows if row.ratio_error is not None}
    far = [f"for {arm} was {_off(error)}" for arm, error in errors.items() if abs(error) > MUCH]
    busy = "The machine may have been busy during one of the two. Measure again to see."
    return f"The prediction {', the one '.join(far)}. {busy}" if far else ""


def why_none(config: RaceConfig) -> str:
    """Return why nothing was predicted for a race."""
    if config.execution.compile:
        return "No prediction: a compiled network has no layers left whose costs could be measured."
    return "No prediction: the costs of this network had not been measured when the race began."


def measurement_of(row: RaceRow) -> CalibrationRequest:
    """Return the measurement that a race's prediction came from.

    Raises:
        MultirateError: the network or its data are no longer there.
    """
    threads = row.environment.get("threads", "")
    known = int(threads) if threads.isdecimal() else row.config.threads
    config = replace(row.config, device=row.device or row.config.device, threads=known)
    return request_of(config, data_shape(config.data, model_info(config.model.name)), config.device)


def of_multirate(row: RaceRow) -> tuple[float | None, float | None]:
    """Return the predicted ratio of a race's first multirate arm and its relative error; None where unknown."""
    arm = next((arm.name for arm in row.config.arms if arm.kind == "multirate"), "")
    predicted = forecast_of(row.environment, row.config).get(arm)
    if predicted is None:
        return None, None
    ended = (row.summary or {}).get("lanes", [])
    lanes = [LaneRow(**{name: lane[name] for name in LANE_FIELDS}, clock={}) for lane in ended]
    errors = [each.ratio_error for each in beside(row.environment, row.config, lanes) if each.arm == arm]
    return predicted.ratio, (errors[0] if errors else None)


def _off(error: float) -> str:
    return f"{percent(abs(error), 0)} too {'high' if error > 0 else 'low'}"
