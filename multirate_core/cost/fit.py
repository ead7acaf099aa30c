"""From measured passes to the cost of every operation, and to a correction by whole steps. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multirate_core.cost.calibration import ModuleCost
from multirate_core.cost.operations import OperationCost, UnitCost
from multirate_core.layers.gradient_graph import ALWAYS, VIEWS, GradientGraph, Operation, merge_with_places


@dataclass(frozen=True)
class Measured:
    """Median seconds of the parts of a pass.

    Args:
        graph: of the network and its loss.
        full_s: per operation, everything computed.
        through_s: per operation, only what is passed on to its inputs.
        alone: per operation, the shares of `full_s` of its parameters by themselves, in their order; None if unknown.
        kept_s: forward pass per module, with everything kept for the backward pass.
        bare_s: the same with nothing kept.
        saved_bytes: per module.
    """

    graph: GradientGraph
    full_s: Sequence[float]
    through_s: Sequence[float]
    alone: Sequence[tuple[float, ...] | None]
    kept_s: Mapping[str, float]
    bare_s: Mapping[str, float]
    saved_bytes: Mapping[str, int]


def operation_costs(measured: Measured, parameters: Sequence[str]) -> tuple[OperationCost, ...]:
    """Return the costs of the merged operations.

    Args:
        measured: the parts.
        parameters: first names of the trainable ones, in order.
    """
    merged, places = merge_with_places(measured.graph)
    operations = measured.graph.operations
    own = _operations_by_module(measured.graph)
    through = [0.0] * len(merged.operations)
    extra = [0.0] * len(merged.operations)
    units: list[tuple[UnitCost, ...]] = [()] * len(merged.operations)
    number = {name: place for place, name in enumerate(parameters)}
    first_of: set[int] = set()
    for place, operation in enumerate(operations):
        target = places[place]
        prepared = measured.kept_s.get(operation.module, 0.0) - measured.bare_s.get(operation.module, 0.0)
        extra[target] += prepared / own[operation.module] if _takes_part(operation) else 0.0
        if target in first_of:  # merged: it runs whenever the first one does
            extra[target] += measured.full_s[place]
            continue
        first_of.add(target)
        if operation.inputs:
            through[target] = measured.through_s[place]
        units[target] = _units(measured, place, number)
    return tuple(
        OperationCost(operation.module, operation.inputs, through[place], extra[place], units[place])
        for place, operation in enumerate(merged.operations)
    )


def module_costs(measured: Measured) -> dict[str, ModuleCost]:
    """Return what every module's own code costs in a step in which everything is due."""
    passed: dict[str, float] = {}
    own: dict[str, float] = {}
    for place, operation in enumerate(measured.graph.operations):
        through = min(measured.through_s[place], measured.full_s[place]) if operation.inputs else 0.0
        if not operation.parameters:
            through = measured.full_s[place]
        passed[operation.module] = passed.get(operation.module, 0.0) + through
        own[operation.module] = own.get(operation.module, 0.0) + measured.full_s[place] - through
    return {
        path: ModuleCost(
            forward_s=measured.kept_s.get(path, 0.0),
            input_s=passed.get(path, 0.0),
            weight_s=own.get(path, 0.0),
            saved_bytes=measured.saved_bytes.get(path, 0),
        )
        for path in dict.fromkeys([*measured.kept_s, *passed])
    }


def correction(parts_s: tuple[float, float], steps_s: tuple[float, float], least_s: float) -> tuple[float, float]:
    """Return (offset, slope) of the line that turns sums of parts into whole steps, through two of them.

    Marks between operations take time and whole steps have effects that their parts do not: the line sets both right at
    its two ends, a step with every gradient and one with few. Where the two are too close to tell a slope, it is 1 and
    the offset sets the first one right. It is kept between 2/3 and 3/2: beyond that the machine was disturbed. Where
    the line would leave no time for a forward pass, everything is scaled by the first step instead.

    Args:
        parts_s: sums of parts of the step with every gradient and of the one with few.
        steps_s: seconds of these steps.
        least_s: what every step consists of at least, the forward pass.
    """
    (full, few), (full_step, few_step) = parts_s, steps_s
    slope = 1.0 if full - few <= 0.05 * full else (full_step - few_step) / (full - few)
    slope = min(max(slope, 2 / 3), 3 / 2)
    offset = full_step - slope * full
    return (0.0, full_step / full) if full > 0 and offset + slope * least_s < 0 else (offset, slope)


def sources(graph: GradientGraph) -> list[str]:
    """Return parameters whose gradients need every operation of the graph to pass gradients on to its inputs."""
    used = {place for operation in graph.operations for place in operation.inputs}
    last = len(graph.operations) - 1
    uses = Counter(name for operation in graph.operations for name in operation.parameters)
    return list(
        dict.fromkeys(
            # One that is used elsewhere too would have its gradient computed there as well.
            min((name for name in operation.parameters if name != ALWAYS), key=uses.__getitem__)
            for place, operation in enumerate(graph.operations)
            if not operation.inputs and {*operation.parameters} - {ALWAYS} and (place in used or place == last)
        )
    )


def _operations_by_module(graph: GradientGraph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for operation in filter(_takes_part, graph.operations):
        counts[operation.module] = counts.get(operation.module, 0) + 1
    return counts


def _takes_part(operation: Operation) -> bool:
    """Tell an operation from a mere view of a weight, which runs only where that weight is due."""
    return bool(operation.inputs) or operation.kind not in VIEWS


def _units(measured: Measured, place: int, number: Mapping[str, int]) -> tuple[UnitCost, ...]:
    """Return what the gradients of an operation's parameters cost, beside those of its inputs and alone."""
    operation = measured.graph.operations[place]
    known = [name for name in operation.parameters if name in number]
    if not known:
        return ()
    full = measured.full_s[place]
    beside = max(full - measured.through_s[place], 0.0) if operation.inputs else full
    shares = measured.alone[place]
    if shares is None:  # it could not be run by itself: as if it saved nothing of what it computes together
        together = max(beside / full, 0.5) if full else 0.0
        shares = (together / len(operation.parameters),) * len(operation.parameters)
    total = sum(shares)
    return tuple(
        UnitCost(number[name], beside * (share / total if total else 1 / len(shares)), full * share)
        for name, share in zip(operation.parameters, shares, strict=True)
        if name in number
    )
