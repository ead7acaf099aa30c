"""A partition: every trainable parameter is in exactly one group, and every group has a period.

The page works on the `LayerTree`; only `param_groups` looks at a model. No torch is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multirate_core.checks import require_not_resting
from multirate_core.config import GroupSpec, PartitionSpec, Rule
from multirate_core.errors import PartitionError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition.patterns import PathIndex, path_index
from multirate_core.partition.rules import short_rules

if TYPE_CHECKING:
    from torch import nn

MAX_GROUPS = 36


@dataclass(frozen=True)
class Partition:
    """Groups, and the group of every trainable parameter.

    Args:
        groups: 1 to 36 with different names, in the order in which they are shown; groups of period > 1 may be empty.
        assignment: first name of the parameter -> name of its group.

    Raises:
        PartitionError: an unknown group, two groups of one name, or no parameter in any group of period 1.
    """

    groups: tuple[GroupSpec, ...]
    assignment: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "assignment", dict(self.assignment))
        names = [group.name for group in self.groups]
        if not 1 <= len(names) <= MAX_GROUPS or len(set(names)) != len(names):
            raise PartitionError(
                f"a partition has 1 to {MAX_GROUPS} groups with different names, got {names}. Rename or remove some."
            )
        unknown = sorted(set(self.assignment.values()) - set(names))
        if unknown:
            raise PartitionError(f"unknown group {unknown[0]!r}; allowed: {names}.")
        self._require_fast()

    def _require_fast(self) -> None:
        fast = {group.name for group in self.groups if group.period == 1}
        if not fast:
            periods = {group.name: group.period for group in self.groups}
            raise PartitionError(
                f"no group has period 1, got {periods}: on some steps nothing would be due. Set one period to 1."
            )
        if fast.isdisjoint(self.assignment.values()):
            raise PartitionError(
                f"no parameter is in a group of period 1 ({', '.join(sorted(fast))}): on some steps nothing would be "
                "due. Move at least one parameter there."
            )

    def members(self, group: str) -> tuple[str, ...]:
        """Return the names of the parameters in `group`, in the order of the assignment."""
        return tuple(name for name, own in self.assignment.items() if own == group)


def resolve(spec: PartitionSpec, tree: LayerTree) -> Partition:
    """Apply the rules of `spec` to a network; the first rule that matches a parameter wins.

    Raises:
        PartitionError: made for another model, a parameter that no rule matches, a rule that decides nothing (except
            a last rule "*"), or nothing left in the groups of period 1.
    """
    if spec.fingerprint and spec.fingerprint != tree.fingerprint:
        made_for = f" ({spec.model!r})" if spec.model else ""
        raise PartitionError(
            f"the partition was made for another model{made_for}, fingerprint {spec.fingerprint}; this is "
            f"{tree.model!r}, {tree.fingerprint}. Choose that model, or remove the fingerprint to try the patterns."
        )
    known = [parameter.name for parameter in tree.parameters()]
    aliases = {alias: parameter.name for parameter in tree.parameters() for alias in parameter.aliases}
    chosen = first_matches(spec.rules, known, aliases, tree.model)
    names = [parameter.name for parameter in tree.trainable()]
    missing = [name for name in names if name not in chosen]
    if missing:
        raise PartitionError(
            f"no pattern matches {shorten(missing)} of {tree.model!r}. Add a pattern, or a last one '*' for the rest."
        )
    return Partition(spec.groups, {name: chosen[name] for name in names})


def to_spec(partition: Partition, tree: LayerTree) -> PartitionSpec:
    """Write a partition as few readable rules; `resolve` gives an equal partition back.

    Raises:
        PartitionError: the partition does not fit the network.
    """
    require_fit(partition, tree)
    rules = short_rules(partition.assignment, tree)
    return PartitionSpec(partition.groups, rules, model=tree.model, fingerprint=tree.fingerprint)


def require_fit(partition: Partition, tree: LayerTree) -> None:
    """Raise PartitionError unless the partition places exactly the trainable parameters of the network."""
    names = [parameter.name for parameter in tree.trainable()]
    if partition.assignment.keys() != set(names):
        _refuse_names(partition, names, repr(tree.model))


def param_groups(partition: Partition, model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameter groups for `MultirateSGD`: {"params", "name", "period"}, in the order of the groups.

    Parameters with `requires_grad` False and groups without parameters are left out.

    Raises:
        PartitionError: the partition misses a trainable parameter or names an unknown one, or nothing that can be
            trained is in a group of period 1.
        ConfigError: a parameter rests in another multirate optimiser right now.
    """
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        require_not_resting(f"parameter {name!r}", parameter)
    trainable = [name for name, parameter in parameters.items() if parameter.requires_grad]
    if not set(trainable) <= partition.assignment.keys() <= parameters.keys():
        _refuse_names(partition, trainable, type(model).__name__, known=parameters.keys())
    placed = Partition(partition.groups, {name: partition.assignment[name] for name in trainable})
    members = {group: [parameters[name] for name in placed.members(group.name)] for group in placed.groups}
    return [
        {"params": tensors, "name": group.name, "period": group.period} for group, tensors in members.items() if tensors
    ]


def first_matches(rules: tuple[Rule, ...], names: list[str], aliases: Mapping[str, str], model: str) -> dict[str, str]:
    """Return the group of every parameter that a rule matches; the first such rule wins.

    Args:
        rules: in order.
        names: of all parameters, also of those that do not train.
        aliases: further name of a tied tensor -> its first name.
        model: what messages call the model.

    Raises:
        PartitionError: a rule that decides nothing, except a last rule "*".
    """
    index = path_index(tuple(names))
    chosen: dict[str, str] = {}
    for number, rule in enumerate(rules):
        matched = index.matching(rule.pattern)
        fresh = [name for name in matched if name not in chosen]
        catch_all = rule.pattern == "*" and number == len(rules) - 1
        if not fresh and not catch_all:
            raise PartitionError(_useless(rule, matched, names, aliases, model))
        chosen.update(dict.fromkeys(fresh, rule.group))
    return chosen


def _useless(rule: Rule, matched: list[str], names: list[str], aliases: Mapping[str, str], model: str) -> str:
    if matched:
        return (
            f"the pattern {rule.pattern!r} decides nothing: earlier ones match {shorten(matched)}. "
            "Move it up or remove it."
        )
    for alias in PathIndex(aliases).matching(rule.pattern):
        return (
            f"the pattern {rule.pattern!r} matches only {alias}, which is the same tensor as {aliases[alias]}. "
            "Use that name: a tied tensor counts under its first one."
        )
    return f"the pattern {rule.pattern!r} matches no parameter of {model!r}. Its names look like {shorten(names)}."


def _refuse_names(partition: Partition, names: list[str], model: str, known: Iterable[str] = ()) -> None:
    missing = [name for name in names if name not in partition.assignment]
    unknown = sorted(partition.assignment.keys() - set(names) - set(known))
    parts = [
        f"{text} {shorten(some)}"
        for text, some in (("has no group for", missing), ("names the unknown", unknown))
        if some
    ]
    raise PartitionError(f"the partition does not fit {model}: it {' and '.join(parts)}. Make it for this model.")


def shorten(names: list[str]) -> str:
    """Return at most three of the names, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
