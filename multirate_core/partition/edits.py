"""Small changes to a partition, as the page makes them; each returns a new one or raises PartitionError."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from multirate_core.config import GroupSpec
from multirate_core.errors import PartitionError
from multirate_core.partition.partition import Partition, shorten


def with_periods(partition: Partition, periods: Mapping[str, int]) -> Partition:
    """Return the partition with other periods for the groups that are named."""
    for name in periods:
        _group(partition, name)
    groups = tuple(GroupSpec(group.name, periods.get(group.name, group.period)) for group in partition.groups)
    return Partition(groups, partition.assignment)


def with_group(partition: Partition, group: GroupSpec) -> Partition:
    """Return the partition with one more group, still empty."""
    return Partition((*partition.groups, group), partition.assignment)


def without_group(partition: Partition, name: str, into: str) -> Partition:
    """Return the partition without the group `name`; its parameters go to the group `into`."""
    _group(partition, name)
    groups = tuple(group for group in partition.groups if group.name != name)
    return Partition(groups, {key: into if own == name else own for key, own in partition.assignment.items()})


def with_members(partition: Partition, names: Iterable[str], group: str) -> Partition:
    """Return the partition with the named parameters moved to `group`."""
    moved = set(names)
    unknown = sorted(moved - partition.assignment.keys())
    if unknown:
        raise PartitionError(f"the partition has no parameter {shorten(unknown)}.")
    return Partition(partition.groups, {**partition.assignment, **dict.fromkeys(moved, group)})


def _group(partition: Partition, name: str) -> GroupSpec:
    for group in partition.groups:
        if group.name == name:
            return group
    raise PartitionError(f"unknown group {name!r}; allowed: {[group.name for group in partition.groups]}.")
