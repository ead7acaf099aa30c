"""The operations of a backward pass and what they cost, for any choice of parameters that need a gradient. No torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from multirate_core.layers.gradient_graph import bits_below, bits_of


@dataclass(frozen=True)
class UnitCost:
    """The gradient of one parameter at one operation.

    Args:
        unit: place of the parameter in `Calibration.parameters`.
        beside_s: seconds that it adds where the operation passes gradients on to its inputs too.
        alone_s: seconds where it does not.
    """

    unit: int
    beside_s: float
    alone_s: float


@dataclass(frozen=True)
class OperationCost:
    """The backward pass of one operation, or of several that were merged.

    Args:
        module: path of the module whose own code ran it.
        inputs: places of the operations before it, as in the gradient graph.
        through_s: seconds of the gradients of its inputs.
        extra_s: seconds whenever it runs: what the forward pass takes longer to prepare it, operations merged into it.
        units: the parameters among its inputs.
    """

    module: str
    inputs: tuple[int, ...]
    through_s: float
    extra_s: float
    units: tuple[UnitCost, ...]


class BackwardCosts:
    """The operations of a network, made ready to be asked often: what lies behind each one is worked out once.

    Args:
        operations: every one after its inputs.
    """

    def __init__(self, operations: Sequence[OperationCost]) -> None:
        self._rows = []
        own = [bits_of(unit.unit for unit in each.units) for each in operations]
        for each, at, below in zip(operations, own, bits_below([each.inputs for each in operations], own), strict=True):
            units = [(1 << unit.unit, unit.beside_s, unit.alone_s) for unit in each.units]
            self._rows.append((below, at, each.extra_s, each.through_s, units))

    def seconds(self, due: Collection[int]) -> float:
        """Return the seconds of all operations that run for the gradients of these parameters, by their places."""
        passing_s, weights_s = self.split(due)
        return passing_s + weights_s

    def split(self, due: Collection[int]) -> tuple[float, float]:
        """Return the same in two parts: that gradients are passed on, and those of the parameters themselves."""
        chosen = bits_of(due)
        passing_s = weights_s = 0.0
        for below, own, extra_s, through_s, units in self._rows:
            if below & chosen:
                passing_s += extra_s + through_s
                if own & chosen:
                    weights_s += sum(beside_s for bit, beside_s, _ in units if bit & chosen)
            elif own & chosen:
                passing_s += extra_s
                weights_s += sum(alone_s for bit, _, alone_s in units if bit & chosen)
        return passing_s, weights_s
