"""Blocks that the caller names: modules, globs, and slices of a Sequential."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from torch import nn

from multirate_core.errors import ConfigError
from multirate_core.lean.blocks import Block, is_called, is_row

SHOWN = 8  # names in an error message
_SLICE = re.compile(r"(?P<row>.*)\[(?P<start>\d+):(?P<stop>\d+)\]")

Modules = Mapping[str, nn.Module]


def match_blocks(model: nn.Module, patterns: Sequence[str]) -> list[Block]:
    """Return the blocks that the patterns match, in the order of registration.

    Args:
        model: its modules are matched by their full names.
        patterns: names, globs in which `*` crosses dots, or slices of a Sequential such as "layer3[0:2]". Of two
            blocks inside each other the outer one counts.

    Raises:
        ConfigError: a pattern that matches nothing that is ever called, or slices that overlap.
    """
    modules = dict(model.named_modules())
    wanted = {block for pattern in patterns for block in _matching(pattern, modules)}
    whole = {block.path for block in wanted if not block.stop}
    order = {name: i for i, name in enumerate(modules)}
    outer = [block for block in wanted if not _is_inside(block, whole, wanted, modules)]
    outer.sort(key=lambda block: (order[block.path], block.start))
    for block, following in pairwise(outer):
        if block.path == following.path and following.start < block.stop:
            raise ConfigError(
                f"the blocks {block.name!r} and {following.name!r} overlap. Let each end where the next begins."
            )
    return outer


def _matching(pattern: str, modules: Modules) -> list[Block]:
    run = _SLICE.fullmatch(pattern)
    if run and pattern not in modules and run["row"] in modules:
        return [_slice(pattern, run["row"], int(run["start"]), int(run["stop"]), modules)]
    names = [pattern] if pattern in modules else [name for name in modules if fnmatchcase(name, pattern)]
    blocks = [Block(name) for name in names if name and is_called(modules[name])]
    if not blocks:
        raise ConfigError(_nothing_matches(pattern, names, modules))
    return blocks


def _slice(pattern: str, path: str, start: int, stop: int, modules: Modules) -> Block:
    row = modules[path]
    length = len(list(row.children()))
    if not is_row(row) or not start < stop <= length:
        kind = f"a {type(row).__name__} of {length} members"
        raise ConfigError(
            f"the block {pattern!r} must be a slice [start:stop] of an nn.Sequential with 0 ≤ start < stop ≤ its "
            f"length, got one of {kind}. Name whole modules otherwise."
        )
    return Block(path, start, stop)


def _is_inside(block: Block, whole: set[str], wanted: set[Block], modules: Modules) -> bool:
    """Tell whether another wanted block holds this one."""
    if any(block.path.startswith(f"{path}.") or (block.stop and block.path == path) for path in whole):
        return True
    for other in wanted:
        if other.stop and other != block:
            members = list(dict(modules[other.path].named_children()))[other.start : other.stop]
            paths = [f"{other.path}.{member}" if other.path else member for member in members]
            if any(block.path == path or block.path.startswith(f"{path}.") for path in paths):
                return True
    return False


def _nothing_matches(pattern: str, names: Sequence[str], modules: Modules) -> str:
    if any(names):
        kind = type(modules[names[0]]).__name__
        return f"the block {pattern!r} is a {kind}, which is never called itself. Name its members: '{pattern}.*'."
    called = [name for name, module in modules.items() if name and is_called(module)]
    shown = difflib.get_close_matches(pattern, called, SHOWN) or called[:SHOWN]
    more = f" and {len(called) - len(shown)} more" if len(called) > len(shown) else ""
    return (
        f"no module matches the block {pattern!r}; there are {', '.join(map(repr, shown)) or 'none'}{more}. "
        "Name modules as model.named_modules() does, or use globs like 'layer*.?'."
    )
