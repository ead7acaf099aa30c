"""Partitions with a name: where to begin. Each has the groups *fast* (period 1) and *slow* (period k)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType

from multirate_core.checks import require_choice, require_whole
from multirate_core.config import GroupSpec
from multirate_core.errors import ConfigError, PartitionError
from multirate_core.layers.tree import LayerNode, LayerTree
from multirate_core.partition.partition import Partition
from multirate_core.partition.patterns import escape, path_index

BODY_SHARE = (
    0.95  # of the parameters in compound modules, tables aside: so much in one module, and the blocks lie inside it
)

PRESETS = MappingProxyType(
    {
        "head": "Head only (the paper's)",
        "last_block_head": "Last block and head",
        "last_n": "Last n layers",
        "norms_biases": "Norms and biases",
        "all_fast": "All fast (plain SGD)",
    }
)


def preset(name: str, tree: LayerTree, k: int, n: int = 1) -> Partition:
    """Return the partition that a preset means on a network.

    Args:
        name: one of `PRESETS`.
        k: period of the slow group, >= 1.
        n: for "last_n", how many layers are fast, counted from the end; a layer is a module that owns parameters.

    Raises:
        PartitionError: an unknown preset, k or n out of range, or nothing that the preset would make fast.

    Source: Vlaar and Leimkuhler, ICML 2022: the fast part is the head ("head"), or the last block and the head.
    """
    try:
        require_choice("the preset", name, tuple(PRESETS))
        require_whole("n", n, 1, 1_000_000)
        groups = (GroupSpec("fast", 1), GroupSpec("slow", k))
    except ConfigError as error:
        raise PartitionError(str(error)) from error
    fast = _last_layers(tree, n) if name == "last_n" else _FAST[name](tree)
    names = [parameter.name for parameter in tree.trainable()]
    if fast.isdisjoint(names):
        raise PartitionError(
            f"the preset {name!r} finds no trainable parameter in {tree.model!r}, so nothing would be fast. "
            "Choose another preset."
        )
    return Partition(groups, {parameter: "fast" if parameter in fast else "slow" for parameter in names})


def _head(tree: LayerTree) -> set[str]:
    """Return the parameters of the head; where the head is not known, those of the last layer."""
    return _below(tree, tree.head) or _last_layers(tree, 1)


def _last_block_and_head(tree: LayerTree) -> set[str]:
    """Return the head, the last block before it, and what stands between the two (a last norm, a hidden layer).

    Blocks are the compound modules beside each other at the first level that has several: `layer1` to `layer4` of a
    ResNet, the encoder layers of a ViT. A network of single layers has its layers as blocks.
    """
    head = _head(tree)
    members, following = _level_of_blocks(tree.root, head)
    blocks = [node for node in members if head.isdisjoint(_owned(node))]
    last = ([node for node in blocks if _is_compound(node)] or blocks or members)[-1:]
    after = members[members.index(last[0]) :] if last else []
    return head | _below(tree, (node.path for node in (*after, *following)))


def _level_of_blocks(node: LayerNode, head: set[str]) -> tuple[list[LayerNode], list[LayerNode]]:
    """Return the modules beside each other that hold the body, going down while one compound module holds it all.

    The second list is what follows them on the levels above: a last norm, a pooler.
    """
    known = node.output_shape is not None
    members = [child for child in node.children if _owned(child) - head and (_runs(child) or not known)]
    compound = [child for child in members if _is_compound(child) and head.isdisjoint(_owned(child))]
    whole = sum(_weight(child) for child in compound)
    body = next((child for child in compound if _weight(child) >= BODY_SHARE * whole), None)
    inside, following = _level_of_blocks(body, head) if body else ([], [])
    if body and len(inside) > 1:
        return inside, following + members[members.index(body) + 1 :]
    return members, []


def _runs(node: LayerNode) -> bool:
    """Tell a module that works from one that is passed by, such as an auxiliary head."""
    return node.output_shape is not None or any(_runs(child) for child in node.children)


def _is_compound(node: LayerNode) -> bool:
    return any(_owned(child) for child in node.children)


def _weight(node: LayerNode) -> int:
    """Count parameters without embedding tables, in which a text network may have half of its own."""
    own = 0 if node.kind == "Embedding" else sum(parameter.numel for parameter in node.parameters)
    return own + sum(_weight(child) for child in node.children)


def _owned(node: LayerNode) -> set[str]:
    return {p.name for p in node.parameters}.union(*(_owned(child) for child in node.children))


def _last_layers(tree: LayerTree, n: int) -> set[str]:
    owners = [node for node in tree.nodes() if any(parameter.trainable for parameter in node.parameters)]
    if n > len(owners):
        raise PartitionError(f"n must be at most {len(owners)}, the layers with parameters of {tree.model!r}, got {n}.")
    return {parameter.name for node in owners[-n:] for parameter in node.parameters}


def _norms_and_biases(tree: LayerTree) -> set[str]:
    norms = {p.name for node in tree.nodes() if "norm" in node.kind.lower() for p in node.parameters}
    biases = {p.name for p in tree.parameters() if p.name.rpartition(".")[2].endswith("bias")}
    return norms | biases


def _everything(tree: LayerTree) -> set[str]:
    return {parameter.name for parameter in tree.parameters()}


def _below(tree: LayerTree, paths: Iterable[str]) -> set[str]:
    index = path_index(tuple(parameter.name for parameter in tree.parameters()))
    return {name for path in paths for name in index.matching(escape(path))}


_FAST: dict[str, Callable[[LayerTree], set[str]]] = {
    "head": _head,
    "last_block_head": _last_block_and_head,
    "norms_biases": _norms_and_biases,
    "all_fast": _everything,
}
