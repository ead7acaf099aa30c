"""The command line that races a configuration again: the inverse of `cli.settings`. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from multirate_core.cli.parser import DATA_OPTIONS, RECIPE_OPTIONS
from multirate_core.config import ArmConfig, DataConfig, Execution, GroupSpec, PartitionSpec, RaceConfig
from multirate_core.partition.phases import write_phases
from multirate_core.presets import DEFAULT, RACE_PRESETS, RacePreset, usual_preset

PROGRAM = "python -m multirate_core compare"


def command_line(config: RaceConfig, partition_file: str = "partition.json") -> str:
    """Return one line for a shell; options that the preset has already are left out.

    Args:
        config: of the race; only the arms sgd, multirate and frozen can be named on the command line.
        partition_file: where the partition file was put; named only if patterns after --fast-pattern cannot say it.
    """
    base = usual_preset(config.model.name, config.data.name) or RACE_PRESETS[DEFAULT]
    options = [*_changed(_options(config, base)), *_partition(config, partition_file)]
    words = [word for option, value in options for word in _words(option, str(value))]
    flags = [flag for flag, wanted in _flags(config) if wanted]
    return " ".join([PROGRAM, "--preset", base.name, *map(shlex.quote, words), *flags, "--json"])


def _flags(config: RaceConfig) -> Iterator[tuple[str, bool]]:
    yield "--download", config.data.download
    yield "--no-drift", any(not arm.drift for arm in config.arms)
    yield "--nesterov", config.recipe.nesterov
    yield "--no-decay-norms", not config.recipe.decay_norms
    yield "--channels-last", config.execution.channels_last
    yield "--compile", config.execution.compile


def _options(config: RaceConfig, base: RacePreset) -> Iterator[tuple[str, Any, Any]]:
    """Yield (option, value, value without it)."""
    # Naming another data set drops what the preset says about its own.
    data = base.data if base.data.name == config.data.name else DataConfig(config.data.name)
    yield "--model", config.model.name, base.model.name
    yield "--weights", config.model.weights, base.model.weights
    yield "--source", config.model.source or None, base.model.source or None
    yield "--data", config.data.name, base.data.name
    yield "--data-path", config.data.path, data.path
    for name in ("train_images", "test_images"):
        yield f"--{name.replace('_', '-')}", getattr(config.data, name) or 0, getattr(data, name) or 0
    for name in DATA_OPTIONS:
        if name not in ("train_images", "test_images"):
            yield f"--{name.replace('_', '-')}", getattr(config.data, name), getattr(data, name)
    yield "--base", config.recipe.base, base.recipe.base
    usual = base.recipe_for(config.recipe.base)
    for name in RECIPE_OPTIONS:
        yield f"--{name.replace('_', '-')}", getattr(config.recipe, name), getattr(usual, name)
    for name in ("epochs", "seconds"):
        yield f"--{name}", getattr(config.budget, name), getattr(base.budget, name)
    yield "--seeds", len(config.seeds), 1
    yield "--metric", config.metric, "accuracy"
    yield "--evaluations", config.evaluations, RaceConfig.evaluations
    yield "--device", config.device, "auto"
    yield "--threads", config.threads, None
    for name in ("precision", "memory"):
        yield f"--{name}", getattr(config.execution, name), getattr(Execution, name)


def _changed(options: Iterator[tuple[str, Any, Any]]) -> Iterator[tuple[str, Any]]:
    return ((option, value) for option, value, default in options if value is not None and value != default)


def _words(option: str, value: str) -> list[str]:
    """Return one word or two: a value that begins like an option must stand in the same word."""
    return [f"{option}={value}"] if value.startswith("-") else [option, value]


def _partition(config: RaceConfig, file: str) -> list[tuple[str, Any]]:
    arms = [arm for arm in config.arms if arm.name == arm.kind]
    kinds = ("--arms", ",".join(arm.kind for arm in arms))
    spec = _spec(arms)
    if spec is None:
        return [kinds]
    fast = _fast_patterns(spec)
    if fast is None:
        return [kinds, ("--partition", file)]
    return [kinds, *(("--fast-pattern", pattern) for pattern in fast), *_slow_rates(spec.groups[1])]


def _slow_rates(slow: GroupSpec) -> Iterator[tuple[str, Any]]:
    yield "--k", slow.period
    if slow.phases:
        yield "--k-phases", write_phases(slow.phases)
    if slow.lr_factor != 1:
        yield "--slow-lr-factor", slow.lr_factor


def _spec(arms: list[ArmConfig]) -> PartitionSpec | None:
    return next((arm.partition for arm in arms if arm.partition is not None), None)


def _fast_patterns(spec: PartitionSpec) -> list[str] | None:
    """Return the patterns of the fast group, or None if the partition is more than "these are fast, the rest slow"."""
    if [group.name for group in spec.groups] != ["fast", "slow"] or spec.groups[0].period != 1:
        return None
    if spec.groups[0].lr_factor != 1 or (spec.groups[1].period == 1 and spec.groups[1].lr_factor != 1):
        return None  # the command line knows the rates of slow groups only
    rules = [(rule.pattern, rule.group) for rule in spec.rules]
    fast = rules[:-1] if rules[-1:] == [("*", "slow")] else rules
    if not fast or any(group != "fast" for _, group in fast):
        return None
    return [pattern for pattern, _ in fast]
