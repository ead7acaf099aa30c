"""The layer tree of a torch module: structure from the module itself, shapes and multiply-adds from one dry forward.

The dry forward (see `dry_run`) never touches the module that was given. Where it fails, the tree has neither shapes nor
multiply-adds, and its note says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from torch.nn.parameter import is_lazy

from multirate_core.errors import ModelError
from multirate_core.layers.dry_run import DryRun, run_dry
from multirate_core.layers.tree import LayerNode, LayerTree, ParameterInfo, join, make_node


@dataclass
class _Walk:
    """What is known while the tree is made: measured costs, and which tensors were named already."""

    measured: DryRun
    aliases: dict[str, tuple[str, ...]]  # first name -> the other names
    first_names: dict[int, str] = field(default_factory=dict)  # id of the tensor -> first name


def layer_tree(model: nn.Module, input_shape: tuple[int, ...], name: str, head: tuple[str, ...] = ()) -> LayerTree:
    """Return the layer tree of any module; the module itself is not changed.

    Args:
        model: on any device, the meta device included.
        input_shape: of one image, (C, H, W), or of one text, (L,) tokens; without the batch.
        name: under which the tree is filed, as in the catalog.
        head: paths of the modules that make up the head; () if unknown.

    Raises:
        ModelError: a head that is not there, a parameter without a shape (lazy), a module that contains itself.
    """
    _require_finite(model, ())
    _require_shapes(model)
    known = dict(model.named_modules(remove_duplicate=False))
    missing = [path for path in head if path not in known]
    if missing:
        raise ModelError(f"{name} has no module {missing[0]!r} to be its head. Give paths out of named_modules().")
    measured = run_dry(model, input_shape)
    root = _node(model, "", _Walk(measured, _aliases(model)))
    return LayerTree(name, tuple(input_shape), root, tuple(head), measured.note)


def _node(module: nn.Module, path: str, walk: _Walk) -> LayerNode:
    parameters, tied = _owned(module, path, walk)
    children = [(join(path, name), child) for name, child in module._modules.items() if child is not None]
    return make_node(
        path,
        type(module).__name__,
        parameters=parameters,
        tied=tied,
        children=tuple(_node(child, child_path, walk) for child_path, child in children),
        output_shape=walk.measured.output_shapes.get(path),
        own_multiply_adds=walk.measured.own_multiply_adds.get(path, 0),
    )


def _owned(module: nn.Module, path: str, walk: _Walk) -> tuple[tuple[ParameterInfo, ...], tuple[tuple[str, str], ...]]:
    """Return the tensors that are named here first, and (own name, first name) of the others."""
    parameters, tied = [], []
    for own_name, tensor in module._parameters.items():
        if tensor is None:
            continue
        name = join(path, own_name)
        first = walk.first_names.setdefault(id(tensor), name)
        if first == name:
            aliases = walk.aliases[name]
            parameters.append(ParameterInfo(name, tuple(tensor.shape), tensor.numel(), tensor.requires_grad, aliases))
        else:
            tied.append((name, first))
    return tuple(parameters), tuple(tied)


def _aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    names: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(name)
    return {first: tuple(rest) for first, *rest in names.values()}


def _require_finite(module: nn.Module, above: tuple[int, ...]) -> None:
    if id(module) in above:
        raise ModelError(f"a {type(module).__name__} contains itself, so its layers are no tree. Break the loop.")
    for child in module._modules.values():
        if child is not None:
            _require_finite(child, (*above, id(module)))


def _require_shapes(model: nn.Module) -> None:
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ModelError(f"{lazy[0]} has no shape yet (a lazy module). Run one batch through the model first.")
