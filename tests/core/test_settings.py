"""The page's settings: their link, the race that they make, and the way back from a race."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plot_races import partition

from multirate_core.config import ArmConfig, Budget, DataConfig, Execution, ModelConfig, RaceConfig, Recipe
from multirate_core.data.catalog import DATASETS
from multirate_core.errors import ConfigError, ModelError
from multirate_core.metrics import METRICS
from multirate_core.models.own_sources import choices
from multirate_core.presets import RACE_PRESETS
from pages.components.settings import (
    ARM_KINDS,
    AUGMENTS,
    AXES,
    BASES,
    BUDGETS,
    MEMORIES,
    PRECISIONS,
    SCHEDULES,
    SPLITS,
    WEIGHTS,
    Settings,
    advice,
    check,
    data_config,
    from_race,
    race_config,
)
from pages.components.settings_link import LINK_FIELDS, MAX_LINK_VALUE, from_link, to_link

BOARD = partition(7)
NAMES = {name for name, _ in LINK_FIELDS.values()}
PATHS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


def finite(low: float, high: float, **more: Any) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False, **more)


ALL_SETTINGS = st.builds(
    Settings,
    model=st.sampled_from(list(choices())),
    weights=st.sampled_from(WEIGHTS),
    weights_path=PATHS,
    data=st.sampled_from(list(DATASETS)),
    data_path=PATHS,
    image_size=st.just(0) | st.integers(8, 1024),
    num_classes=st.just(0) | st.integers(2, 100_000),
    train_images=st.just(0) | st.integers(2, 10**9),
    bad_images=st.sampled_from(["refuse", "skip"]),
    split=st.sampled_from(SPLITS),
    validation_share=finite(0.05, 0.5),
    augment=st.sampled_from(AUGMENTS),
    download=st.booleans(),
    budget=st.sampled_from(BUDGETS),
    epochs=st.integers(1, 100_000),
    seconds=finite(0, 30 * 24 * 3600.0, exclude_min=True),
    lr=finite(0, 1e30, exclude_min=True),
    momentum=finite(0, 1, exclude_max=True),
    weight_decay=finite(0, 1e30),
    batch_size=st.integers(1, 65_536),
    drift=st.booleans(),
    seeds=st.integers(1, 100),
    arms=st.permutations(ARM_KINDS).flatmap(lambda arms: st.integers(0, 3).map(lambda n: tuple(arms[:n]))),
    device=st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:11"]),
    threads=st.integers(0, 1024),
    axis=st.sampled_from(AXES),
    base=st.sampled_from(BASES),
    nesterov=st.booleans(),
    schedule=st.sampled_from(SCHEDULES),
    warmup=finite(0, 1, exclude_max=True),
    label_smoothing=finite(0, 1, exclude_max=True),
    clip_norm=st.just(0.0) | finite(0, 1e30, exclude_min=True),
    decay_norms=st.booleans(),
    accumulate=st.integers(1, 9),
    precision=st.sampled_from(PRECISIONS),
    memory=st.sampled_from(MEMORIES),
    channels_last=st.booleans(),
    compile=st.booleans(),
    metric=st.sampled_from(METRICS),
).filter(
    lambda one: (
        not (one.compile and one.memory == "lean")
        and not (one.nesterov and one.momentum == 0)
        and one.accumulate <= one.batch_size
    )
)


def test_the_default_settings_need_no_link_and_make_the_default_race() -> None:
    assert to_link(Settings()) == {}
    assert from_link({}) == (Settings(), [])
    config, preset = race_config(Settings(), BOARD, {}), RACE_PRESETS["digits"]
    assert (config.model, config.data) == (preset.model, preset.data)
    assert (config.recipe, config.budget) == (preset.recipe, preset.budget)
    assert config.arms == (ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", BOARD))


def test_every_setting_has_a_name_of_its_own_in_the_link() -> None:
    assert set(LINK_FIELDS) == {field.name for field in dataclasses.fields(Settings)}
    assert len(NAMES) == len(LINK_FIELDS)
    assert not NAMES & {"p", "pin", "race"}  # what `state` puts beside them


@settings(max_examples=50)
@given(ALL_SETTINGS)
def test_a_link_gives_equal_settings_back(one: Settings) -> None:
    assert from_link(to_link(one)) == (one, [])


@settings(max_examples=50)
@given(ALL_SETTINGS)
def test_a_race_gives_settings_back_that_make_an_equal_race(one: Settings) -> None:
    one = dataclasses.replace(one, arms=one.arms or ("multirate",))
    try:
        config = race_config(one, BOARD, {})
    except ConfigError as error:  # the only settings of a valid link that make no race, and those just below
        assert (one.weights, one.weights_path) == ("file", "")
        assert "Type its path" in str(error)
        return
    except ModelError as error:
        assert one.weights == "pretrained" and not choices()[one.model].pretrained
        assert "no pretrained weights" in str(error)
        return
    assert race_config(from_race(config), BOARD, {}) == config
    assert from_link(to_link(from_race(config))) == (from_race(config), [])


def test_a_race_from_python_with_whole_numbers_gives_the_types_that_the_widgets_need() -> None:
    config = RaceConfig((ArmConfig("sgd", "sgd"),), recipe=Recipe(lr=1, momentum=0), budget=Budget(seconds=60))
    restored = from_race(config)
    floats = (restored.lr, restored.momentum, restored.weight_decay, restored.seconds)
    assert all(type(value) is float for value in floats)
    assert race_config(restored, BOARD, {}) == config


def test_a_seed_count_drift_and_threads_reach_the_race() -> None:
    one = Settings(seeds=3, drift=False, threads=2, device="cpu", budget="seconds", seconds=12.5)
    config = race_config(one, BOARD, {"ours": partition(2)})
    assert config.seeds == (0, 1, 2)
    assert not any(arm.drift for arm in config.arms if arm.kind == "multirate")
    assert (config.threads, config.device, config.budget) == (2, "cpu", Budget(seconds=12.5))
    assert config.arms[-1] == ArmConfig("ours", "multirate", partition(2), drift=False)


def test_adamw_takes_neither_momentum_nor_nesterov_and_they_are_kept_for_sgd() -> None:
    one = Settings(base="adamw", momentum=0.3, nesterov=True, lr=0.002)
    config = race_config(one, BOARD, {})
    assert config.recipe == Recipe(0.002, batch_size=16, base="adamw")
    assert to_link(one) == {"base": "adamw", "mom": "0.3", "nest": "1", "lr": "0.002"}
    back = race_config(dataclasses.replace(one, base="sgd"), BOARD, {})
    assert (back.recipe.momentum, back.recipe.nesterov) == (0.3, True)


def test_the_whole_recipe_reaches_the_race_and_0_is_no_clipping() -> None:
    one = Settings(schedule="cosine", warmup=0.1, label_smoothing=0.2, clip_norm=1.5, decay_norms=False, accumulate=4)
    recipe = race_config(one, BOARD, {}).recipe
    assert (recipe.schedule, recipe.warmup, recipe.label_smoothing) == ("cosine", 0.1, 0.2)
    assert (recipe.clip_norm, recipe.decay_norms, recipe.accumulate) == (1.5, False, 4)
    assert to_link(one) == {
        **{"sched": "cosine", "warm": "0.1", "smooth": "0.2"},
        **{"clip": "1.5", "dn": "0", "acc": "4"},
    }
    assert race_config(Settings(), BOARD, {}).recipe.clip_norm is None


def test_ways_of_computing_reach_the_race() -> None:
    one = Settings(precision="bf16", channels_last=True, compile=True)
    assert race_config(one, BOARD, {}).execution == Execution("bf16", True, True)
    assert race_config(Settings(memory="lean"), BOARD, {}).execution == Execution(memory="lean")


def test_pinned_arms_and_renamed_ones_are_left_to_the_partitions() -> None:
    config = race_config(Settings(arms=("multirate",)), BOARD, {"ours": partition(2)})
    assert from_race(config).arms == ("multirate",)


def test_weights_from_a_file_are_named_by_their_path() -> None:
    config = race_config(Settings(weights="file", weights_path="/data/net.pth"), BOARD, {})
    assert config.model == ModelConfig("glyph_net", "/data/net.pth")
    assert race_config(Settings(weights="none", weights_path="/data/net.pth"), BOARD, {}).model.weights == "none"


def test_a_path_is_forgotten_by_data_that_need_none() -> None:
    assert race_config(Settings(data="digits", data_path="/somewhere"), BOARD, {}).data.path is None
    folder = race_config(Settings(data="folder", data_path="/somewhere"), BOARD, {}).data
    assert folder.path == "/somewhere"


def test_hub_data_keep_their_name_and_columns_and_come_back_from_a_race() -> None:
    settings = Settings(model="doc_net", data="hub", data_path="a/b:c", text_column="review", label_column="3")
    config = race_config(settings, BOARD, {})
    assert config.data == DataConfig("hub", "a/b:c", train_images=300, text_column="review", label_column="3")
    assert data_config(from_race(config)) == config.data


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lr": 0.0}, "lr must be a finite number > 0 and ≤ 1e+30, got 0.0"),
        ({"lr": float("nan")}, "lr must be a finite number"),
        ({"momentum": 1.0}, "momentum must be a finite number ≥ 0 and < 1"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number ≥ 0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1"),
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"budget": "seconds", "seconds": 0.0}, "seconds must be a finite number > 0"),
        ({"image_size": 7}, "image_size must be a whole number from 8 to 1024, got 7"),
        ({"num_classes": 1}, "num_classes must be a whole number from 2"),
        ({"device": "gpu"}, "unknown device 'gpu'; allowed: auto, cpu"),
        ({"threads": -1}, "threads must be a whole number from 1"),
        ({"seeds": 0}, "seeds must be a whole number from 1 to 100"),
        ({"seeds": 10**12}, "seeds must be a whole number from 1 to 100"),
        ({"arms": ()}, "at least one arm"),
        ({"weights": "file"}, "Type its path"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs SGD with a momentum > 0"),
        ({"compile": True, "memory": "lean"}, "memory 'lean' cannot be combined with compile"),
        ({"base": "adam"}, "base must be one of sgd, adamw"),
        ({"schedule": "step"}, "schedule must be one of constant, cosine, linear, one_cycle"),
        ({"warmup": 1.0}, "warmup must be a finite number ≥ 0 and < 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be a finite number ≥ 0 and < 1"),
        ({"clip_norm": -1.0}, "clip_norm must be a finite number > 0"),
        ({"accumulate": 17}, "accumulate must be at most the batch size, which it divides, got 17"),
    ],
)
def test_a_race_that_cannot_be_is_refused_in_words(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        race_config(Settings(**wrong), BOARD, {})
    assert words in str(caught.value)


def test_a_pinned_partition_called_like_an_arm_is_refused() -> None:
    with pytest.raises(ConfigError, match="different names"):
        race_config(Settings(), BOARD, {"multirate": BOARD})
    with pytest.raises(ConfigError, match="only an arm of kind 'sgd'"):
        race_config(Settings(arms=("multirate",)), BOARD, {"sgd": BOARD})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("m", "<img src=x onerror=alert(1)>"), ("m", ""), ("d", "../../etc/passwd"), ("w", "yes"), ("b", "steps")),
        *(("e", "0"), ("e", "-1"), ("e", "2.5"), ("e", "ten"), ("e", "9" * 4000), ("s", "-1"), ("s", "inf")),
        *(("lr", "nan"), ("lr", "1e999"), ("lr", "0"), ("mom", "1"), ("wd", "-0.1"), ("bs", "65537"), ("px", "2")),
        *(("n", "0"), ("n", "1000000000"), ("n", "9" * 3999), ("arms", "sgd,adam"), ("arms", "sgd,sgd")),
        *(("dev", "tpu"), ("dev", "cuda:x"), ("th", "-3"), ("x", "wall"), ("drift", "yes"), ("bad", "ignore")),
        *(("base", "adam"), ("nest", "yes"), ("prec", "fp16"), ("mem", "small"), ("cl", "2"), ("comp", "on")),
        *(("sched", "step"), ("warm", "1"), ("smooth", "nan"), ("clip", "-1"), ("dn", "no"), ("acc", "17")),
        *(("dp", "x" * (MAX_LINK_VALUE + 1)), ("wp", "/" * 100_000), ("m", "x" * 1_000_000)),
    ],
)
def test_a_wrong_value_in_a_link_is_named_and_left_out(name: str, text: str) -> None:
    read, problems = from_link({name: text, "mom": "0.5"} if name != "mom" else {name: text})
    assert read == (Settings(momentum=0.5) if name != "mom" else Settings())
    (problem,) = problems
    assert f"“{name}” was left out" in problem
    assert "The default is used." in problem
    assert len(problem) < 300


def test_one_wrong_value_does_not_spoil_the_others() -> None:
    read, problems = from_link({"m": "resnet18", "e": "x", "lr": "0.5", "race": "abcd", "unknown": "1"})
    assert (read.model, read.lr, read.epochs) == ("resnet18", 0.5, Settings.epochs)
    assert len(problems) == 1


def test_a_value_that_only_the_other_budget_uses_is_checked_too() -> None:
    assert len(from_link({"b": "epochs", "s": "-5"})[1]) == 1
    assert len(from_link({"b": "seconds", "e": "-5"})[1]) == 1


WORDS = st.text(max_size=20) | st.sampled_from(
    ["0", "1", "-1", "1e308", "nan", "inf", "٣", "0x10", "1_000", " 7 ", "sgd,", "cuda:²", "\x00", "\ud800", "9" * 4001]
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(sorted(NAMES)) | st.text(max_size=5), WORDS, max_size=8))
def test_whatever_a_link_says_it_gives_usable_settings_and_never_raises(params: dict[str, str]) -> None:
    read, problems = from_link(params)
    check(read)
    assert len(problems) <= len(NAMES & set(params))
    assert from_link(to_link(read)) == (read, [])


def test_the_usual_recipe_is_that_of_the_preset_or_a_gentle_one() -> None:
    fashion = RACE_PRESETS["fashion"]
    found = advice("resnet18", "fashion_mnist", "sgd")
    assert (found["lr"], found["epochs"]) == (fashion.recipe.lr, fashion.budget.epochs)
    assert (found["schedule"], found["clip_norm"], found["accumulate"]) == ("constant", 0.0, 1)
    found = advice("vit_b_16", "cifar100", "sgd")
    assert (found["lr"], found["epochs"], found["train_images"]) == (0.005, 3, 0)
    for model, data, lr in (("glyph_net", "digits", 0.001), ("vit_b_16", "cifar100", 0.0001)):
        assert advice(model, data, "adamw")["lr"] == lr


def test_weights_that_a_network_does_not_have_are_refused_and_not_advised() -> None:
    with pytest.raises(ModelError, match="resnet20 has no pretrained weights"):
        race_config(Settings(model="resnet20"), BOARD, {})
    assert race_config(Settings(model="resnet20", weights="none"), BOARD, {}).model == ModelConfig("resnet20", "none")
    assert advice("resnet20", "digits", "sgd")["weights"] == "none"
    assert advice("resnet18", "digits", "sgd")["weights"] == "pretrained"


def test_nobody_gets_hours_of_a_papers_recipe_without_asking_for_it() -> None:
    assert (advice("resnet50", "cifar100", "sgd")["epochs"], advice("resnet34", "cifar10", "sgd")["epochs"]) == (3, 3)
