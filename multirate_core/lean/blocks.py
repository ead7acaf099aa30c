"""Which modules of a network are its blocks: the repeated parts that are worth recomputing one at a time."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from multirate_core.errors import ConfigError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
SHOWN = 8  # names in an error message


def find_blocks(model: nn.Module) -> list[str]:
    """Return the names of the blocks in the module tree, in the order of registration; none lies inside another.

    A block is a module with children and parameters that stands in a container (Sequential, ModuleList, ModuleDict)
    or beside siblings of its class. A container of blocks is a stage and not a block; neither is a module that holds
    more blocks than there are modules of its class: two encoders of twelve layers are twenty-four blocks, while a
    bottleneck of three convolution layers that the network repeats stays one.
    """
    classes = Counter(type(module) for module in model.modules())
    return _blocks_below(model, "", classes)


def _blocks_below(module: nn.Module, prefix: str, classes: Counter[type[nn.Module]]) -> list[str]:
    children = [(prefix + name, child) for name, child in module.named_children() if _has_layers(child)]
    siblings = Counter(type(child) for _, child in children)
    found = []
    for path, child in children:
        inside = _blocks_below(child, path + ".", classes)
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


def is_called(module: nn.Module) -> bool:
    """Tell whether a module has a forward pass of its own: a ModuleList has none."""
    return type(module).forward is not nn.Module.forward


def match_blocks(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the modules that the patterns match, in the order of registration.

    Args:
        model: its modules are matched by their full names.
        patterns: names, or globs in which `*` crosses dots. Of two modules inside each other the outer one counts.

    Raises:
        ConfigError: a pattern that matches nothing that is ever called.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    wanted: set[str] = set()
    for pattern in patterns:
        names = [pattern] if pattern in modules else [name for name in modules if fnmatchcase(name, pattern)]
        callable_names = [name for name in names if is_called(modules[name])]
        if not callable_names:
            raise ConfigError(_nothing_matches(pattern, names, modules))
        wanted.update(callable_names)
    return [name for name in modules if name in wanted and not any(name.startswith(f"{other}.") for other in wanted)]


def _nothing_matches(pattern: str, names: Sequence[str], modules: dict[str, nn.Module]) -> str:
    if names:
        kind = type(modules[names[0]]).__name__
        return f"the block {pattern!r} is a {kind}, which is never called itself. Name its members: '{pattern}.*'."
    called = [name for name, module in modules.items() if is_called(module)]
    shown = difflib.get_close_matches(pattern, called, SHOWN) or called[:SHOWN]
    more = f" and {len(called) - len(shown)} more" if len(called) > len(shown) else ""
    return (
        f"no module matches the block {pattern!r}; there are {', '.join(map(repr, shown)) or 'none'}{more}. "
        "Name modules as model.named_modules() does, or use globs like 'layer*.?'."
    )
