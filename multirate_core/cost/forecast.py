"""What every arm of a race should cost, from a kept calibration, in a form that is stored with the race. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from multirate_core.config import ArmConfig, GroupSpec, RaceConfig
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.predict import Partitioned, Prediction, Run, predict
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import resolve

MUCH = 0.10  # an error of a prediction that is worth a word


@dataclass(frozen=True)
class ArmForecast:
    """What was predicted for an arm before its race.

    Args:
        step_s: mean training seconds of a step.
        ratio: of them to the plain arm's.
        uncertainty: of the ratio, absolute.
    """

    step_s: float
    ratio: float
    uncertainty: float


def partitioned(arm: ArmConfig, tree: LayerTree) -> Partitioned:
    """Return an arm's partition as predictions see it; PartitionError if it does not fit the network."""
    assert arm.partition is not None
    periods = {group.name: group.period for group in arm.partition.groups}
    return Partitioned(periods, resolve(arm.partition, tree).assignment, arm.drift)


def prediction(calibration: Calibration, config: RaceConfig, arm: ArmConfig, tree: LayerTree, run: Run) -> Prediction:
    """Predict what an arm with a partition costs in a race; the mean is over a run in whose course periods may change.

    Args:
        calibration: of the race's network on its device.
        config: of the race.
        arm: a multirate or frozen one.
        tree: of the network.
        run: whose steps are averaged.
    """
    lean = config.execution.memory == "lean" and arm.kind == "multirate"
    part = partitioned(arm, tree)
    found = predict(calibration, part, lean, run)
    mean = _mean_over_phases(calibration, config, arm, part, run)
    if mean is None:
        return found
    ratio = mean / found.sgd_step_s
    return replace(found, mean_step_s=mean, ratio=ratio, uncertainty=calibration.spread * ratio)


def run_of(config: RaceConfig, train_samples: int, drop_single: bool = False) -> Run:
    """Return the steps of an arm in a race.

    Args:
        config: of the race.
        train_samples: in the training part; 0 if unknown.
        drop_single: a last batch of one sample is left out.
    """
    size = config.recipe.batch_size
    if train_samples <= 0:
        return Run()
    whole, rest = divmod(train_samples, size)
    steps = max(1, whole + (rest > drop_single))
    used = train_samples - (1 if drop_single and rest == 1 and whole else 0)
    epochs = config.budget.epochs
    return Run(None if epochs is None else epochs * steps, used / (steps * size))


def forecast(calibration: Calibration, config: RaceConfig, tree: LayerTree, run: Run) -> dict[str, ArmForecast]:
    """Return what is predicted for every arm, by its name."""
    found = {}
    for arm in config.arms:
        if arm.partition is None:
            sgd = predict(calibration, _everything(calibration), run=run)
            found[arm.name] = ArmForecast(sgd.sgd_step_s, 1.0, 0.0)
            continue
        cost = prediction(calibration, config, arm, tree, run)
        mean = cost.frozen_step_s if arm.kind == "frozen" else cost.mean_step_s
        ratio = mean / cost.sgd_step_s
        found[arm.name] = ArmForecast(mean, ratio, calibration.spread * ratio)
    return found


def _mean_over_phases(
    calibration: Calibration, config: RaceConfig, arm: ArmConfig, part: Partitioned, run: Run
) -> float | None:
    """Return the mean seconds of a step where periods change in the course of the run; None where none does."""
    assert arm.partition is not None
    groups, epochs = arm.partition.groups, config.budget.epochs
    if epochs is None or not any(group.phases for group in groups):
        return None
    lean, total = config.execution.memory == "lean", 0.0
    for begin, end in pairwise(sorted({0.0, float(epochs), *_borders(groups, epochs)})):
        now = replace(part, periods={group.name: _period_at(group, begin) for group in groups})
        total += (end - begin) / epochs * predict(calibration, now, lean, Run(None, run.filled)).mean_step_s
    return total


def _borders(groups: tuple[GroupSpec, ...], epochs: int) -> list[float]:
    """Return the epochs inside a run at which a period changes."""
    borders = []
    for group in groups:
        done = 0.0
        for length, _ in group.phases:
            done += length
            if done < epochs:
                borders.append(done)
    return borders


def _period_at(group: GroupSpec, epoch: float) -> int:
    """Return the period that a group has from an epoch on."""
    done = 0.0
    for length, period in group.phases:
        done += length
        if epoch < done:
            return period
    return group.period


def _everything(calibration: Calibration) -> Partitioned:
    return Partitioned({"all": 1}, dict.fromkeys(calibration.parameters, "all"))


def to_text(found: Mapping[str, ArmForecast]) -> str:
    """Return the stored form, JSON."""
    return json.dumps({name: asdict(each) for name, each in found.items()})


def from_text(text: str) -> dict[str, ArmForecast]:
    """Read the stored form; {} if there is none, or it is damaged."""
    try:
        return {str(name): ArmForecast(**each) for name, each in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
