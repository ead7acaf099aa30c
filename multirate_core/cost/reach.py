"""How far back gradients travel on a fast step, and which layer pulls them there. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from multirate_core.cost.calibration import Calibration
from multirate_core.cost.predict import Partitioned, predict
from multirate_core.layers.gradient_graph import GradientGraph
from multirate_core.layers.tree import LayerTree

WORTH_A_WORD = 0.10  # of a multirate step's time, or where no time is known, twice that of the layers


@dataclass(frozen=True)
class Reach:
    """How far back gradients travel.

    Args:
        module: path of the earliest module that they reach, "" for the network's own code; None if they go nowhere.
        crossed: layers that they pass: modules without modules of their own.
        layers: all of those through which a gradient could pass.
    """

    module: str | None
    crossed: int
    layers: int


@dataclass(frozen=True)
class PullBack:
    """A fast layer that sends gradients further back than all others, and what moving it to a slow group saves.

    Args:
        module: its path.
        parameters: its fast ones.
        group: the slow group that would take them.
        reach: with it.
        reach_without: without it.
        saving: share of the mean multirate step's seconds; None where costs are not measured.
    """

    module: str
    parameters: tuple[str, ...]
    group: str
    reach: Reach
    reach_without: Reach
    saving: float | None


def reach_of(tree: LayerTree, due: Collection[str]) -> Reach | None:
    """Return how far back gradients travel if these parameters need one; None if the network could not be traced."""
    graph = tree.gradients
    if graph is None:
        return None
    leaves = {node.path for node in tree.nodes() if not node.children}
    through = {each.module for each in graph.operations} & leaves
    reached = graph.reached(due)
    return Reach(reached[0] if reached else None, len(through.intersection(reached)), len(through))


def pull_back(tree: LayerTree, partition: Partitioned, calibration: Calibration | None) -> PullBack | None:
    """Return the smallest part of the network around the earliest fast layer that is worth moving to a slow group.

    Its layer is tried first, then the modules around it. None if moving saves little, or there is no slow group.
    """
    due = partition.due(partition.fast_groups)
    slow = [name for name, period in partition.periods.items() if period > 1]
    reach = reach_of(tree, due)
    if tree.gradients is None or reach is None or not slow:
        return None
    before = None if calibration is None else predict(calibration, partition).mean_step_s
    for module in _around_the_earliest(tree.gradients, due):
        moved = tuple(name for name in due if name.startswith(f"{module}."))
        if len(moved) == len(due):
            return None
        without = reach_of(tree, set(due) - set(moved)) or reach
        saving = None
        if calibration is not None and before is not None:
            changed = replace(partition, assignment={**partition.assignment, **dict.fromkeys(moved, slow[0])})
            saving = 1 - predict(calibration, changed).mean_step_s / before
        found = PullBack(module, moved, slow[0], reach, without, saving)
        if _is_worth_it(found):
            return found
    return None


def _is_worth_it(found: PullBack) -> bool:
    if found.saving is not None:
        return found.saving >= WORTH_A_WORD
    return found.reach.crossed - found.reach_without.crossed >= 2 * WORTH_A_WORD * found.reach.layers


def _around_the_earliest(graph: GradientGraph, due: Collection[str]) -> Iterator[str]:
    """Yield the module of the earliest operation with a fast parameter, and those around it, the root aside."""
    chosen = set(due)
    first = next((name for each in graph.operations for name in each.parameters if name in chosen), None)
    path = "" if first is None else first.rpartition(".")[0]
    while path:
        yield path
        path = path.rpartition(".")[0]
