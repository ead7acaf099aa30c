"""The gradient graph of a network: read off the autograd graph of one real forward pass.

The pass runs on the meta device, where it computes nothing. A forward that looks at values cannot run there; a copy on
the CPU runs it with two samples. The module that ran an operation is found by hooks: what is new behind the inputs of a
call belongs to the caller, what is new behind its outputs to the called module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from multirate_core.layers.call_paths import CallPaths
from multirate_core.layers.dry_run import copy_on, first_that_runs
from multirate_core.layers.gradient_graph import ALWAYS, VIEWS, GradientGraph, Operation

BATCH = 2  # not 1: a norm in train mode may insist on two values
LEAF = "AccumulateGrad"  # how autograd calls the end of a path, where a gradient is put down


def trace_gradients(model: nn.Module, input_shape: tuple[int, ...]) -> GradientGraph | None:
    """Return the gradient graph of a network in train mode; None if no forward could be run.

    Args:
        model: on any device; it is not changed.
        input_shape: of one image, (C, H, W), or of one text, (L,); without the batch.
    """

    def trace(device: str, dtype: torch.dtype) -> GradientGraph:
        network = copy_on(device, model, requires_grad=True).train()
        tracer = Tracer(network)
        tracer.finish(network(torch.zeros((BATCH, *input_shape), dtype=dtype, device=device)))
        return tracer.graph()

    return first_that_runs(input_shape, trace)


class Tracer:
    """Follows one forward pass of a model and keeps its autograd nodes, each with the module that made it.

    Args:
        model: its hooks are added at once and taken off by `finish`.
        outside: what stands for the module where none runs, after the model's own forward pass: the loss, say.
    """

    def __init__(self, model: nn.Module, outside: str = "") -> None:
        self._outside = outside
        self.nodes: list[Node] = []  # in the order of creation, as far as the graph tells; kept alive
        self._owners: list[str] = []
        self._places: dict[Node, int] = {}
        self._names = {id(weight): name for name, weight in model.named_parameters()}
        self._calls = CallPaths(model)
        self._calls.follow(lambda inputs: self._claim(inputs), lambda output: self._claim(output))

    def running(self) -> str:
        """Return the path of the module that runs now."""
        return self._outside if self._calls.running is None else self._calls.running

    def finish(self, *outputs: Any) -> None:
        """Note what is new behind the results of the pass, forget what is not behind them, and take the hooks off."""
        self._claim(outputs)
        self._calls.release()
        used = set(nodes_behind(outputs))
        kept = [(node, owner) for node, owner in zip(self.nodes, self._owners, strict=True) if node in used]
        self.nodes, self._owners = [node for node, _ in kept], [owner for _, owner in kept]

    def graph(self) -> GradientGraph:
        """Return the operations; what uses a view of a parameter has the parameter, and not the view, as an input."""
        leaves = {node: self._leaf_name(node) for node in self.nodes if node.name().endswith(LEAF)}
        weights = _lone_parameters(self.nodes, leaves)
        places: dict[Node, int] = {}
        operations: list[Operation] = []
        for node, owner in zip(self.nodes, self._owners, strict=True):
            if node in leaves:
                continue
            after = [child for child, _ in node.next_functions if child is not None]
            inputs = (places[child] for child in after if child not in weights)
            parameters = (weights[child] for child in after if child in weights)
            places[node] = len(operations)
            operations.append(
                Operation(node.name(), owner, tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(parameters)))
            )
        return GradientGraph(tuple(operations))

    def operation_nodes(self) -> list[Node]:
        """Return the autograd node of every operation of `graph()`."""
        return [node for node in self.nodes if not node.name().endswith(LEAF)]

    def _leaf_name(self, node: Node) -> str:
        return self._names.get(id(node.variable), ALWAYS)  # type: ignore[attr-defined]

    def _claim(self, values: Any) -> None:
        """Give every node behind these tensors that nobody has to the module that runs; inputs come first."""
        owner = self.running()
        for tensor in tensors_in(values):
            if tensor.grad_fn is not None:
                self._claim_behind(tensor.grad_fn, owner)

    def _claim_behind(self, last: Node, owner: str) -> None:
        stack: list[tuple[Node, bool]] = [(last, False)]
        while stack:
            node, inputs_done = stack.pop()
            if node in self._places:
                continue
            if inputs_done:
                self._places[node] = len(self.nodes)
                self.nodes.append(node)
                self._owners.append(owner)
                continue
            stack.append((node, True))
            stack.extend((child, False) for child, _ in reversed(node.next_functions) if child is not None)


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples, mappings and dataclasses, as networks take and return them."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from tensors_in(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)
    elif dataclasses.is_dataclass(values) and not isinstance(values, type):
        yield from tensors_in([getattr(values, each.name) for each in dataclasses.fields(values)])


def nodes_behind(values: Any) -> list[Node]:
    """Return every autograd node behind tensors, always in the same order for the same network."""
    return walk(tensor.grad_fn for tensor in tensors_in(values) if tensor.grad_fn is not None)


def walk(nodes: Iterable[Node]) -> list[Node]:
    """Return these autograd nodes and every one behind them."""
    stack, found = list(nodes), dict[Node, None]()
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack.extend(child for child, _ in node.next_functions if child is not None)
    return list(found)


def _lone_parameters(nodes: Sequence[Node], leaves: Mapping[Node, str]) -> dict[Node, str]:
    """Return the parameter of every node through which only that one flows: a leaf, or a view of it, as in `x @ w.T`.

    An input that needs no gradient shows as None: a node that has one computes with data and is none of these.
    """
    alone = dict(leaves)
    for node in nodes:
        after = [child for child, _ in node.next_functions]
        if node not in alone and len(after) == 1 and after[0] in alone and node.name() in VIEWS:
            alone[node] = alone[after[0]]
    return alone
