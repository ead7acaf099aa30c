"""The command line that the page shows races the page's configuration again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multirate_core.cli.command_line import PROGRAM, command_line
from multirate_core.cli.parser import make_parser
from multirate_core.cli.settings import data_config, model_config, race_config
from multirate_core.config import (
    MAX_FACTOR,
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
    Schedule,
)
from multirate_core.data.catalog import DATASETS
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.metrics import METRICS
from multirate_core.models.catalog import MODELS
from multirate_core.partition import Partition, files, preset, resolve, to_spec
from multirate_core.partition.codes import DIGITS, assignment_from_codes
from multirate_core.partition.presets import PRESETS
from multirate_core.presets import race_preset

FAST_AND_SLOW = (GroupSpec("fast", 1), GroupSpec("slow", 5))
THREE = (*FAST_AND_SLOW, GroupSpec("third", 20))
RATED = (GroupSpec("fast", 1), GroupSpec("slow", 5, 0.25, ((2, 1), (0.5, 2))))
FAST_RATED = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 5))
SLOW_AT_ONE = (GroupSpec("fast", 1), GroupSpec("slow", 1, 0.5))
HOSTILE_PATHS = (
    "/tmp/a b/'; rm -rf ~; '",
    '/tmp/"$(reboot)" `id` $HOME',
    "/tmp/new\nline\ttab",
    "/tmp/--json",
    "/tmp/größe/日本/<img src=x onerror=alert(1)>",
    "/tmp/back\\slash*?[a]{b}!#&|;",
)


@cache
def glyph_tree() -> LayerTree:
    """The tree that ships: reading it starts no process."""
    tree = describe.read(describe.SHIPPED)
    assert isinstance(tree, LayerTree)
    return tree


def words(line: str) -> Sequence[str]:
    """What a shell hands to the program."""
    assert line.startswith(f"{PROGRAM} ")
    return shlex.split(line)[3:]


def again(line: str) -> RaceConfig:
    return race_config(make_parser().parse_args(words(line)))


def groups_on_the_network(config: RaceConfig) -> RaceConfig:
    """The configuration with its partitions written in one way, whatever rules they came in."""
    arms = [
        arm if arm.partition is None else dataclasses.replace(arm, partition=standard(arm.partition))
        for arm in config.arms
    ]
    return dataclasses.replace(config, arms=tuple(arms))


def standard(spec: PartitionSpec) -> PartitionSpec:
    return to_spec(resolve(spec, glyph_tree()), glyph_tree())


def config_with(partition: Partition, **changes: object) -> RaceConfig:
    spec = to_spec(partition, glyph_tree())
    base = RaceConfig((ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", spec)))
    return dataclasses.replace(base, **changes)


def partitions(groups: tuple[GroupSpec, ...]) -> st.SearchStrategy[Partition]:
    count = len(list(glyph_tree().trainable()))
    codes = st.text(DIGITS[: len(groups)], min_size=count, max_size=count).filter(lambda code: "0" in code)
    return codes.map(lambda code: assignment_from_codes(code, glyph_tree(), groups))


RECIPES = st.builds(
    Recipe,
    lr=st.floats(0, MAX_FACTOR, exclude_min=True),
    momentum=st.floats(0, 1, exclude_max=True),
    weight_decay=st.floats(0, MAX_FACTOR),
    batch_size=st.integers(1, 65_536),
)
RECIPES = (
    RECIPES
    | st.builds(Recipe, lr=st.sampled_from([0.001, 0.01, 3.0]), base=st.just("adamw"), weight_decay=st.floats(0, 1))
    | st.just(Recipe(nesterov=True))
    | st.builds(
        Recipe,
        schedule=st.sampled_from(get_args(Schedule)),
        warmup=st.floats(0, 1, exclude_max=True),
        label_smoothing=st.floats(0, 1, exclude_max=True),
        clip_norm=st.none() | st.floats(0, MAX_FACTOR, exclude_min=True),
        decay_norms=st.booleans(),
        accumulate=st.integers(1, 32),
    )
)
EXECUTIONS = st.sampled_from([Execution(), Execution("bf16", True, True), Execution(memory="lean")])
BUDGETS = st.builds(Budget, epochs=st.integers(1, 100_000)) | st.builds(
    Budget, seconds=st.floats(0, 30 * 24 * 3600.0, exclude_min=True)
)
SPLITS = st.just({}) | st.floats(0.05, 0.5).map(lambda share: {"split": "random", "validation_share": share})
FEWER_IMAGES = st.none() | st.integers(2, 10**9)


@st.composite
def races(draw: st.DrawFn) -> RaceConfig:
    kinds = draw(st.sampled_from([("sgd",), ("multirate",), ("frozen", "sgd"), ("sgd", "multirate", "frozen")]))
    spec = to_spec(
        draw(st.sampled_from([FAST_AND_SLOW, THREE, RATED, FAST_RATED, SLOW_AT_ONE]).flatmap(partitions)), glyph_tree()
    )
    drift = draw(st.booleans())
    return RaceConfig(
        arms=tuple(ArmConfig(kind, kind, None if kind == "sgd" else spec, drift) for kind in kinds),
        model=ModelConfig("glyph_net", draw(st.sampled_from(["pretrained", "none", "/data/net.pth"]))),
        data=DataConfig(
            "digits",
            train_images=draw(FEWER_IMAGES),
            test_images=draw(FEWER_IMAGES),
            bad_images=draw(st.sampled_from(["refuse", "skip"])),
            augment=draw(st.sampled_from(["none", "flip", "crop_flip"])),
            **draw(SPLITS),
        ),
        recipe=draw(RECIPES),
        budget=draw(BUDGETS),
        seeds=tuple(range(draw(st.integers(1, 100)))),
        device=draw(st.sampled_from(["auto", "cpu", "cuda", "cuda:3", "mps"])),
        threads=draw(st.none() | st.integers(1, 1024)),
        execution=draw(EXECUTIONS),
        metric=draw(st.sampled_from(METRICS)),
        evaluations=draw(st.sampled_from([1, 20, 1000])),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=races())
def test_the_line_makes_an_equal_configuration(config: RaceConfig, tmp_path: Path) -> None:
    specs = [arm.partition for arm in config.arms if arm.partition is not None]
    file = tmp_path / "my partition.json"
    file.write_text(files.dumps(specs[0]) if specs else "", encoding="utf-8")
    line = command_line(config, str(file))
    assert groups_on_the_network(again(line)) == groups_on_the_network(config)
    assert "--json" in words(line)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_said_by_patterns_or_by_the_file(name: str, tmp_path: Path) -> None:
    config = config_with(preset(name, glyph_tree(), 7, 2))
    file = tmp_path / "partition.json"
    file.write_text(files.dumps(config.arms[1].partition), encoding="utf-8")
    line = command_line(config, str(file))
    assert again(line).arms[1].partition is not None
    assert groups_on_the_network(again(line)).arms == groups_on_the_network(config).arms


def test_head_only_and_all_fast_need_no_file() -> None:
    head = command_line(config_with(preset("head", glyph_tree(), 5)))
    assert "--fast-pattern fc --k 5" in head
    everything = command_line(config_with(preset("all_fast", glyph_tree(), 5)))
    assert "--fast-pattern '*' --k 5" in everything
    assert "--partition" not in head + everything


def test_base_rule_rates_and_computing_stand_in_the_line_and_only_what_differs() -> None:
    partition = Partition(RATED, preset("head", glyph_tree(), 5).assignment)
    chosen = race_preset("digits")
    config = config_with(
        partition,
        data=chosen.data,
        budget=chosen.budget,
        recipe=chosen.recipe_for("adamw"),
        execution=Execution("bf16", channels_last=True, memory="lean"),
    )
    assert command_line(config) == (
        f"{PROGRAM} --preset digits --base adamw --precision bf16 --memory lean --arms sgd,multirate "
        "--fast-pattern fc --k 5 --k-phases 1:2,2:0.5 --slow-lr-factor 0.25 --channels-last --json"
    )


def test_the_papers_network_and_data_are_named_in_full_whatever_their_preset_says() -> None:
    data = DataConfig("cifar100", "/data")  # the preset has larger images
    config = config_with(preset("head", glyph_tree(), 5), model=ModelConfig("resnet50", "none"), data=data)
    options = make_parser().parse_args(words(command_line(config)))
    assert data_config(options, race_preset(options.preset)) == data
    assert options.epochs == config.budget.epochs


def test_what_the_preset_says_already_is_left_out() -> None:
    chosen = race_preset("digits")
    config = config_with(preset("head", glyph_tree(), 5), data=chosen.data, recipe=chosen.recipe, budget=chosen.budget)
    assert command_line(config) == (f"{PROGRAM} --preset digits --arms sgd,multirate --fast-pattern fc --k 5 --json")


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_hostile_path_reaches_the_program_as_it_is(path: str) -> None:
    data = DataConfig("folder", path, image_size=64, download=True)
    config = config_with(preset("head", glyph_tree(), 5), data=data, model=ModelConfig("resnet18", path + ".pth"))
    options = make_parser().parse_args(words(command_line(config, path + ".json")))
    assert (options.data_path, options.weights) == (path, path + ".pth")
    chosen = race_preset(options.preset)
    assert data_config(options, chosen) == data
    assert model_config(options, chosen) == config.model


@pytest.mark.parametrize("pattern", ["--json", "-x.weight", "a b'c\"", "$(id)", "*", "größe 1.[*]", "--k=3"])
def test_a_pattern_that_looks_like_an_option_stays_a_pattern(pattern: str) -> None:
    spec = PartitionSpec(FAST_AND_SLOW, (Rule(pattern, "fast"), Rule("*", "slow")))
    config = RaceConfig((ArmConfig("multirate", "multirate", spec),))
    options = make_parser().parse_args(words(command_line(config)))
    assert options.fast_pattern == [pattern]
    assert options.k == 5


@pytest.mark.parametrize("data", DATASETS)
@pytest.mark.parametrize("model", ["glyph_net", "resnet20", "resnet18", "squeezenet1_1", "vit_b_16"])
def test_every_pair_of_model_and_data_is_named_as_it_is(model: str, data: str) -> None:
    assert model in MODELS
    for weights in ("pretrained", "none"):
        own = DataConfig(data, "/data", num_classes=12, train_images=100, bad_images="skip")
        config = config_with(preset("head", glyph_tree(), 5), model=ModelConfig(model, weights), data=own)
        options = make_parser().parse_args(words(command_line(config)))
        chosen = race_preset(options.preset)
        assert (model_config(options, chosen), data_config(options, chosen)) == (config.model, own)


def test_arms_with_names_of_their_own_are_left_out() -> None:
    spec = to_spec(preset("head", glyph_tree(), 5), glyph_tree())
    pinned = ArmConfig("ours; rm -rf /", "multirate", spec)
    config = config_with(preset("last_n", glyph_tree(), 3, 2))
    line = command_line(dataclasses.replace(config, arms=(*config.arms, pinned)))
    assert line == command_line(config)
