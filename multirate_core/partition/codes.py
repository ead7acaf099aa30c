"""A partition as the layer board holds it: one character per parameter that can be moved, in the order of the rows."""

from __future__ import annotations

from multirate_core.config import GroupSpec
from multirate_core.errors import PartitionError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition.partition import Partition, require_fit

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def codes_of(partition: Partition, tree: LayerTree) -> str:
    """Return the group of every trainable parameter as a base-36 digit, the group's place in `partition.groups`."""
    require_fit(partition, tree)
    digits = {group.name: DIGITS[number] for number, group in enumerate(partition.groups)}
    return "".join(digits[partition.assignment[parameter.name]] for parameter in tree.trainable())


def assignment_from_codes(codes: str, tree: LayerTree, groups: tuple[GroupSpec, ...]) -> Partition:
    """Return the partition that `codes_of` wrote down.

    Raises:
        PartitionError: too few or too many codes, a code without a group, or nothing in the groups of period 1.
    """
    names = [parameter.name for parameter in tree.trainable()]
    if len(codes) != len(names):
        raise PartitionError(
            f"{tree.model!r} has {len(names)} trainable parameters, got {len(codes)} codes. Reload the page."
        )
    allowed = dict(zip(DIGITS, groups, strict=False))
    unknown = sorted(set(codes) - allowed.keys())
    if unknown:
        raise PartitionError(f"unknown group code {unknown[0]!r}; allowed: {''.join(allowed)}. Reload the page.")
    return Partition(groups, {name: allowed[code].name for name, code in zip(names, codes, strict=True)})
