"""A partition as few readable rules: module paths where a whole module is in one group, globs where names repeat."""

from __future__ import annotations

from collections.abc import Mapping

from multirate_core.config import Rule
from multirate_core.layers.tree import LayerNode, LayerTree
from multirate_core.partition.patterns import escape

Plan = tuple[int, tuple[Rule, ...]]


def short_rules(assignment: Mapping[str, str], tree: LayerTree) -> tuple[Rule, ...]:
    """Return the fewest rules on module paths and parameter names that give `assignment`, ending with "*"."""
    groups = list(dict.fromkeys(assignment.values()))
    plans = _plans_below(tree.root, assignment, groups)
    rest = min(groups, key=lambda group: plans[group][0])
    return (*plans[rest][1], Rule("*", rest))


def _plans_below(node: LayerNode, assignment: Mapping[str, str], groups: list[str]) -> dict[str, Plan]:
    """For each group that the rest may be in: the fewest rules for what lies in `node` and differs from the rest."""
    plans: dict[str, Plan] = dict.fromkeys(groups, (0, ()))
    for parameter in node.parameters:
        own = assignment.get(parameter.name)  # None: frozen, any group will do
        for group in groups:
            if own not in (None, group):
                plans[group] = _join(plans[group], (1, (Rule(escape(parameter.name), own),)))
    for child in node.children:
        below = _plans_below(child, assignment, groups)
        best = min(groups, key=lambda group: below[group][0])
        count, rules = below[best]
        whole = (count + 1, (*rules, Rule(escape(child.path), best)))
        for group in groups:
            plans[group] = _join(plans[group], below[group] if below[group][0] <= count + 1 else whole)
    return plans


def _join(first: Plan, second: Plan) -> Plan:
    return first[0] + second[0], first[1] + second[1]
