"""Globs on parameter names: `*` crosses dots, `?` is one character, `[..]` a set; a module path means all below it.

A pattern matches a parameter when it matches its full name or the path of a module that holds it, so "layer1" and
"layer[12]" mean everything below those modules, and "layer1" never means `layer10`. Matching is case-sensitive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from multirate_core.errors import PartitionError

MAX_GLOB = 1000  # characters

_SPECIAL = re.compile(r"[*?[]")
_ESCAPED = re.compile(r"\[([*?[])\]")


def matches(pattern: str, name: str) -> bool:
    """Tell whether `pattern` matches the parameter called `name`, or a module on the way to it."""
    return any(fnmatchcase(path, pattern) for path in paths_to(name))


def escape(name: str) -> str:
    """Return the pattern that matches just this name or module path, whatever characters it holds."""
    return _SPECIAL.sub(r"[\g<0>]", name)


def literal(pattern: str) -> str | None:
    """Return the only path that `pattern` can match, or None if it is a real glob."""
    if _SPECIAL.search(_ESCAPED.sub("", pattern)):
        return None
    return _ESCAPED.sub(r"\1", pattern)


def paths_to(name: str) -> Iterator[str]:
    """Yield the paths of the modules that hold a parameter, outermost first, and then its own name."""
    end = name.find(".")
    while end >= 0:
        yield name[:end]
        end = name.find(".", end + 1)
    yield name


class PathIndex:
    """The parameters below every path, so that many patterns on one network need one pass over its names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._below: dict[str, list[str]] = {}
        self._order: dict[str, int] = {}
        for number, name in enumerate(names):
            self._order[name] = number
            for path in paths_to(name):
                self._below.setdefault(path, []).append(name)

    def matching(self, pattern: str) -> list[str]:
        """Return the names of the parameters that `pattern` matches, in their order.

        Raises:
            PartitionError: a glob of more than 1,000 characters.
        """
        path = literal(pattern)
        if path is not None:
            return self._below.get(path, [])
        if pattern == "*":
            return list(self._order)
        if len(pattern) > MAX_GLOB:
            raise PartitionError(f"a pattern with wildcards has at most {MAX_GLOB} characters, got {len(pattern)}.")
        found = {name for path, below in self._below.items() if fnmatchcase(path, pattern) for name in below}
        return sorted(found, key=self._order.__getitem__)


@lru_cache(maxsize=16)
def path_index(names: tuple[str, ...]) -> PathIndex:
    """Return the index of a network, kept for the next time: a page asks for it at every drop."""
    return PathIndex(names)
