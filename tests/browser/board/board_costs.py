"""What layers cost, made up for the rows of a test tree: what Python hands to the board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from board_trees import Row


class Costs:
    """A chain of layers; a block adds its input to its output. A hundred thousand weights take 1 ms."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.units = {row["id"]: place for place, row in enumerate(row for row in rows if row["unit"])}
        self.modules = [row for row in rows if row["kind"] != "parameter"]
        self.owned: dict[str, list[Row]] = {}
        for row in rows:
            if row["kind"] == "parameter":
                self.owned.setdefault(row["parent"] or "", []).append(row)
        self.nodes: list[list[Any]] = []
        self.rows: dict[str, dict[str, Any]] = {}
        for row in self.modules:
            if row["parent"] is None:
                self.add_module(row)

    def add_module(self, row: Row) -> None:
        first = max(0, len(self.nodes) - 1)
        below = [each for each in self.modules if each["parent"] == row["id"]]
        weights = self.owned.get(row["id"], [])
        places = [self.add_node(weights)] if weights or not below else []
        if first == len(self.nodes) - 1 == 0:
            self.add_node(self.owned.get("", []))  # the network's own parameters join after its first layer
        for each in below:
            self.add_module(each)
        if row["fold"]:
            places.append(self.add_node([], also=first))
        inside = sum(self.rows[each["id"]]["forward_s"] for each in below)
        seconds = inside or 1e-8 * row["params"] + 1e-4
        entry = {"nodes": places, "forward_s": seconds, "backward_s": 2 * seconds, "saved_bytes": 1000 * row["params"]}
        self.rows[row["id"]] = entry

    def add_node(self, weights: Sequence[Row], also: int | None = None) -> int:
        inputs = {len(self.nodes) - 1, also} - {None, -1}
        seconds = 1e-4 + sum(1e-8 * row["params"] for row in weights)
        units = [self.units[row.get("tied") or row["id"]] for row in weights]
        self.nodes.append([sorted(inputs), seconds, 1e-5, [[unit, 1e-4, 2e-4] for unit in units]])
        return len(self.nodes) - 1


def cost_of(rows: Sequence[Row], measured: bool) -> dict[str, Any]:
    """What `layer_board` takes as `cost`."""
    costs = Costs(rows)
    sgd = 1.25 * sum(3 * costs.rows[row["id"]]["forward_s"] for row in costs.modules if row["parent"] is None)
    cost = {"measured": True, "nodes": costs.nodes, "rows": costs.rows, "unit_s": [1e-5] * len(costs.units)}
    cost |= {"base_s": 0.3 * sgd, "sgd_s": sgd}
    return cost if measured else without_seconds(cost)


def without_seconds(cost: dict[str, Any]) -> dict[str, Any]:
    """The graph alone."""
    nodes = [[inputs, 0, 0, [[unit, 0, 0] for unit, _, _ in units]] for inputs, _, _, units in cost["nodes"]]
    nothing = {"forward_s": 0, "backward_s": 0, "saved_bytes": 0}
    rows = {name: row | nothing for name, row in cost["rows"].items()}
    zeros = {"base_s": 0, "sgd_s": 0, "unit_s": [0] * len(cost["unit_s"])}
    return cost | zeros | {"measured": False, "nodes": nodes, "rows": rows}
