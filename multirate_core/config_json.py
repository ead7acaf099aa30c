"""The JSON form of a configuration; unknown keys, missing keys and wrong types are refused. Standard library only."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any, TypeVar

from multirate_core.config import (
    ArmConfig,
    Budget,
    DataConfig,
    Execution,
    GroupSpec,
    ModelConfig,
    PartitionSpec,
    RaceConfig,
    Recipe,
    Rule,
)
from multirate_core.errors import ConfigError

T = TypeVar("T")
PARTS = {"model": ModelConfig, "data": DataConfig, "recipe": Recipe, "budget": Budget, "execution": Execution}


def to_dict(config: RaceConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts, lists and numbers."""
    return dataclasses.asdict(config)


def to_json(config: RaceConfig) -> str:
    """Return the configuration as one line of JSON; `from_json` gives an equal object back."""
    return json.dumps(to_dict(config), separators=(",", ":"), ensure_ascii=False)


@functools.lru_cache(maxsize=1024)  # the Runs page reads the same few hundred again and again; they are frozen
def from_json(text: str) -> RaceConfig:
    """Read what `to_json` wrote.

    Raises:
        ConfigError: not JSON, an unknown or missing key, or a value that a dataclass refuses.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:  # digits and brackets without end are no JSONDecodeError
        raise ConfigError(f"the configuration is not JSON: {error}.") from error
    return race_from_dict(raw)


def race_from_dict(raw: Any) -> RaceConfig:
    """Make a RaceConfig from plain dicts; ConfigError names the key that is wrong."""
    values = dict(_fields(RaceConfig, raw))
    for key, kind in PARTS.items():
        if key in values:
            values[key] = _make(kind, values[key])
    values["arms"] = tuple(arm_from_dict(arm) for arm in _list(values.get("arms", []), "arms"))
    values["seeds"] = tuple(_list(values.get("seeds", [0]), "seeds"))
    return _build(RaceConfig, values)


def arm_from_dict(raw: Any) -> ArmConfig:
    """Make an ArmConfig from plain dicts."""
    values = dict(_fields(ArmConfig, raw))
    if values.get("partition") is not None:
        values["partition"] = partition_from_dict(values["partition"])
    return _build(ArmConfig, values)


def partition_from_dict(raw: Any) -> PartitionSpec:
    """Make a PartitionSpec from plain dicts."""
    values = dict(_fields(PartitionSpec, raw))
    values["groups"] = tuple(_group(group) for group in _list(values.get("groups", []), "groups"))
    values["rules"] = tuple(_make(Rule, rule) for rule in _list(values.get("rules", []), "rules"))
    return _build(PartitionSpec, values)


def _group(raw: Any) -> GroupSpec:
    values = dict(_fields(GroupSpec, raw))
    values["phases"] = tuple(tuple(_list(phase, "a phase")) for phase in _list(values.get("phases", []), "phases"))
    return _build(GroupSpec, values)


def _fields(kind: type[Any], raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{kind.__name__} must be an object with named values, got {type(raw).__name__}.")
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise ConfigError(f"{kind.__name__} does not know {', '.join(map(repr, unknown))}; allowed: {sorted(known)}.")
    return raw


def _list(raw: Any, name: str) -> list[Any]:
    if not isinstance(raw, list | tuple):
        raise ConfigError(f"{name} must be a list, got {type(raw).__name__}.")
    return list(raw)


def _make(kind: type[T], raw: Any) -> T:
    return _build(kind, _fields(kind, raw))


def _build(kind: type[T], values: dict[str, Any]) -> T:
    """Call the dataclass; a missing or wrongly typed value becomes a ConfigError."""
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}.") from error
    except AttributeError as error:
        raise ConfigError(f"{kind.__name__} holds a value of the wrong type: {error}.") from error
