"""A configuration refuses what no race could use, says so in words, and survives its JSON form."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirate_core.config import (
    ArmConfig,
    Budget,
    DataConfig,
    GroupSpec,
    ModelConfig,
    PartitionSpec,
    RaceConfig,
    Recipe,
    Rule,
)
from multirate_core.config_json import from_json, to_json
from multirate_core.errors import ConfigError

SPLIT = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", 5)), (Rule("fc", "fast"), Rule("*", "slow")))
SGD = ArmConfig("sgd", "sgd")
MULTIRATE = ArmConfig("multirate", "multirate", SPLIT)


@given(
    lr=st.floats(1e-9, 1e3),
    momentum=st.floats(0, 0.999),
    period=st.integers(1, 1_000_000),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5, unique=True),
    budget=st.one_of(st.builds(Budget, epochs=st.integers(1, 100)), st.builds(Budget, seconds=st.floats(0.1, 1e5))),
    name=st.text(min_size=1, max_size=40),
)
def test_json_gives_an_equal_configuration_back(
    lr: float, momentum: float, period: int, seeds: list[int], budget: Budget, name: str
) -> None:
    split = PartitionSpec((GroupSpec(name, 1), GroupSpec(f"{name}2"[-40:], period)), (Rule("*", name),))
    config = RaceConfig(
        arms=(SGD, ArmConfig("multirate", "multirate", split, drift=False)),
        model=ModelConfig("resnet18", "none"),
        data=DataConfig("folder", "/some/where", image_size=64, bad_images="skip"),
        recipe=Recipe(lr, momentum),
        budget=budget,
        seeds=tuple(seeds),
    )
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, True, "3", None, 10**7])
def test_a_period_that_is_no_whole_number_from_one_on_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="period must be a whole number"):
        GroupSpec("slow", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("lr", [0.0, -0.1, math.nan, math.inf, 10**400, "fast", True])
def test_a_learning_rate_that_is_no_finite_positive_number_is_refused(lr: object) -> None:
    with pytest.raises(ConfigError, match="lr must be a finite number > 0"):
        Recipe(lr=lr)  # type: ignore[arg-type]


def test_numbers_out_of_range_are_refused_by_name() -> None:
    for make, name in (
        (lambda: Recipe(momentum=1.0), "momentum"),
        (lambda: Recipe(weight_decay=-1e-4), "weight_decay"),
        (lambda: Recipe(lr=1e39), "lr must be a finite number > 0 and ≤ 1e\\+30, got 1e\\+39"),
        (lambda: Recipe(weight_decay=1e39), "weight_decay"),
        (lambda: Recipe(batch_size=0), "batch_size"),
        (lambda: Budget(epochs=0), "epochs"),
        (lambda: Budget(seconds=0.0), "seconds"),
        (lambda: DataConfig(image_size=4), "image_size"),
        (lambda: DataConfig(num_classes=1), "num_classes"),
        (lambda: RaceConfig((SGD,), threads=0), "threads"),
        (lambda: RaceConfig((SGD,), seeds=(-1,)), "seed"),
    ):
        with pytest.raises(ConfigError, match=name):
            make()


def test_text_that_utf8_cannot_hold_is_refused_and_shown_escaped() -> None:
    for make, what in (
        (lambda: GroupSpec("sl\ud800w", 5), "a group's name"),
        (lambda: Rule("f\ud800c", "fast"), "a pattern"),
        (lambda: Rule("fc", "\udfff"), "a pattern's group"),
        (lambda: PartitionSpec((GroupSpec("a", 1),), (), model="\ud800"), "a partition's model"),
        (lambda: PartitionSpec((GroupSpec("a", 1),), (), fingerprint="\ud800"), "a partition's fingerprint"),
    ):
        with pytest.raises(ConfigError, match=f"{what} must be text that UTF-8 can hold, got .*ud") as caught:
            make()
        assert str(caught.value).encode()


def test_a_budget_is_either_epochs_or_seconds() -> None:
    for epochs, seconds in ((None, None), (3, 10.0)):
        with pytest.raises(ConfigError, match="either epochs or seconds"):
            Budget(epochs, seconds)


def test_a_partition_needs_a_group_of_period_one_and_known_groups() -> None:
    with pytest.raises(ConfigError, match="no group has period 1"):
        PartitionSpec((GroupSpec("a", 2), GroupSpec("b", 3)), ())
    with pytest.raises(ConfigError, match="names the group 'quick'"):
        PartitionSpec((GroupSpec("fast", 1),), (Rule("fc", "quick"),))
    with pytest.raises(ConfigError, match="different names"):
        PartitionSpec((GroupSpec("a", 1), GroupSpec("a", 2)), ())


def test_arms_have_a_partition_exactly_when_they_need_one() -> None:
    with pytest.raises(ConfigError, match="needs no partition"):
        ArmConfig("sgd", "sgd", SPLIT)
    with pytest.raises(ConfigError, match="needs a partition"):
        ArmConfig("frozen", "frozen")
    with pytest.raises(ConfigError, match="different names"):
        RaceConfig((SGD, SGD))


def test_no_other_arm_can_pass_itself_off_as_plain_sgd() -> None:
    with pytest.raises(ConfigError, match="only an arm of kind 'sgd' may have that name"):
        ArmConfig("sgd", "multirate", SPLIT)
    assert ArmConfig("head only", "multirate", SPLIT).name == "head only"


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="unknown device"):
        RaceConfig((SGD,), device=device)


def test_lanes_are_numbered_seed_by_seed() -> None:
    config = RaceConfig((SGD, MULTIRATE), seeds=(3, 4))
    assert config.lanes == ((3, "sgd"), (3, "multirate"), (4, "sgd"), (4, "multirate"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(place=st.sampled_from(["arms", "model", "data", "recipe", "budget", "seeds", "device", "version"]), value=JSON)
def test_damaged_json_gives_a_configuration_or_a_config_error(place: str, value: object) -> None:
    raw = json.loads(to_json(RaceConfig((SGD, MULTIRATE))))
    raw[place] = value
    try:
        assert isinstance(from_json(json.dumps(raw)), RaceConfig)
    except ConfigError as error:
        assert str(error)


ENDLESS = ("9" * 5000, "[" * 100_000)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"arms": 3}', '{"arms": [], "colour": 1}', *ENDLESS], ids=len)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        from_json(text)
