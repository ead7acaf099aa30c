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
    Execution,
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
        (lambda: Recipe(warmup=1.0), "warmup must be a finite number ≥ 0 and < 1, got 1.0"),
        (lambda: Recipe(warmup=-0.1), "warmup"),
        (lambda: Recipe(label_smoothing=1.0), "label_smoothing must be a finite number ≥ 0 and < 1, got 1.0"),
        (lambda: Recipe(clip_norm=0.0), "clip_norm must be a finite number > 0"),
        (lambda: Recipe(clip_norm=math.inf), "clip_norm"),
        (lambda: Recipe(accumulate=0), "accumulate must be a whole number from 1"),
        (lambda: Recipe(accumulate=2.0), "accumulate"),  # type: ignore[arg-type]
        (lambda: Budget(epochs=0), "epochs"),
        (lambda: Budget(seconds=0.0), "seconds"),
        (lambda: DataConfig(image_size=4), "image_size"),
        (lambda: DataConfig(num_classes=1), "num_classes"),
        (lambda: DataConfig(split="half"), "split"),
        (lambda: DataConfig(augment="crop"), "augment"),
        (lambda: DataConfig(split="random", validation_share=0.04), "validation_share"),
        (lambda: DataConfig(split="random", validation_share=0.51), "validation_share"),
        (lambda: DataConfig(validation_share=0.3), "belongs to split 'random'"),
        (lambda: RaceConfig((SGD,), threads=0), "threads"),
        (lambda: RaceConfig((SGD,), seeds=(-1,)), "seed"),
    ):
        with pytest.raises(ConfigError, match=name):
            make()


# Written by the version before base rules, group rates and ways of computing.
OLD_JSON = (
    '{"arms":[{"name":"sgd","kind":"sgd","partition":null,"drift":true},{"name":"multirate","kind":"multirate",'
    '"partition":{"groups":[{"name":"fast","period":1},{"name":"slow","period":5}],"rules":[{"pattern":"fc",'
    '"group":"fast"},{"pattern":"*","group":"slow"}],"model":"","fingerprint":""},"drift":true}],"model":{"name":'
    '"glyph_net","weights":"pretrained"},"data":{"name":"digits","path":null,"image_size":null,"num_classes":null,'
    '"train_images":null,"bad_images":"refuse","download":false},"recipe":{"lr":0.02,"momentum":0.8,"weight_decay":'
    '0.0,"batch_size":32},"budget":{"epochs":5,"seconds":null},"seeds":[0],"device":"auto","threads":null,'
    '"record_steps":true,"version":1}'
)


def test_a_configuration_stored_before_is_read_with_the_usual_values_for_what_is_new() -> None:
    assert from_json(OLD_JSON) == RaceConfig((SGD, MULTIRATE), recipe=Recipe(0.02, 0.8))
    assert from_json(OLD_JSON).execution == Execution("float32", False, False, "plain")
    recipe = from_json(OLD_JSON).recipe
    assert (recipe.base, recipe.schedule, recipe.warmup, recipe.label_smoothing) == ("sgd", "constant", 0.0, 0.0)
    assert (recipe.clip_norm, recipe.decay_norms, recipe.accumulate) == (None, True, 1)


def test_base_rule_rates_and_ways_of_computing_come_back_from_json() -> None:
    slow = GroupSpec("slow", 5, 0.5, ((2, 1), (0.5, 2)))
    split = PartitionSpec((GroupSpec("fast", 1, 2.0), slow), (Rule("fc", "fast"), Rule("*", "slow")))
    config = RaceConfig(
        (SGD, ArmConfig("multirate", "multirate", split)),
        recipe=Recipe(
            base="adamw",
            schedule="one_cycle",
            warmup=0.1,
            label_smoothing=0.2,
            clip_norm=1.5,
            decay_norms=False,
            accumulate=4,
        ),
        execution=Execution("bf16", True, True),
    )
    assert from_json(to_json(config)) == config
    assert hash(from_json(to_json(config)).arms[1].partition) == hash(split)


def test_rates_and_ways_of_computing_that_cannot_be_are_refused_in_words() -> None:
    for make, words in (
        (lambda: Recipe(base="adam"), "base must be one of sgd, adamw, got 'adam'"),
        (lambda: Recipe(base="adamw", momentum=0.5), "momentum belongs to SGD, got 0.5 with the base adamw"),
        (lambda: Recipe(base="adamw", nesterov=True), "nesterov needs SGD with a momentum > 0, got the base adamw"),
        (lambda: Recipe(momentum=0.0, nesterov=True), "nesterov needs SGD with a momentum > 0, got momentum 0"),
        (lambda: Recipe(nesterov=1), "nesterov must be True or False"),
        (lambda: Recipe(schedule="step"), "schedule must be one of constant, cosine, linear, one_cycle, got 'step'"),
        (lambda: Recipe(decay_norms=0), "decay_norms must be True or False"),
        (
            lambda: Recipe(batch_size=8, accumulate=9),
            "at most the batch size, which it divides, got 9 for a batch of 8",
        ),
        (lambda: Execution("fp16"), "precision must be one of float32, bf16, got 'fp16'"),
        (lambda: Execution(channels_last=1), "channels_last must be True or False"),
        (lambda: Execution(compile="yes"), "compile must be True or False"),
        (lambda: Execution(memory="small"), "memory must be one of plain, lean"),
        (lambda: Execution(compile=True, memory="lean"), "memory 'lean' cannot be combined with compile"),
        (lambda: GroupSpec("slow", 5, 0.0), "lr_factor of group 'slow' must be a finite number > 0 and ≤ 100, got 0.0"),
        (lambda: GroupSpec("slow", 5, math.nan), "lr_factor of group 'slow'"),
        (lambda: GroupSpec("slow", 5, phases=[(2, 1)]), "the phases of group 'slow'"),
        (lambda: GroupSpec("slow", 5, phases=((2, 1),) * 21), "at most 20 pairs"),
        (lambda: GroupSpec("slow", 5, phases=((2,),)), "must be \\(epochs, period\\)"),
        (lambda: GroupSpec("slow", 5, phases=((0, 1),)), "the epochs of a phase of group 'slow' must be"),
        (lambda: GroupSpec("slow", 5, phases=((1, 1.5),)), "the period of a phase of group 'slow' must be"),
        (lambda: GroupSpec("fast", 1, phases=((1, 1),)), "'fast' has period 1 and a schedule for it"),
        (
            lambda: RaceConfig((SGD, ArmConfig("adamw", "multirate", SPLIT)), recipe=Recipe(base="adamw")),
            "no other arm may be called 'adamw'",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            make()


def test_the_parts_of_a_batch_are_as_large_as_its_largest_one() -> None:
    sizes = [Recipe(batch_size=16, accumulate=parts).micro_batch_size for parts in (1, 2, 3, 5, 16)]
    assert sizes == [16, 8, 6, 4, 1]


def test_the_plain_arm_is_called_by_its_base_rule() -> None:
    assert RaceConfig((SGD, MULTIRATE)).title("sgd") == "sgd"
    adamw = RaceConfig((SGD, MULTIRATE), recipe=Recipe(base="adamw"))
    assert [adamw.title(arm.name) for arm in adamw.arms] == ["adamw", "multirate"]


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


@given(
    place=st.sampled_from(["arms", "model", "data", "recipe", "budget", "seeds", "device", "version", "execution"]),
    value=JSON,
)
def test_damaged_json_gives_a_configuration_or_a_config_error(place: str, value: object) -> None:
    raw = json.loads(to_json(RaceConfig((SGD, MULTIRATE))))
    raw[place] = value
    try:
        assert isinstance(from_json(json.dumps(raw)), RaceConfig)
    except ConfigError as error:
        assert str(error)


@given(name=st.sampled_from(["lr_factor", "phases"]), value=JSON)
def test_damaged_rates_of_a_group_give_a_configuration_or_a_config_error(name: str, value: object) -> None:
    raw = json.loads(to_json(RaceConfig((MULTIRATE,))))
    raw["arms"][0]["partition"]["groups"][1][name] = value
    try:
        assert isinstance(from_json(json.dumps(raw)), RaceConfig)
    except ConfigError as error:
        assert str(error)


ENDLESS = ("9" * 5000, "[" * 100_000)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"arms": 3}', '{"arms": [], "colour": 1}', *ENDLESS], ids=len)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        from_json(text)
