"""The layer tree: what a network consists of, as frozen dataclasses with a JSON form. No torch.

Costs add up by construction: `make_node` derives the totals of a node from the node itself and its children, so
own + children = total for parameters and multiply-adds, whatever the forward pass does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any

from multirate_core.errors import ModelError
from multirate_core.layers.gradient_graph import GradientGraph, from_list, to_list

TREE_FORMAT = "multirate-layer-tree"
TREE_VERSION = 3


@dataclass(frozen=True)
class ParameterInfo:
    """One tensor that a module owns.

    Args:
        name: its first name in `model.named_parameters()`, "layer1.0.conv1.weight".
        shape: of the tensor.
        numel: numbers in it.
        trainable: its `requires_grad` when the tree was made.
        aliases: the other names of the same tensor, in order.
    """

    name: str
    shape: tuple[int, ...]
    numel: int
    trainable: bool
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerNode:
    """One module and what lies below it; made by `make_node`.

    Args:
        path: "" for the root, "layer1.0.conv1" below it.
        kind: class name of the module.
        parameters: owned directly; a tied tensor only where it is named first.
        tied: (own full name, first full name) of the tensors that have their first name elsewhere.
        children: in the order in which they were registered.
        output_shape: without the batch dimension; None if the module itself was never called.
        own_multiply_adds: per image, spent in this module's own code and not in a module that it called.
        multiply_adds: own and all children's.
        parameter_count: own and all children's, shared weights once.
        signature: equal for blocks of equal structure, shapes and cost, wherever they stand.
    """

    path: str
    kind: str
    parameters: tuple[ParameterInfo, ...]
    tied: tuple[tuple[str, str], ...]
    children: tuple[LayerNode, ...]
    output_shape: tuple[int, ...] | None
    own_multiply_adds: int
    multiply_adds: int
    parameter_count: int
    signature: str

    @property
    def name(self) -> str:
        """The last part of the path: "conv1"; "" for the root."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class SavedBytes:
    """What autograd saves in the forward pass of a training step in float32, beside the parameters, in bytes.

    Args:
        fixed: once per batch.
        per_sample: for every image or text.
        lean_fixed, lean_per_sample: the same with lean memory, the block that is recomputed included.
    """

    fixed: int
    per_sample: int
    lean_fixed: int
    lean_per_sample: int


@dataclass(frozen=True)
class LayerTree:
    """A whole network.

    Args:
        model: its name, as in the catalog.
        input_shape: of one image, (C, H, W).
        head: paths of the modules that make up the head; () if unknown.
        note: what could not be found out, in a sentence; "" if nothing.
        saved: what a training step keeps for its backward pass; None if that is not known.
        gradients: what its backward pass computes for which parameters, merged per module; None if that is not known.
    """

    model: str
    input_shape: tuple[int, ...]
    root: LayerNode
    head: tuple[str, ...] = ()
    note: str = ""
    saved: SavedBytes | None = None
    gradients: GradientGraph | None = None

    def nodes(self) -> Iterator[LayerNode]:
        """Yield every node in architecture order: parents before children, the root first."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def parameters(self) -> tuple[ParameterInfo, ...]:
        """Return every parameter once, in the order of `model.named_parameters()`."""
        return self._parameters

    def trainable(self) -> tuple[ParameterInfo, ...]:
        """Return the parameters that a partition has to place."""
        return self._trainable

    @cached_property
    def _parameters(self) -> tuple[ParameterInfo, ...]:
        return tuple(parameter for node in self.nodes() for parameter in node.parameters)

    @cached_property
    def _trainable(self) -> tuple[ParameterInfo, ...]:
        return tuple(parameter for parameter in self._parameters if parameter.trainable)

    @cached_property
    def layers(self) -> frozenset[str]:
        """Paths of the modules without modules of their own."""
        return frozenset(node.path for node in self.nodes() if not node.children)

    @cached_property
    def owned(self) -> dict[str, frozenset[str]]:
        """Names of the parameters that a module itself owns, by its path; modules without any are left out."""
        return {node.path: frozenset(each.name for each in node.parameters) for node in self.nodes() if node.parameters}

    @cached_property
    def fingerprint(self) -> str:
        """8 hex digits over the parameter names in order: equal trees may differ in shapes, as with another head."""
        return _digest([parameter.name for parameter in self._parameters])[:8]


def make_node(
    path: str,
    kind: str,
    *,
    parameters: tuple[ParameterInfo, ...] = (),
    tied: tuple[tuple[str, str], ...] = (),
    children: tuple[LayerNode, ...] = (),
    output_shape: tuple[int, ...] | None = None,
    own_multiply_adds: int = 0,
) -> LayerNode:
    """Return a node with its totals and its signature derived from what it owns and from its children."""
    owned = [[_last(p.name), list(p.shape), p.trainable] for p in parameters]
    below = [[child.name, child.signature] for child in children]
    look = [kind, owned, [_last(own) for own, _ in tied], below, output_shape, own_multiply_adds]
    return LayerNode(
        path=path,
        kind=kind,
        parameters=parameters,
        tied=tied,
        children=children,
        output_shape=output_shape,
        own_multiply_adds=own_multiply_adds,
        multiply_adds=own_multiply_adds + sum(child.multiply_adds for child in children),
        parameter_count=sum(p.numel for p in parameters) + sum(child.parameter_count for child in children),
        signature=_digest(look)[:12],
    )


def to_json(tree: LayerTree) -> str:
    """Return the tree as one line of JSON; derived numbers are left out and made again by `from_json`."""
    document = {
        "format": TREE_FORMAT,
        "version": TREE_VERSION,
        "model": tree.model,
        "input_shape": tree.input_shape,
        "head": tree.head,
        "note": tree.note,
        "saved": None if tree.saved is None else astuple(tree.saved),
        "gradients": None if tree.gradients is None else to_list(tree.gradients, _names(tree.parameters())),
        "root": _node_to_dict(tree.root),
    }
    return json.dumps(document, separators=(",", ":"))


def from_json(text: str) -> LayerTree:
    """Read what `to_json` wrote; ModelError if it is something else, or of another version."""
    try:
        raw = json.loads(text)
        if (raw["format"], raw["version"]) != (TREE_FORMAT, TREE_VERSION):
            raise ModelError(f"this is not a layer tree of version {TREE_VERSION}. Make the tree again.")
        tree = LayerTree(
            model=raw["model"],
            input_shape=tuple(raw["input_shape"]),
            root=_node_from_dict(raw["root"], ""),
            head=tuple(raw["head"]),
            note=raw["note"],
            saved=None if raw["saved"] is None else SavedBytes(*raw["saved"]),
        )
        graph = raw["gradients"]
        return tree if graph is None else replace(tree, gradients=from_list(graph, _names(tree.parameters())))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"the layer tree is damaged ({type(error).__name__}: {error}). Make it again.") from error


def _names(parameters: Sequence[ParameterInfo]) -> list[str]:
    return [parameter.name for parameter in parameters]


def _node_to_dict(node: LayerNode) -> dict[str, Any]:
    """Write a node with names relative to it, and without empty fields: the file stays small."""
    owned = [[_last(p.name), p.shape, p.trainable, p.aliases] for p in node.parameters]
    optional = {
        "parameters": owned,
        "tied": [[_last(own), first] for own, first in node.tied],
        "output_shape": node.output_shape,
        "multiply_adds": node.own_multiply_adds,
        "children": [_node_to_dict(child) for child in node.children],
    }
    return {"name": node.name, "kind": node.kind} | {key: value for key, value in optional.items() if value}


def _node_from_dict(raw: dict[str, Any], parent: str) -> LayerNode:
    path = join(parent, raw["name"])
    shape = raw.get("output_shape")
    return make_node(
        path,
        raw["kind"],
        parameters=tuple(_parameter(path, *fields) for fields in raw.get("parameters", ())),
        tied=tuple((join(path, own), first) for own, first in raw.get("tied", ())),
        children=tuple(_node_from_dict(child, path) for child in raw.get("children", ())),
        output_shape=None if shape is None else tuple(shape),
        own_multiply_adds=raw.get("multiply_adds", 0),
    )


def _parameter(path: str, name: str, shape: list[int], trainable: bool, aliases: list[str]) -> ParameterInfo:
    numel = 1
    for size in shape:
        numel *= size
    return ParameterInfo(join(path, name), tuple(shape), numel, trainable, tuple(aliases))


def join(path: str, name: str) -> str:
    """Return the full name of something called `name` in the module at `path`."""
    return f"{path}.{name}" if path else name


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
