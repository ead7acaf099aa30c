"""The partitions of a race, resolved on the network that will be trained."""

from __future__ import annotations

from torch import nn

from multirate_core.config import RaceConfig
from multirate_core.layers.tree import LayerTree, ParameterInfo, make_node
from multirate_core.partition import Partition, resolve


def resolve_partitions(config: RaceConfig, model: nn.Module) -> tuple[Partition | None, ...]:
    """Return one partition per arm, None for plain SGD; PartitionError if one does not fit the network."""
    tree = parameter_tree(model, config.model.name)
    return tuple(None if arm.partition is None else resolve(arm.partition, tree) for arm in config.arms)


def parameter_tree(model: nn.Module, name: str) -> LayerTree:
    """Return a tree of one node that owns all parameters: names are all that patterns look at, and need no dry run."""
    first_names = {id(weight): first for first, weight in model.named_parameters()}
    aliases: dict[str, list[str]] = {first: [] for first in first_names.values()}
    for other, weight in model.named_parameters(remove_duplicate=False):
        if first_names[id(weight)] != other:
            aliases[first_names[id(weight)]].append(other)
    parameters = tuple(
        ParameterInfo(first, tuple(weight.shape), weight.numel(), weight.requires_grad, tuple(aliases[first]))
        for first, weight in model.named_parameters()
    )
    return LayerTree(name, (), make_node("", type(model).__name__, parameters=parameters))
