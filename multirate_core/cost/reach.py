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
    through = tree.layers.intersection(each.module for each in graph.operations)
    reached = graph.reached(due)
    return Reach(reached[0] if reached else None, len(through.intersection(reached)), len(through))


def pull_back(tree: LayerTree, partition: Partitioned, calibration: Calibration | None) -> PullBack | None:
    """Return the smallest part of the network around the earliest fast layer that is worth moving to a slow group.

    Its own parameters are tried first, then those of the modules around it. None if nothing slow is crossed because
    of it, if moving it saves little, or if there is no slow group.
    """
    due = partition.due(partition.fast_groups)
    slow = max(partition.periods, key=partition.periods.__getitem__, default="")
    reach = reach_of(tree, due)
    if tree.gradients is None or reach is None or partition.periods.get(slow, 1) == 1:
        return None
    if not _crosses_slow_layers(tree, due, ()):
        return None
    before = None if calibration is None else predict(calibration, partition).mean_step_s
    for name, moved in _around_the_earliest(tree.gradients, due):
        rest = set(due) - set(moved)
        without = reach_of(tree, rest)
        if not rest or without is None:
            return None
        saving = None
        if calibration is not None and before is not None:
            changed = replace(partition, assignment={**partition.assignment, **dict.fromkeys(moved, slow)})
            saving = 1 - predict(calibration, changed).mean_step_s / before
        found = PullBack(name, moved, slow, reach, without, saving)
        if _is_worth_it(found) and _crosses_slow_layers(tree, due, rest):
            return found
    return None


def _is_worth_it(found: PullBack) -> bool:
    if found.saving is not None:
        return found.saving >= WORTH_A_WORD
    return found.reach.crossed - found.reach_without.crossed >= 2 * WORTH_A_WORD * found.reach.layers


def _crosses_slow_layers(tree: LayerTree, due: Collection[str], rest: Collection[str]) -> bool:
    """Tell whether layers with nothing fast in them are passed with all of `due` that are not with `rest`."""
    assert tree.gradients is not None
    more = set(tree.gradients.reached(due)) - set(tree.gradients.reached(rest))
    return any(tree.owned[path].isdisjoint(due) for path in more & tree.owned.keys())


def _around_the_earliest(graph: GradientGraph, due: Collection[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield name and fast parameters: of the module at the earliest operation with one, and of those around it.

    A parameter that a module owns beside modules of its own, as a position embedding, comes by itself before them.
    """
    chosen = set(due)
    first = next((name for each in graph.operations for name in each.parameters if name in chosen), None)
    if first is None:
        return
    path = first.rpartition(".")[0]
    own = tuple(name for name in due if name.rpartition(".")[0] == path)
    below = tuple(name for name in due if path and name.startswith(f"{path}."))
    if own != below:
        yield first, (first,)
    while path:
        yield path, tuple(name for name in due if name.startswith(f"{path}."))
        path = path.rpartition(".")[0]
