"""What the gradients of an operation's parameters cost by themselves, without those of its inputs.

In a whole backward pass an operation with parameters mostly computes both; only where gradients stop does it compute
those of the parameters alone. Some operations save the rest then (a convolution), others hardly anything (a norm). So
one operation of each kind and shape is run by itself, once with everything and once per choice of parameters. What
counts are the ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from multirate_core.cost.clocks import Clock
from multirate_core.cost.passes import TracedPass, same_nodes
from multirate_core.cost.subject import Subject
from multirate_core.layers.gradient_graph import VIEWS, Operation
from multirate_core.layers.trace_gradients import walk

REPEATS = 3


# Per parameter, the share of the seconds of the operation's whole backward pass; they add up to that of all together.
Shares = tuple[float, ...]


def alone_shares(subject: Subject, clock: Clock, traced: TracedPass) -> list[Shares | None]:
    """Return the shares of every operation; None where it has no parameters, or cannot be run by itself."""
    with subject.all_due():
        loss = subject.loss()
        nodes: list[Node | None] = [None] * len(traced.graph.operations)
        for place, behind in zip(traced.order, same_nodes(loss, traced), strict=True):
            if place is not None:
                nodes[place] = behind
        uses = _uses(traced.graph.operations)
        known: dict[Hashable, Shares | None] = {}
        found: list[Shares | None] = []
        for place, operation in enumerate(traced.graph.operations):
            node, gradient = nodes[place], traced.gradients[place]
            lone = all(uses[name] == 1 and name in subject.trainable for name in operation.parameters)
            if not operation.parameters or node is None or gradient is None or not lone:
                found.append(None)
                continue
            kind = _kind(subject, operation, gradient)
            if kind not in known:
                known[kind] = _measure(subject, clock, operation, node, gradient)
            found.append(known[kind])
        return found


def _uses(operations: Sequence[Operation]) -> dict[str, int]:
    """Return at how many operations each parameter takes part; views of it count with the operation behind them."""
    uses: dict[str, int] = {}
    for operation in operations:
        for name in operation.parameters:
            uses[name] = uses.get(name, 0) + (0 if _is_view(operation) else 1)
    return uses


def _is_view(operation: Operation) -> bool:
    return operation.kind in VIEWS and not operation.inputs


def _kind(subject: Subject, operation: Operation, gradient: Tensor) -> Hashable:
    """Return what is equal for operations that take equally long."""
    shapes = tuple(tuple(subject.trainable[name].shape) for name in operation.parameters)
    return operation.kind, tuple(gradient.shape), gradient.stride(), gradient.dtype, shapes, bool(operation.inputs)


def _measure(subject: Subject, clock: Clock, operation: Operation, node: Node, gradient: Tensor) -> Shares | None:
    """Run one operation's backward pass with everything, with its parameters, and with each of them."""
    if not operation.inputs and len(operation.parameters) == 1:
        return (1.0,)
    edges = [GradientEdge(child, number) for child, number in node.next_functions if child is not None]
    weights = _edges_of_parameters(subject, node, operation)
    if len(weights) != len(operation.parameters) or _one_behind_another([edge.node for edge in edges]):
        return None
    like: dict[str, Any] = {"device": subject.device, "dtype": gradient.dtype}
    given = torch.empty_strided(gradient.shape, gradient.stride(), **like).copy_(torch.randn(gradient.shape, **like))
    choices = [edges, weights, *([[edge] for edge in weights] if len(weights) > 1 else [])]
    try:
        whole, together, *single = _seconds(clock, node, given, choices)
    except RuntimeError:  # a backward pass of its own kind, which wants more than one gradient
        return None
    share = min(1.0, together / whole) if whole > 0 else 1.0
    parts = single or [1.0]
    return tuple(share * part / (sum(parts) or 1.0) for part in parts)


def _one_behind_another(inputs: Sequence[Node]) -> bool:
    """Tell whether asking for all these gradients would run more than one backward pass: there is a way between two."""
    wanted = set(inputs)
    behind = (walk(child for child, _ in node.next_functions if child is not None) for node in wanted)
    return any(not wanted.isdisjoint(nodes) for nodes in behind)


def _edges_of_parameters(subject: Subject, node: Node, operation: Operation) -> list[GradientEdge]:
    """Return the edges of a node that lead to its parameters, in the order of `operation.parameters`."""
    names = {id(weight): name for name, weight in subject.trainable.items()}
    found: dict[str, GradientEdge] = {}
    for child, number in node.next_functions:
        end = child
        while end is not None and not hasattr(end, "variable") and len(end.next_functions) == 1:
            end = end.next_functions[0][0]
        name = names.get(id(end.variable)) if end is not None and hasattr(end, "variable") else None
        if name in operation.parameters and child is not None:
            found.setdefault(str(name), GradientEdge(child, number))
    return [found[name] for name in operation.parameters if name in found]


def _seconds(clock: Clock, node: Node, given: Tensor, choices: Sequence[Sequence[GradientEdge]]) -> list[float]:
    """Return the median seconds of a node's backward pass for every choice of what it computes, in turns."""
    times: list[list[float]] = [[] for _ in choices]
    for number in range(REPEATS + 1):
        for place, edges in enumerate(choices):
            clock.settle()
            begun = clock.mark()
            torch.autograd.grad([GradientEdge(node, 0)], edges, [given], retain_graph=True, allow_unused=True)
            first, last = clock.read([begun, clock.mark()])
            if number:  # the first round warms up
                times[place].append(last - first)
    return [statistics.median(values) for values in times]
