"""Which parts of a network are its blocks: repeated modules, and runs of neighbours, found in the module tree."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# Where a layer says how many numbers per place it reads; the first that has one says it for the whole block.
WIDTHS = ("in_channels", "in_features", "num_features", "embed_dim", "embedding_dim")


@dataclass(frozen=True)
class Block:
    """A module, or the neighbours `start` to `stop` (exclusive) in a Sequential.

    Args:
        path: of the module; with a `stop`, of the Sequential.
        start: position of the first member.
        stop: position after the last member; 0 means the whole module.
    """

    path: str
    start: int = 0
    stop: int = 0

    @property
    def name(self) -> str:
        """The path, with a slice for a part of a Sequential: "layer1.0", "layer3[0:2]"."""
        return f"{self.path}[{self.start}:{self.stop}]" if self.stop else self.path


def find_blocks(model: nn.Module) -> list[Block]:
    """Return the blocks in the module tree, in the order of registration; none lies inside another.

    A block is a module with children and parameters that stands in a container (Sequential, ModuleList, ModuleDict)
    or beside siblings of its class. A container of blocks is a stage and not a block; neither is a module that holds
    more blocks than there are modules of its class: two encoders of twelve layers are twenty-four blocks, while a
    bottleneck of three convolution layers that the network repeats stays one. Neighbours in a Sequential that hold
    little beside their inputs are recomputed together, and a Sequential of single layers is cut into such runs.
    """
    classes = Counter(type(module) for module in model.modules())
    paths = _paths_below(model, "", classes)
    if not paths and is_row(model):
        return _runs(model, "", _layer_units(model))
    found: list[Block] = []
    for (parent, _), group in groupby(paths, lambda path: (path.rpartition(".")[0], type(model.get_submodule(path)))):
        members, row = list(group), model.get_submodule(parent)
        if is_row(row) and len(members) > 1 and not any(is_row(model.get_submodule(path)) for path in members):
            names = [name for name, _ in row.named_children()]
            found += _runs(row, parent, [names.index(path.rpartition(".")[2]) for path in members])
        else:
            found += [block for path in members for block in _whole_or_runs(model, path)]
    return found


def is_called(module: nn.Module) -> bool:
    """Tell whether a module has a forward pass of its own: a ModuleList has none."""
    return type(module).forward is not nn.Module.forward


def is_row(module: nn.Module) -> bool:
    """Tell whether a module does nothing but call its children one after the other."""
    return type(module).forward is nn.Sequential.forward


def _paths_below(module: nn.Module, prefix: str, classes: Counter[type[nn.Module]]) -> list[str]:
    """Return the paths of the blocks below a module that is none itself."""
    children = [(prefix + name, child) for name, child in module.named_children() if _has_layers(child)]
    siblings = Counter(type(child) for _, child in children)
    found = []
    for path, child in children:
        inside = _paths_below(child, path + ".", classes)
        stands_in_a_row = isinstance(module, CONTAINERS) or siblings[type(child)] > 1
        is_stage = isinstance(child, CONTAINERS) and inside
        if stands_in_a_row and is_called(child) and not is_stage and len(inside) <= classes[type(child)]:
            found.append(path)
        else:
            found += inside
    return found


def _has_layers(module: nn.Module) -> bool:
    """Tell whether a module holds other modules and something to train; recomputing a single layer saves little."""
    return next(module.children(), None) is not None and next(module.parameters(), None) is not None


def _whole_or_runs(model: nn.Module, path: str) -> list[Block]:
    module = model.get_submodule(path)
    units = _layer_units(module) if is_row(module) else []
    runs = _runs(module, path, units) if len(units) > 1 else []
    return runs if len(runs) > 1 else [Block(path)]


def _layer_units(row: nn.Module) -> list[int]:
    """Return where in a row a new unit begins: at every layer with a matrix, so that norms and in-place ReLUs follow.

    What stands before the first of them belongs to no unit and is never recomputed.
    """
    return [i for i, layer in enumerate(row.children()) if any(weight.dim() > 1 for weight in layer.parameters())]


def _runs(row: nn.Module, path: str, starts: Sequence[int]) -> list[Block]:
    """Cut a row into blocks of equally many units; a unit reaches from its start to the next one, the last to the end.

    Args:
        row: a Sequential.
        path: its name.
        starts: position of the first module of every unit.
    """
    children = list(row.named_children())
    # Layers behind the last unit go with it, unless units of another kind stand there.
    last = len(children) if len(starts) == len(_layer_units(row)) else starts[-1] + 1
    units = [range(start, stop) for start, stop in zip(starts, [*starts[1:], last], strict=True)]
    length = _run_length(len(units), statistics.median(_weight_of([children[i][1] for i in unit]) for unit in units))
    runs = [units[i : i + length] for i in range(0, len(units), length)]
    whole = path + "." if path else ""
    return [
        Block(whole + children[run[0].start][0])
        if run[0].start + 1 == run[-1].stop
        else Block(path, run[0].start, run[-1].stop)
        for run in runs
    ]


def _run_length(units: int, weight: float) -> int:
    """Return how many units to recompute together so that the least memory is held at the worst moment.

    With runs of r units, units/r inputs are held, and the activations of one run while it is recomputed.

    Args:
        units: how many there are in the row, at least 1.
        weight: activations of one unit in multiples of its input.

    Source: T. Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016 (arXiv 1604.06174), section 4.
    """
    return min(range(1, units + 1), key=lambda r: (math.ceil(units / r) + r * weight, -r))


def _weight_of(modules: Sequence[nn.Module]) -> float:
    """Estimate the activations of modules in multiples of their input, from the widths of their layers.

    Every matrix and every norm saves about what it gives out: its own input, or the ReLU's result after it.
    """
    layers = [layer for module in modules for layer in module.modules()]
    widths = (getattr(layer, name) for layer in layers for name in WIDTHS if hasattr(layer, name))
    read = next((width for width in widths if isinstance(width, int) and width > 0), 0)
    given = sum(weight.shape[0] for name, weight in _named_weights(modules) if name.endswith("weight"))
    return given / read if read else math.inf


def _named_weights(modules: Sequence[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    for module in modules:
        yield from module.named_parameters()
