"""From measured passes to the cost of every operation, and to a correction by whole steps. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from multirate_core.cost.calibration import ModuleCost
from multirate_core.cost.operations import OperationCost, UnitCost
from multirate_core.layers.gradient_graph import ALWAYS, VIEWS, GradientGraph, Operation, merge_with_places

ALIKE = 0.05  # of the seconds of a step: steps that differ by less tell nothing


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


def scaled(operations: Sequence[OperationCost], passing: float, weights: float) -> tuple[OperationCost, ...]:
    """Return the operations with their seconds multiplied: of passing gradients on, and of those of the weights."""
    return tuple(
        replace(
            operation,
            through_s=passing * operation.through_s,
            extra_s=passing * operation.extra_s,
            units=tuple(
                UnitCost(unit.unit, weights * unit.beside_s, weights * unit.alone_s) for unit in operation.units
            ),
        )
        for operation in operations
    )


def module_costs(measured: Measured, passing: float, weights: float) -> dict[str, ModuleCost]:
    """Return what every module's own code costs in a step in which everything is due; factors as in `scaled`."""
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
            forward_s=passing * measured.kept_s.get(path, 0.0),
            input_s=passing * passed.get(path, 0.0),
            weight_s=weights * own.get(path, 0.0),
            saved_bytes=measured.saved_bytes.get(path, 0),
        )
        for path in dict.fromkeys([*measured.kept_s, *passed])
    }


@dataclass(frozen=True)
class WholeStep:
    """One kind of training step, as a whole and as the sum of its parts; without the optimiser's update.

    Args:
        step_s: what it took.
        passing_s: the parts of its forward pass, of the loss and of passing gradients on.
        weights_s: the parts of its parameters' gradients.
    """

    step_s: float
    passing_s: float
    weights_s: float


@dataclass(frozen=True)
class Correction:
    """How parts become whole steps: seconds to add, and what the two kinds of parts are multiplied by."""

    offset_s: float
    passing: float
    weights: float


def correction(full: WholeStep, few: WholeStep, far: WholeStep | None, least_s: float) -> Correction:
    """Return what makes the sums of parts of three whole steps equal to what these took.

    Marks between operations take time, and whole steps have effects that their parts do not have. Factors are kept
    between 2/3 and 3/2: beyond that the machine was disturbed, and `far` does not come out right. Where steps are too
    alike to tell two factors apart, or to keep both in bounds, one stands for both; where that cannot be told either,
    it is 1. The full step comes out right in any case. Where nothing would be left for a forward pass, everything is
    scaled by the full step instead.

    Args:
        full: every gradient.
        few: those of the head.
        far: those of the head and of the first layers, so that gradients are passed on all the way; None if that is
            no other step.
        least_s: the parts of a forward pass, of which every step consists at least.
    """
    total_s = full.passing_s + full.weights_s
    if total_s <= 0:
        return Correction(full.step_s, 1.0, 1.0)
    passing, weights = (far and _two_factors(full, few, far)) or _one_factor(full, few)
    offset_s = full.step_s - passing * full.passing_s - weights * full.weights_s
    if offset_s + passing * least_s < 0:
        return Correction(0.0, full.step_s / total_s, full.step_s / total_s)
    return Correction(offset_s, passing, weights)


def _one_factor(full: WholeStep, few: WholeStep) -> tuple[float, float]:
    """Return the slope of the line through two steps, twice."""
    total_s = full.passing_s + full.weights_s
    apart_s = total_s - few.passing_s - few.weights_s
    slope = 1.0 if apart_s <= ALIKE * total_s else _bounded((full.step_s - few.step_s) / apart_s)
    return slope, slope


def _two_factors(full: WholeStep, few: WholeStep, far: WholeStep) -> tuple[float, float] | None:
    """Return the factors of the two kinds of parts; None if the steps do not tell them apart, or beyond all bounds.

    From few to far mostly the passing on grows, from far to full the weights' gradients: two equations. If the second
    factor has to be bounded, the first one keeps few and full right: most partitions lie between those.
    """
    total_s = full.passing_s + full.weights_s
    first, second = _difference(far, few), _difference(full, far)
    area = first.passing_s * second.weights_s - first.weights_s * second.passing_s
    if min(first.passing_s, second.weights_s) <= ALIKE * total_s or area <= 0:
        return None
    weights = _bounded((first.passing_s * second.step_s - second.passing_s * first.step_s) / area)
    whole = _difference(full, few)
    passing = (whole.step_s - weights * whole.weights_s) / whole.passing_s
    return (passing, weights) if passing == _bounded(passing) else None


def _difference(one: WholeStep, other: WholeStep) -> WholeStep:
    return WholeStep(one.step_s - other.step_s, one.passing_s - other.passing_s, one.weights_s - other.weights_s)


def _bounded(factor: float) -> float:
    return min(max(factor, 2 / 3), 3 / 2)


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
