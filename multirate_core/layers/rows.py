"""The rows of the layer board: modules and their parameters in architecture order, as plain JSON values. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from multirate_core.layers.tree import LayerNode, LayerTree, ParameterInfo

Row = dict[str, Any]


def board_rows(tree: LayerTree) -> list[Row]:
    """Return one row per module and per parameter name, parents before children, a module's own parameters first.

    The root has no row: what it owns stands at the top, with parent None. Keys: `id` (module path or full parameter
    name), `parent`, `name`, `kind` (class name, or "parameter"), `params` (numbers, with everything below), `shape`
    ("64×16×16": a module's output, a parameter's own), `madds` (multiply-adds per image, with everything below), `unit`
    (True for what a partition places), `fold` (equal for equal blocks, "" for parameters), `note`, and `tied` (of a
    second name of a tensor: the id of its first; else "").
    """
    return list(_below(tree.root, called=tree.root.output_shape is not None))


def _below(node: LayerNode, called: bool) -> Iterator[Row]:
    parent = node.path or None
    for parameter in node.parameters:
        yield _parameter_row(parameter, parent)
    for name, first in node.tied:
        note = f"tied to {first}"
        yield _row(name, parent, "parameter", params=0, madds=0, shape="", note=note, tied=first)
    for child in node.children:
        yield _module_row(child, parent, called)
        yield from _below(child, called)


def _module_row(node: LayerNode, parent: str | None, called: bool) -> Row:
    """Say so when a module with weights was passed by: its parent may use them directly, or nobody does."""
    passed_by = called and node.output_shape is None and (node.parameters or node.tied)
    return _row(
        node.path,
        parent,
        node.kind,
        params=node.parameter_count,
        madds=node.multiply_adds,
        shape=_times(node.output_shape or ()),
        fold=node.signature,
        note="never called itself: its cost, if any, is its parent's" if passed_by else "",
    )


def _parameter_row(parameter: ParameterInfo, parent: str | None) -> Row:
    notes = [] if parameter.trainable else ["frozen"]
    if parameter.aliases:
        notes.append(f"also used as {', '.join(parameter.aliases)}")
    return _row(
        parameter.name,
        parent,
        "parameter",
        params=parameter.numel,
        madds=0,
        shape=_times(parameter.shape),
        unit=parameter.trainable,
        note="; ".join(notes),
    )


def _row(
    name: str,
    parent: str | None,
    kind: str,
    *,
    params: int,
    madds: int,
    shape: str,
    unit: bool = False,
    fold: str = "",
    note: str = "",
    tied: str = "",
) -> Row:
    return {
        "id": name,
        "parent": parent,
        "name": name.rpartition(".")[2],
        "kind": kind,
        "params": params,
        "shape": shape,
        "madds": madds,
        "unit": unit,
        "fold": fold,
        "note": note,
        "tied": tied,
    }


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
