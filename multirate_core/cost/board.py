"""Costs and gradient graph in the form that the layer board takes. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from multirate_core.cost.calibration import Calibration, ModuleCost, UpdateCost
from multirate_core.cost.predict import pass_s
from multirate_core.layers.gradient_graph import ALWAYS, Operation
from multirate_core.layers.tree import LayerTree

NOTHING = ModuleCost(0.0, 0.0, 0.0, 0)


def board_costs(tree: LayerTree, calibration: Calibration | None, drift: bool = True) -> dict[str, Any] | None:
    """Return what the board shows of costs: JSON values; None if nothing is known.

    Args:
        tree: of the network.
        calibration: its costs; None for the graph alone.
        drift: whether slow parameters move between their gradients.

    Keys: `measured`; `nodes`, rows of inputs, through_s, extra_s and [unit, beside_s, alone_s] as in `OperationCost`;
    `rows`, by module path: own `nodes`, and with everything below `forward_s`, `backward_s` and `saved_bytes` of an SGD
    step; `unit_s`, what an update with a fresh gradient takes longer than a drift; `base_s` and `sgd_s`.
    """
    names = [parameter.name for parameter in tree.trainable()]
    if calibration is not None and list(calibration.parameters) == names:
        return _measured(tree, calibration, drift)
    return _graph_only(tree, names)


def _graph_only(tree: LayerTree, names: list[str]) -> dict[str, Any] | None:
    if tree.gradients is None:
        return None
    number = {name: place for place, name in enumerate(names)}
    operations = tree.gradients.operations
    nodes = [[list(each.inputs), 0.0, 0.0, _units(each, number)] for each in operations]
    own = _places([each.module for each in operations])
    return {
        "measured": False,
        "nodes": nodes,
        "rows": _rows(tree, own, {}),
        "unit_s": [0.0] * len(names),
        "base_s": 0.0,
        "sgd_s": 0.0,
    }


def _units(operation: Operation, number: Mapping[str, int]) -> list[list[float]]:
    return [[number[name], 0.0, 0.0] for name in operation.parameters if name != ALWAYS and name in number]


def _measured(tree: LayerTree, calibration: Calibration, drift: bool) -> dict[str, Any]:
    updates = calibration.updates
    resting = updates.drift if drift else UpdateCost(0.0, 0.0)
    nodes = [
        [
            list(each.inputs),
            _short(each.through_s),
            _short(each.extra_s),
            [[unit.unit, _short(unit.beside_s), _short(unit.alone_s)] for unit in each.units],
        ]
        for each in calibration.operations
    ]
    total, count = sum(calibration.numbers), len(calibration.numbers)
    fresh_s = [updates.fresh.seconds(1, n) - resting.seconds(1, n) for n in calibration.numbers]
    own = _places([each.module for each in calibration.operations])
    return {
        "measured": True,
        "nodes": nodes,
        "rows": _rows(tree, own, calibration.modules),
        "unit_s": [_short(seconds) for seconds in fresh_s],
        "base_s": _short(pass_s(calibration, ()) + resting.seconds(count, total)),
        "sgd_s": _short(calibration.sgd_step_s),
    }


def _places(modules: list[str]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, module in enumerate(modules):
        found[module].append(place)
    return found


def _rows(tree: LayerTree, own: Mapping[str, list[int]], costs: Mapping[str, ModuleCost]) -> dict[str, Any]:
    """Return the rows of the modules; seconds and bytes with everything below."""
    rows: dict[str, Any] = {}
    for node in reversed(list(tree.nodes())):  # children before parents
        cost = costs.get(node.path, NOTHING)
        below = [rows[child.path] for child in node.children]
        rows[node.path] = {
            "nodes": own.get(node.path, []),
            "forward_s": _short(cost.forward_s + sum(row["forward_s"] for row in below)),
            "backward_s": _short(cost.input_s + cost.weight_s + sum(row["backward_s"] for row in below)),
            "saved_bytes": cost.saved_bytes + sum(row["saved_bytes"] for row in below),
        }
    del rows[""]
    return rows


def _short(seconds: float) -> float:
    """Return the number with five significant digits: it crosses the wire as text."""
    return float(f"{seconds:.5g}")
