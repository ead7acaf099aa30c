"""From the command line's options to the configuration that the app makes too."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from multirate_core.checks import require_choice, require_number, require_whole
from multirate_core.cli.parser import DATA_OPTIONS, RECIPE_OPTIONS
from multirate_core.config import (
    MAX_LR_FACTOR,
    MAX_SEEDS,
    ArmConfig,
    ArmKind,
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
from multirate_core.data.catalog import data_shape
from multirate_core.data.hub_facts import is_hub_name
from multirate_core.errors import ConfigError, ModelError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.models.catalog import OWN_NAME, model_info, require_weights, source_of
from multirate_core.models.own_sources import absolute_source, as_raced
from multirate_core.partition import files, preset, resolve, to_spec
from multirate_core.partition.phases import read_phases
from multirate_core.presets import RacePreset, race_preset

TREE_POLL_S = 0.05


def race_config(options: Namespace) -> RaceConfig:
    """Return the race that the options of `compare` describe, checked against the network's layer tree.

    Raises:
        MultirateError: an option is unknown, out of range or does not fit the others.
    """
    chosen = race_preset(options.preset)
    require_whole("--seeds", options.seeds, 1, MAX_SEEDS)
    kinds = _arm_kinds(options.arms)
    config = RaceConfig(
        arms=(ArmConfig("sgd", "sgd"),),
        model=model_config(options, chosen),
        data=data_config(options, chosen),
        recipe=_recipe(options, chosen),
        budget=_budget(options, chosen.budget),
        seeds=tuple(range(options.seeds)),
        device=options.device or "auto",
        threads=options.threads,
        execution=_execution(options),
        metric=options.metric or "accuracy",
        **_given(options, evaluations="evaluations"),
    )
    require_weights(model_info(config.model.name), config.model.weights)
    _require_use(options, kinds)
    spec = _partition(options, chosen, layer_tree(config.model, config.data))
    return replace(config, arms=tuple(_arm(kind, spec, not options.no_drift) for kind in kinds))


def model_config(options: Namespace, chosen: RacePreset) -> ModelConfig:
    """Return the network: the preset's unless told otherwise; ModelError if its name is unknown."""
    model = as_raced(replace(chosen.model, **_given(options, name="model", weights="weights", source="source")))
    source_of(model_info(model.name), model.source)
    if model.weights not in ("pretrained", "none"):  # the worker may run elsewhere than in this folder
        model = replace(model, weights=_full_path(model.weights))
    if model.name == OWN_NAME:
        model = replace(model, source=absolute_source(model.source))
    elif model.source and Path(model.source).expanduser().is_dir():
        model = replace(model, source=_full_path(model.source))
    return model


def data_config(options: Namespace, chosen: RacePreset) -> DataConfig:
    """Return the data: the preset's unless told otherwise."""
    base = chosen.data if options.data in (None, chosen.data.name) else DataConfig(options.data)
    given = _given(options, path="data_path", **{name: name for name in DATA_OPTIONS})
    for name in ("train_images", "test_images"):
        if given.get(name) == 0:  # all of them, where the preset takes fewer
            given[name] = None
    on_hub = base.name == "hub" and is_hub_name(given.get("path", "")) and not Path(given["path"]).is_dir()
    if "path" in given and not on_hub:
        given["path"] = _full_path(given["path"])
    return replace(base, **given, download=options.download or base.download)


def _full_path(text: str) -> str:
    try:
        return str(Path(text).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as error:  # an unknown ~user, a loop of links, a null byte
        raise ConfigError(f"{text[:200]!r} is not a path that can be followed: {error}. Check it.") from error


def layer_tree(model: ModelConfig, data: DataConfig) -> LayerTree:
    """Return the network's layer tree; a process of its own makes it the first time."""
    shape = data_shape(data, model_info(model.name))
    request = describe.TreeRequest(model.name, shape.num_classes, shape.input_shape, model.source)
    found = describe.read(request)
    if not isinstance(found, LayerTree):
        process = describe.start(request)
        while (found := describe.outcome(request, process)) is None:
            time.sleep(TREE_POLL_S)
        process.wait()
    if isinstance(found, describe.DescribeError):
        raise ModelError(found.message)
    return found


def _partition(options: Namespace, chosen: RacePreset, tree: LayerTree) -> PartitionSpec:
    """Return the partition of the multirate and frozen arms, resolved once so that a mistake shows here."""
    ways = [name for name in ("fast", "fast_pattern", "partition") if getattr(options, name) is not None]
    if len(ways) > 1:
        named = " and ".join(f"--{way.replace('_', '-')}" for way in ways)
        raise ConfigError(f"{named} all say what is fast. Give only one of them.")
    if options.fast_n is not None and (options.fast or "").replace("-", "_") != "last_n":
        raise ConfigError("--fast-n belongs to --fast last_n. Give both or neither.")
    k = chosen.k if options.k is None else options.k
    if options.fast_pattern is not None:
        rules = [Rule(pattern, "fast") for pattern in options.fast_pattern]
        spec = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", k)), (*rules, Rule("*", "slow")))
    elif options.partition is not None:
        spec = _with_slow_period(files.load(Path(options.partition)), options.k)
    else:
        name = (options.fast or chosen.fast).replace("-", "_")
        n = 1 if options.fast_n is None else options.fast_n
        spec = to_spec(preset(name, tree, k, n), tree)
    spec = _with_slow_rates(spec, options)
    resolve(spec, tree)
    return spec


def _with_slow_period(spec: PartitionSpec, k: int | None) -> PartitionSpec:
    """Return the partition with k as the period of every group that is not fast; None leaves the file's own."""
    if k is None:
        return spec
    return replace(
        spec, groups=tuple(group if group.period == 1 else replace(group, period=k) for group in spec.groups)
    )


def _with_slow_rates(spec: PartitionSpec, options: Namespace) -> PartitionSpec:
    """Return the partition with --k-phases and --slow-lr-factor on every group that is not fast."""
    if options.slow_lr_factor is not None:
        require_number("--slow-lr-factor", options.slow_lr_factor, above=0.0, most=MAX_LR_FACTOR)
    rates = _given(options, lr_factor="slow_lr_factor")
    if options.k_phases is not None:
        rates["phases"] = read_phases(options.k_phases)
    if rates and all(group.period == 1 for group in spec.groups):
        raise ConfigError("--k-phases and --slow-lr-factor are for groups of period > 1, got none. Give a larger --k.")
    return replace(spec, groups=tuple(group if group.period == 1 else replace(group, **rates) for group in spec.groups))


def _require_use(options: Namespace, kinds: Sequence[ArmKind]) -> None:
    """Raise ConfigError for rates of slow groups where no arm has any."""
    if all(kind == "sgd" for kind in kinds):
        for option, given in (("--k-phases", options.k_phases), ("--slow-lr-factor", options.slow_lr_factor)):
            if given is not None:
                raise ConfigError(f"{option} is for slow groups, and plain sgd has none. Add an arm, or leave it out.")


def _arm_kinds(text: str | None) -> list[ArmKind]:
    kinds: list[ArmKind] = []
    for word in (text or "sgd,multirate").split(","):
        require_choice("each of --arms", word.strip(), get_args(ArmKind))
        kinds.append(word.strip())  # type: ignore[arg-type]
    return kinds


def _arm(kind: ArmKind, spec: PartitionSpec, drift: bool) -> ArmConfig:
    return ArmConfig(kind, kind, None if kind == "sgd" else spec, drift=drift)


def _recipe(options: Namespace, chosen: RacePreset) -> Recipe:
    usual = chosen.recipe_for(options.base or chosen.recipe.base)
    if usual.base == "adamw" and options.momentum is not None:
        raise ConfigError("--momentum belongs to SGD, and --base adamw would not use it. Leave one of them out.")
    given = _given(options, **{name: name for name in RECIPE_OPTIONS})
    nesterov, decay_norms = options.nesterov or usual.nesterov, usual.decay_norms and not options.no_decay_norms
    return replace(usual, **given, nesterov=nesterov, decay_norms=decay_norms)


def _execution(options: Namespace) -> Execution:
    given = _given(options, precision="precision", memory="memory")
    return Execution(**given, channels_last=options.channels_last, compile=options.compile)


def _budget(options: Namespace, base: Budget) -> Budget:
    if options.epochs is None and options.seconds is None:
        return base
    return Budget(epochs=options.epochs, seconds=options.seconds)


def _given(options: Namespace, **names: str) -> dict[str, Any]:
    """Return field -> value for the options that were given on the command line."""
    return {field: getattr(options, name) for field, name in names.items() if getattr(options, name) is not None}
