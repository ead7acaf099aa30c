"""What was predicted for the arms of a race, beside what the race measured. Pure arithmetic, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.cost.forecast import ArmForecast, from_text
from multirate_core.store import LaneRow

KEY = "forecast"  # of a race's environment
MOST_RATIO = 100.0  # a stored number beyond these limits is no prediction
MOST_STEP_S = 24 * 3600.0


@dataclass(frozen=True)
class Beside:
    """One arm: mean training seconds of its steps, and their ratio to the plain arm's.

    Args:
        arm: its name.
        predicted: before the race.
        measured_s: of a step, over all seeds.
        measured_ratio: mean over the seeds at which both arms can be judged; None if there is none.
    """

    arm: str
    predicted: ArmForecast
    measured_s: float
    measured_ratio: float | None

    @property
    def seconds_error(self) -> float:
        """The error of the predicted seconds, relative: above 0 too many were predicted."""
        return self.predicted.step_s / self.measured_s - 1

    @property
    def ratio_error(self) -> float | None:
        """The same of the ratio; None if it was not measured."""
        return None if self.measured_ratio is None else self.predicted.ratio / self.measured_ratio - 1


def forecast_of(environment: Mapping[str, str], config: RaceConfig) -> dict[str, ArmForecast]:
    """Return what was predicted for every arm of a race, in their order; {} if nothing usable was stored.

    Args:
        environment: of the race.
        config: of the race; a prediction for other arms is none.
    """
    found = from_text(environment.get(KEY, ""))
    names = [arm.name for arm in config.arms]
    if found.keys() != set(names) or not all(map(_is_possible, found.values())):
        return {}
    return {name: found[name] for name in names}


def beside(environment: Mapping[str, str], config: RaceConfig, lanes: Sequence[LaneRow]) -> tuple[Beside, ...]:
    """Return a row for every arm that was predicted and took enough steps to be judged.

    Args:
        environment: of the race.
        config: of the race.
        lanes: of the race.
    """
    judged = {arm.name: _judged(arm, lanes) for arm in config.arms}
    plain = next((judged[arm.name] for arm in config.arms if arm.kind == "sgd"), {})
    return tuple(
        Beside(name, predicted, _step_s(list(judged[name].values())), _ratio(judged[name], plain))
        for name, predicted in forecast_of(environment, config).items()
        if judged[name]
    )


def _is_possible(predicted: ArmForecast) -> bool:
    """Tell whether these are numbers that a step can have; what was stored may be anything."""
    limits = ((predicted.step_s, MOST_STEP_S), (predicted.ratio, MOST_RATIO))
    return all(_is_number(value) and 0 < value <= most for value, most in limits) and (
        _is_number(predicted.uncertainty) and 0 <= predicted.uncertainty <= MOST_RATIO
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _judged(arm: ArmConfig, lanes: Sequence[LaneRow]) -> dict[int, LaneRow]:
    """Return an arm's lanes by seed; a multirate one that never came round its cycle had other steps than predicted."""
    groups = arm.partition.groups if arm.partition is not None and arm.kind == "multirate" else ()
    least = max((group.period for group in groups), default=1)
    own = [lane for lane in lanes if lane.arm == arm.name and lane.steps >= least and lane.train_seconds > 0]
    return {lane.seed: lane for lane in own}


def _step_s(lanes: Sequence[LaneRow]) -> float:
    """Return the mean training seconds of a step."""
    return sum(lane.train_seconds for lane in lanes) / sum(lane.steps for lane in lanes)


def _ratio(own: Mapping[int, LaneRow], plain: Mapping[int, LaneRow]) -> float | None:
    """Return the mean ratio of an arm's seconds per step to the plain arm's, seed by seed."""
    ratios = [_step_s([own[seed]]) / _step_s([plain[seed]]) for seed in sorted(own.keys() & plain.keys())]
    return sum(ratios) / len(ratios) if ratios else None
