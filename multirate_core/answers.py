"""Of a stored race: which lanes are compared, the three answers of an arm against SGD, what loading took. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from multirate_core.events import Evaluated, Outcome
from multirate_core.metrics import Metric
from multirate_core.store import LaneRow
from multirate_core.verdict import Curve, ThreeAnswers, curve, three_answers

MUCH_LOADING = 0.1  # of loading and training together: a result says so


def answers_of(
    lanes: Sequence[LaneRow], tests: dict[int, list[Evaluated]], arm: str, metric: Metric = "accuracy"
) -> ThreeAnswers | None:
    """Return the three answers of an arm against "sgd", by a metric; None without SGD.

    They are over the seeds at which both arms finished. Only if there is none do seeds count that were stopped: a seed
    that had hardly begun would pull every mean towards the start.
    """
    if not {"sgd", arm} <= {lane.arm for lane in lanes}:
        return None
    curves = {number: curve(own, metric) for number, own in tests.items()}
    pairs = _pairs(lanes, curves, arm, ("finished",)) or _pairs(lanes, curves, arm, ("finished", "stopped"))
    return three_answers([sgd for sgd, _ in pairs], [other for _, other in pairs])


def loading_share(lanes: Sequence[LaneRow], arm: str) -> float:
    """Return the part of an arm's seconds of loading and training, over all seeds, that went into loading.

    Batches are loaded before the clock of training seconds starts; 0 if nothing was recorded.
    """
    own = [lane.clock for lane in lanes if lane.arm == arm]
    loading = sum(clock.get("loading", 0.0) for clock in own)
    both = loading + sum(clock.get("training", 0.0) for clock in own)
    return loading / both if both else 0.0


def _pairs(
    lanes: Sequence[LaneRow], of_lane: dict[int, Curve], arm: str, outcomes: tuple[Outcome, ...]
) -> list[tuple[Curve, Curve]]:
    """Return (SGD's curve, the arm's curve) of every seed at which both took a step and ended in one of these ways."""
    curves: dict[str, dict[int, Curve]] = {"sgd": {}, arm: {}}
    for lane in lanes:
        if lane.arm in curves and lane.outcome in outcomes and lane.steps > 0:
            curves[lane.arm][lane.seed] = of_lane[lane.lane]
    return [(curves["sgd"][seed], curves[arm][seed]) for seed in sorted(curves["sgd"].keys() & curves[arm].keys())]
