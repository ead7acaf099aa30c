"""A partition as few readable rules: module paths where a whole module is in one group, globs where names repeat."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache

from multirate_core.config import Rule
from multirate_core.layers.tree import LayerNode, LayerTree
from multirate_core.partition.patterns import escape, paths_to

FEW_RULES = 4  # so few paths need no globs


def short_rules(assignment: Mapping[str, str], tree: LayerTree) -> tuple[Rule, ...]:
    """Return rules that give `assignment`, ending with "*": by paths, or by globs where these are fewer.

    Args:
        assignment: the group of every trainable parameter, at least one.
    """
    by_path = _rules_by_path(assignment, tree)
    if len(by_path) <= FEW_RULES:
        return by_path
    return _rules_by_glob(assignment, limit=len(by_path) - 1) or by_path


def _rules_by_path(assignment: Mapping[str, str], tree: LayerTree) -> tuple[Rule, ...]:
    """Return the fewest rules on module paths and parameter names: exceptions first, then what they are taken from."""
    counts = _rule_counts(assignment, tree)
    rest = _cheapest(counts[""])
    return (*_rules_below(tree.root, rest, assignment, counts), Rule("*", rest))


def _rule_counts(assignment: Mapping[str, str], tree: LayerTree) -> dict[str, dict[str, int]]:
    """Return for every module, and each group that the rest may be in: the fewest rules for what differs below."""
    groups = list(dict.fromkeys(assignment.values()))
    counts: dict[str, dict[str, int]] = {}
    for node in reversed(list(tree.nodes())):  # children before parents
        count = dict.fromkeys(groups, 0)
        for parameter in node.parameters:
            own = assignment.get(parameter.name)  # None: frozen, any group will do
            if own is not None:
                for group in groups:
                    count[group] += group != own
        for child in node.children:
            below = counts[child.path]
            whole = min(below.values()) + 1
            for group in groups:
                count[group] += min(below[group], whole)
        counts[node.path] = count
    return counts


def _rules_below(
    node: LayerNode, rest: str, assignment: Mapping[str, str], counts: Mapping[str, Mapping[str, int]]
) -> Iterator[Rule]:
    """Yield the rules for what lies in `node` and is not in the group of the rest."""
    for parameter in node.parameters:
        if assignment.get(parameter.name, rest) != rest:
            yield Rule(escape(parameter.name), assignment[parameter.name])
    for child in node.children:
        below, best = counts[child.path], _cheapest(counts[child.path])
        if below[rest] > below[best] + 1:
            yield from _rules_below(child, best, assignment, counts)
            yield Rule(escape(child.path), best)
        elif below[rest]:
            yield from _rules_below(child, rest, assignment, counts)


def _cheapest(counts: Mapping[str, int]) -> str:
    return min(counts, key=counts.__getitem__)


def _rules_by_glob(assignment: Mapping[str, str], limit: int) -> tuple[Rule, ...]:
    """Return at most `limit` rules such as "*.bias", each within one group; () if they do not suffice.

    Greedy: always the pattern that covers most of what is left. A gain can only shrink, so the heap's first entry is
    the best one as soon as its gain has been counted again.
    """
    rest = Counter(assignment.values()).most_common(1)[0][0]
    left = {name for name, group in assignment.items() if group != rest}
    covered = {
        pattern: names
        for pattern, names in _covered_by_pattern(tuple(assignment)).items()
        if names <= left and len({assignment[name] for name in names}) == 1
    }
    heap = [(-len(names), "*" in pattern, len(pattern), pattern) for pattern, names in covered.items()]
    heapq.heapify(heap)
    rules: list[Rule] = []
    while left and heap and len(rules) < limit - 1:
        pattern = heap[0][-1]
        gain = len(covered[pattern] & left)
        if gain == 0:
            heapq.heappop(heap)
        elif gain < -heap[0][0]:
            heapq.heapreplace(heap, (-gain, *heap[0][1:]))
        else:
            rules.append(Rule(pattern, assignment[next(iter(covered[pattern]))]))
            left -= covered[pattern]
    return () if left or limit < 1 else (*rules, Rule("*", rest))


@lru_cache(maxsize=16)
def _covered_by_pattern(names: tuple[str, ...]) -> Mapping[str, set[str]]:
    covered: dict[str, set[str]] = {}
    for name in names:
        for path in paths_to(name):
            for pattern in itertools.chain([escape(path)], _endings(path)):
                covered.setdefault(pattern, set()).add(name)
    return covered


def _endings(path: str) -> Iterator[str]:
    """Yield globs for the last one to three parts of a path, "*.bn1", "*.mlp.0.weight"; none begins by a number."""
    parts = path.split(".")
    for count in range(1, min(4, len(parts))):
        if not parts[-count].isdigit():
            yield f"*.{escape('.'.join(parts[-count:]))}"
