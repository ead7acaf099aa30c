"""The partition file, `multirate-partition` version 1: JSON that people can read, write and keep in version control."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from multirate_core.config import GroupSpec, PartitionSpec, Rule
from multirate_core.errors import ConfigError, PartitionError

FORMAT = "multirate-partition"
VERSION = 1
MAX_BYTES = 1_000_000
_KEYS = {"format", "version", "model", "fingerprint", "groups", "rules"}
_RATES = {"lr_factor", "phases"}  # of a group, both optional


def dumps(spec: PartitionSpec) -> str:
    """Return the text of the file, one group and one rule per line; `loads` gives an equal object back."""
    head = {"format": FORMAT, "version": VERSION, "model": spec.model, "fingerprint": spec.fingerprint}
    groups = [_group(group) for group in spec.groups]
    rules = [{"pattern": rule.pattern, "group": rule.group} for rule in spec.rules]
    lines = [f"  {_json(key)}: {_json(value)}" for key, value in head.items()]
    lines += [f"  {_json(key)}: {_json_lines(entries)}" for key, entries in (("groups", groups), ("rules", rules))]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def loads(text: str) -> PartitionSpec:
    """Read the text of a partition file; whether it fits a network is what `resolve` finds out.

    Raises:
        PartitionError: larger than 1 MB, not JSON, another format or version, unknown keys, wrong types.
    """
    if len(text) > MAX_BYTES:
        raise PartitionError(f"a partition file has at most {MAX_BYTES:,} bytes, got more. Is it the right file?")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PartitionError(f"the partition file is not JSON: {error}. Is it the right file?") from error
    _require_format(raw)
    try:
        return PartitionSpec(
            groups=tuple(_read_group(entry) for entry in _entries(raw, "groups", {"name": str, "period": int}, _RATES)),
            rules=tuple(Rule(**entry) for entry in _entries(raw, "rules", {"pattern": str, "group": str})),
            model=_text(raw, "model"),
            fingerprint=_text(raw, "fingerprint"),
        )
    except PartitionError:
        raise
    except ConfigError as error:
        raise PartitionError(f"the partition file holds a bad value: {error}") from error


def load(path: Path) -> PartitionSpec:
    """Read a partition file from disk; PartitionError as `loads`, or if it cannot be read."""
    try:
        with path.open("rb") as file:
            return loads(file.read(MAX_BYTES + 1).decode("utf-8-sig"))
    except OSError as error:
        raise PartitionError(f"the partition file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PartitionError(f"the partition file {path} is no UTF-8 text. Is it the right file?") from error


def _group(group: GroupSpec) -> dict[str, Any]:
    """Return a group as it is written: its rates only where they are not the usual ones."""
    entry: dict[str, Any] = {"name": group.name, "period": group.period}
    if group.lr_factor != 1:
        entry["lr_factor"] = group.lr_factor
    if group.phases:
        entry["phases"] = [{"epochs": epochs, "period": period} for epochs, period in group.phases]
    return entry


def _read_group(entry: dict[str, Any]) -> GroupSpec:
    phases = entry.get("phases", [])
    if not isinstance(phases, list) or not all(isinstance(phase, dict) for phase in phases):
        raise PartitionError(f"the phases of {entry['name']!r} must be a list of objects with 'epochs' and 'period'.")
    for phase in phases:
        _require_keys(phase, {"epochs", "period"}, f"a phase of {entry['name']!r}")
    pairs = tuple((phase.get("epochs"), phase.get("period")) for phase in phases)
    return GroupSpec(entry["name"], entry["period"], entry.get("lr_factor", 1.0), pairs)


def _require_format(raw: Any) -> None:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise PartitionError(f'the file is no partition: it does not say "format": "{FORMAT}". Is it the right file?')
    if type(raw.get("version")) is not int or raw["version"] != VERSION:
        raise PartitionError(
            f"the partition file has version {raw.get('version')!r}, this program reads {VERSION}. "
            "Save it again with this version, or update the program."
        )
    _require_keys(raw, _KEYS, "the partition file")


def _entries(
    raw: dict[str, Any], key: str, types: dict[str, type], optional: Collection[str] = ()
) -> list[dict[str, Any]]:
    entries = raw.get(key)
    if not isinstance(entries, list):
        raise PartitionError(f"{key} must be a list, got {type(entries).__name__}. Write one entry per line.")
    for number, entry in enumerate(entries, start=1):
        where = f"{key}, entry {number},"
        if not isinstance(entry, dict):
            raise PartitionError(f"{where} must be an object with {sorted(types)}, got {type(entry).__name__}.")
        _require_keys(entry, {*types, *optional}, where)
        for name, kind in types.items():
            if type(entry.get(name)) is not kind:
                wanted = "text" if kind is str else "a whole number"
                raise PartitionError(f"{where} needs {name!r} as {wanted}, got {entry.get(name)!r}.")
    return entries


def _require_keys(raw: dict[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(raw.keys() - allowed)
    if unknown:
        raise PartitionError(f"{where} does not know {unknown[0]!r}; allowed: {sorted(allowed)}.")


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key, "")
    if not isinstance(value, str):
        raise PartitionError(f"{key} must be text, got {type(value).__name__}.")
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_lines(entries: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(f"    {_json(entry)}" for entry in entries) + "\n  ]" if entries else "[]"
