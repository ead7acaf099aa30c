"""One forward and one backward pass of a network with a mark at every border: seconds per module and per operation.

The marks tile the pass: what a module's own code takes until the next call or return is its own, and an operation's
backward pass lasts until that of the next one begins, so that the sum of gradients at a branch belongs to the operation
that made them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from multirate_core.cost.clocks import Clock
from multirate_core.cost.subject import Subject
from multirate_core.errors import ModelError
from multirate_core.layers.call_paths import CallPaths
from multirate_core.layers.dry_run import FORWARD_ERRORS
from multirate_core.layers.gradient_graph import GradientGraph
from multirate_core.layers.trace_gradients import Tracer, nodes_behind
from multirate_core.training.samples import shape_of

LOSS = "(loss)"  # stands for a module where the network's own forward pass is over


@dataclass(frozen=True)
class TracedPass:
    """What one pass with every parameter due has shown.

    Args:
        graph: its operations, those of the loss under the module `LOSS`.
        order: for every node that `nodes_behind` finds, the place of its operation; None for a leaf.
        gradients: per operation, the gradient that it was given, as an empty tensor of that shape and layout; None if
            it got several or none.
        saved_bytes: by module, what autograd keeps of its own code.
    """

    graph: GradientGraph
    order: tuple[int | None, ...]
    gradients: tuple[Tensor | None, ...]
    saved_bytes: Mapping[str, int]


def trace(subject: Subject) -> TracedPass:
    """Take one pass and note its operations; this one is not timed."""
    with subject.all_due():
        tracer = Tracer(subject.model, outside=LOSS)
        try:
            with _count_saved(subject, tracer.running) as saved:
                loss = subject.loss()
        except FORWARD_ERRORS as error:
            raise _failure(subject, tracer.running(), error) from error
        tracer.finish(loss)
        graph, nodes = tracer.graph(), tracer.operation_nodes()
        if not any(name in subject.trainable for operation in graph.operations for name in operation.parameters):
            raise ModelError(
                f"no parameter of {type(subject.model).__name__} takes part in its loss. Mend its forward."
            )
        places = {node: place for place, node in enumerate(nodes)}
        gradients: list[Tensor | None] = [None] * len(nodes)
        for place, node in enumerate(nodes):
            node.register_prehook(_note_gradient(gradients, place))
        order = tuple(places.get(node) for node in nodes_behind(loss))
        loss.backward()  # type: ignore[no-untyped-call]
        return TracedPass(graph, order, tuple(gradients), saved)


def bare_forward_seconds(subject: Subject, clock: Clock) -> dict[str, float]:
    """Return the seconds of every module's own code and of the loss in a forward pass that keeps nothing.

    Args:
        subject: what is measured.
        clock: of its device.
    """
    with subject.all_due(), torch.no_grad(), _forward_marks(subject, clock) as laps:
        subject.loss()
    return laps()


def pass_seconds(
    subject: Subject, clock: Clock, traced: TracedPass, due: Sequence[str] | None = None
) -> tuple[dict[str, float], list[float]]:
    """Return the seconds of a forward pass by module and of its backward pass by operation.

    Args:
        subject: what is measured.
        clock: of its device.
        traced: names the operations.
        due: names of the parameters whose gradients are computed; None computes all.
    """
    with subject.all_due():
        with _forward_marks(subject, clock) as laps:
            loss = subject.loss()
        marks, places = [], []

        def note(place: int) -> None:
            places.append(place)
            marks.append(clock.mark())

        for place, node in zip(traced.order, same_nodes(loss, traced), strict=True):
            if place is not None:
                node.register_prehook(_calling(note, place))
        wanted = None if due is None else [subject.trainable[name] for name in due]
        clock.settle()
        torch.autograd.backward(loss, inputs=wanted)
        marks.append(clock.mark())
        times = clock.read(marks)
    seconds = [0.0] * len(traced.graph.operations)
    for place, (begun, ended) in zip(places, pairwise(times), strict=True):
        seconds[place] += ended - begun
    return laps(), seconds


def same_nodes(loss: Tensor, traced: TracedPass) -> list[Node]:
    """Return the nodes behind a loss in the order of the trace; ModelError if the network took another way."""
    nodes = nodes_behind(loss)
    if len(nodes) != len(traced.order):
        raise ModelError(
            f"the forward pass is another one each time ({len(traced.order)} operations, then {len(nodes)}), as with "
            "layers that are left out at random. Its layers cannot be measured one by one; race it instead."
        )
    return nodes


@contextmanager
def _forward_marks(subject: Subject, clock: Clock) -> Iterator[Callable[[], dict[str, float]]]:
    """Mark every call and return of a module; yield what reads the seconds of each one's own code."""
    calls = CallPaths(subject.model)
    marks: list[Any] = []
    owners: list[str] = []

    def note(_: Any) -> None:
        owners.append(LOSS if calls.running is None else calls.running)
        marks.append(clock.mark())

    def laps() -> dict[str, float]:
        times = clock.read(marks)
        own: defaultdict[str, float] = defaultdict(float)
        for owner, (begun, ended) in zip(owners, pairwise(times), strict=True):
            own[owner] += ended - begun
        return dict(own)

    calls.follow(note, note)
    clock.settle()
    marks.append(clock.mark())
    try:
        yield laps
    finally:
        note(None)
        calls.release()


@contextmanager
def _count_saved(subject: Subject, running: Callable[[], str]) -> Iterator[Mapping[str, int]]:
    """Yield the bytes of every storage that autograd keeps, by the module that first saved it; parameters aside."""
    seen = {weight.untyped_storage()._cdata for weight in subject.model.parameters()}
    held: list[torch.UntypedStorage] = []  # so that no two storages have the same address
    saved: defaultdict[str, int] = defaultdict(int)

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            held.append(storage)
            saved[running()] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
    held.clear()


def _failure(subject: Subject, module: str, error: BaseException) -> ModelError:
    """Return an error that names the module which a forward pass reached."""
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    where = "after the network itself, in the loss" if module == LOSS else f"in {module or 'its own code'}"
    shape = "×".join(map(str, shape_of(subject.inputs)))
    return ModelError(
        f"a forward pass of {type(subject.model).__name__} on {shape} failed {where}: {first_line}. Choose a sample "
        "size that the network takes, or mend its forward."
    )


def _note_gradient(gradients: list[Tensor | None], place: int) -> Callable[[Any], None]:
    def note(given: Any) -> None:
        if len(given) == 1 and given[0] is not None:
            gradients[place] = torch.empty_strided(
                given[0].shape, given[0].stride(), dtype=given[0].dtype, device="meta"
            )

    return note


def _calling(note: Callable[[int], None], place: int) -> Callable[[Any], None]:
    return lambda _given: note(place)
