"""Which gradients a backward pass computes, for any choice of parameters that need one. No torch.

A gradient graph lists the operations of one forward pass that autograd would walk back through if every parameter
needed a gradient. With fewer, autograd runs those operations from which one of the chosen parameters can be reached;
the graph answers that without running anything. It follows the data and not the order of execution, so skips, branches
and weights that are used twice come out right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# Autograd's names of operations that only look at their input in another way: they cost nothing worth telling.
_VIEWS = ("T", "Transpose", "Permute", "View", "UnsafeView", "Unsqueeze", "Squeeze", "Expand", "ReshapeAlias", "Select")
VIEWS = frozenset(f"{name}Backward{form}" for name in (*_VIEWS, "Slice", "Alias", "ToCopy") for form in (0, 1))

ALWAYS = ""  # stands for a tensor that needs a gradient and is no parameter of the network


@dataclass(frozen=True)
class Operation:
    """One operation of the forward pass, as its backward pass sees it.

    Args:
        kind: autograd's name of it, "ConvolutionBackward0"; "" where several were merged.
        module: path of the module whose own code ran it, "" for the root.
        inputs: places of the operations that made its inputs, all before its own; weights aside.
        parameters: first names of the parameters among its inputs, in order; one that was only reshaped counts.
    """

    kind: str
    module: str
    inputs: tuple[int, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class GradientGraph:
    """The operations of one forward pass, every one after its inputs."""

    operations: tuple[Operation, ...]

    def needed(self, due: Collection[str]) -> list[bool]:
        """Tell for every operation whether its backward pass runs.

        Args:
            due: first names of the parameters that need a gradient.
        """
        chosen = bits_of(self._bits[name] for name in (*due, ALWAYS) if name in self._bits)
        return [bool(behind & chosen) for behind in self._behind]

    @cached_property
    def _bits(self) -> dict[str, int]:
        """Which bit stands for which parameter."""
        names = dict.fromkeys(name for operation in self.operations for name in operation.parameters)
        return {name: place for place, name in enumerate(names)}

    @cached_property
    def _behind(self) -> list[int]:
        """Bits of the parameters at every operation and behind it."""
        own = [bits_of(self._bits[name] for name in operation.parameters) for operation in self.operations]
        below = bits_below([operation.inputs for operation in self.operations], own)
        return [at | behind for at, behind in zip(own, below, strict=True)]

    def reached(self, due: Collection[str]) -> list[str]:
        """Return the modules whose own code gradients pass, the earliest first."""
        needed = self.needed(due)
        return list(dict.fromkeys(each.module for each, runs in zip(self.operations, needed, strict=True) if runs))


def bits_of(places: Iterable[int]) -> int:
    """Return the number that has its bits at these places."""
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits


def bits_below(inputs: Sequence[Sequence[int]], own: Sequence[int]) -> list[int]:
    """Return per operation which parameters lie behind it, as bits: those at its inputs and behind these.

    Args:
        inputs: per operation the places of its inputs, all before its own.
        own: per operation the bits of the parameters at it.
    """
    below: list[int] = []
    for places in inputs:
        bits = 0
        for place in places:
            bits |= own[place] | below[place]
        below.append(bits)
    return below


def merge(graph: GradientGraph) -> GradientGraph:
    """Return a smaller graph with the same answers per module.

    An operation with one input and no parameter is needed exactly when its input is: it is left out where the two
    belong to the same module.
    """
    return merge_with_places(graph)[0]


def merge_with_places(graph: GradientGraph) -> tuple[GradientGraph, list[int]]:
    """Return what `merge` returns, and for every operation of the old graph its place in the new one."""
    kept: list[Operation] = []
    places: list[int] = []
    for operation in graph.operations:
        inputs = tuple(dict.fromkeys(places[place] for place in operation.inputs))
        follows = len(inputs) == 1 and not operation.parameters and kept[inputs[0]].module == operation.module
        if follows:
            places.append(inputs[0])
        else:
            places.append(len(kept))
            kept.append(Operation("", operation.module, inputs, operation.parameters))
    return GradientGraph(tuple(kept)), places


def to_list(graph: GradientGraph, names: Sequence[str]) -> list[Any]:
    """Return the JSON form: [module, inputs, numbers of the parameters] per operation, modules once.

    Args:
        graph: to write; the kinds are left out.
        names: of all parameters; a parameter is written as its place here, `ALWAYS` as -1.
    """
    number = {name: place for place, name in enumerate(names)} | {ALWAYS: -1}
    modules = {module: place for place, module in enumerate(dict.fromkeys(each.module for each in graph.operations))}
    rows = [
        [modules[each.module], list(each.inputs), [number[name] for name in each.parameters]]
        for each in graph.operations
    ]
    return [list(modules), rows]


def from_list(written: Any, names: Sequence[str]) -> GradientGraph:
    """Read what `to_list` wrote; ValueError, TypeError or LookupError if it is something else."""
    modules, rows = written
    operations: list[Operation] = []
    for module, inputs, parameters in rows:
        if not all(0 <= place < len(operations) for place in inputs):
            raise ValueError(f"operation {len(operations)} has inputs {inputs}, which do not come before it")
        if module < 0 or min(parameters, default=0) < -1:
            raise ValueError(f"operation {len(operations)} counts from the end")
        operations.append(Operation("", modules[module], tuple(inputs), tuple(_named(parameters, names))))
    return GradientGraph(tuple(operations))


def _named(numbers: Iterable[int], names: Sequence[str]) -> Iterable[str]:
    return (ALWAYS if number == -1 else names[number] for number in numbers)
