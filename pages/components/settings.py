"""The settings of a race as the page holds them, and the RaceConfig they make. Pure: no streamlit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from multirate_core.checks import require_whole
from multirate_core.config import (
    MAX_SEEDS,
    ArmConfig,
    Augment,
    BaseRule,
    Budget,
    DataConfig,
    Execution,
    Memory,
    ModelConfig,
    PartitionSpec,
    Precision,
    RaceConfig,
    Recipe,
    Schedule,
    Split,
)
from multirate_core.data.catalog import DATASETS
from multirate_core.errors import ConfigError
from multirate_core.models.catalog import OWN_NAME, require_weights
from multirate_core.models.own_sources import as_raced, choices, chosen_name
from multirate_core.presets import DEFAULT, RACE_PRESETS, RacePreset, usual_preset

ARM_KINDS = ("sgd", "multirate", "frozen")
BUDGETS = ("epochs", "seconds")
WEIGHTS = ("pretrained", "none", "file")
TYPED_SOURCES = ("hugging_face", "timm")  # makers of networks whose source is typed on the page
AXES = ("seconds", "steps", "epochs")
BASES = get_args(BaseRule)
SCHEDULES = get_args(Schedule)
PRECISIONS = get_args(Precision)
MEMORIES = get_args(Memory)
SPLITS = get_args(Split)
AUGMENTS = get_args(Augment)

_DEFAULT = RACE_PRESETS[DEFAULT]
# Where no preset knows better: gentle enough for pretrained weights, and short.
_USUAL = RacePreset(
    "", "", "", _DEFAULT.model, DataConfig(), Recipe(lr=0.005, batch_size=32), Budget(epochs=3), adamw_lr=0.0001
)


@dataclass(frozen=True)
class Settings:
    """Everything on the Explore page but the partition and the race; 0 means "the default of model or data"."""

    model: str = _DEFAULT.model.name
    weights: str = "pretrained"
    weights_path: str = ""
    source: str = ""
    data: str = _DEFAULT.data.name
    data_path: str = ""
    image_size: int = 0
    num_classes: int = 0
    train_images: int = _DEFAULT.data.train_images or 0
    test_images: int = _DEFAULT.data.test_images or 0
    bad_images: str = "refuse"
    max_tokens: int = 0
    text_column: str = ""
    label_column: str = ""
    split: str = "own"
    validation_share: float = 0.2
    augment: str = "none"
    download: bool = False
    budget: str = "epochs"
    epochs: int = _DEFAULT.budget.epochs or 20
    seconds: float = 60.0
    lr: float = _DEFAULT.recipe.lr
    momentum: float = _DEFAULT.recipe.momentum
    weight_decay: float = _DEFAULT.recipe.weight_decay
    batch_size: int = _DEFAULT.recipe.batch_size
    base: str = "sgd"
    nesterov: bool = False
    schedule: str = _DEFAULT.recipe.schedule
    warmup: float = _DEFAULT.recipe.warmup
    label_smoothing: float = _DEFAULT.recipe.label_smoothing
    clip_norm: float = _DEFAULT.recipe.clip_norm or 0.0
    decay_norms: bool = _DEFAULT.recipe.decay_norms
    accumulate: int = _DEFAULT.recipe.accumulate
    drift: bool = True
    seeds: int = 1
    arms: tuple[str, ...] = ("sgd", "multirate")
    device: str = "auto"
    threads: int = 0
    precision: str = "float32"
    memory: str = "plain"
    channels_last: bool = False
    compile: bool = False
    axis: str = "seconds"
    metric: str = "accuracy"
    evaluations: int = 20


# Field of Settings -> the label of its number on the page.
LABELS = {
    "image_size": "Image edge in pixels",
    "train_images": "Training samples",
    "test_images": "Test samples",
    "num_classes": "Classes of the head",
    "max_tokens": "Tokens per text",
    "split": "Test part",
    "validation_share": "Share of the test part",
    "augment": "Flips and crops",
    "epochs": "Epochs",
    "seconds": "Seconds",
    "lr": "Learning rate per step",
    "momentum": "Momentum",
    "weight_decay": "Weight decay",
    "batch_size": "Batch size",
    "nesterov": "Nesterov momentum",
    "schedule": "Learning-rate schedule",
    "warmup": "Warm-up, share of the run",
    "label_smoothing": "Label smoothing",
    "clip_norm": "Largest gradient norm",
    "accumulate": "Micro-batches per step",
    "memory": "Memory of multirate",
    "seeds": "Seeds",
    "evaluations": "Tests per run",
    "threads": "CPU threads",
}

# What the field with the place of the data is called, by their source; the others lie in files.
DATA_PLACE = {"hub": "Folder or hub name of the data", "files": "Data folder on the server"}


def in_words_of_the_page(problem: str) -> str:
    """Return an error about a setting with the label that the user sees in the place of the setting's name."""
    name, space, rest = problem.partition(" ")
    return LABELS.get(name, name) + space + rest


def advice(model: str, data: str, base: str) -> dict[str, Any]:
    """Return what is usual for a network, a data set and a base rule, by the names of Settings."""
    known = usual_preset(model, data) or _USUAL
    recipe = _of_recipe(known.recipe_for(base))  # type: ignore[arg-type]  # Recipe checks it
    del recipe["base"], recipe["nesterov"]  # what was chosen, and what the page keeps for SGD
    info = choices()[model]
    recipe["weights"] = "pretrained" if info.pretrained or info.maker == "own" else "none"
    limits = {"train_images": known.data.train_images or 0, "test_images": known.data.test_images or 0}
    return {**recipe, "epochs": known.budget.epochs or 1, **limits}


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe by the names of Settings, with the types that the widgets need."""
    numbers = ("lr", "momentum", "weight_decay", "warmup", "label_smoothing")
    floats = {name: float(getattr(recipe, name)) for name in numbers}
    return {**asdict(recipe), **floats, "clip_norm": float(recipe.clip_norm or 0.0)}


def check(settings: Settings) -> None:
    """Raise ConfigError for the first setting that no race could use; paths are not looked at."""
    _config(settings, (ArmConfig("sgd", "sgd"),))
    Budget(epochs=settings.epochs)  # the page keeps both of them, whichever is used
    Budget(seconds=settings.seconds)
    DataConfig(split="random", validation_share=settings.validation_share)  # kept for when it is asked for


def race_config(settings: Settings, board: PartitionSpec, pinned: Mapping[str, PartitionSpec]) -> RaceConfig:
    """Return the race that the page describes.

    Args:
        settings: the page's settings.
        board: the partition on the board, used by the arms "multirate" and "frozen".
        pinned: further partitions by name; each is one more multirate arm.

    Raises:
        ConfigError: a value is out of range, no arm is chosen, or the weights file is not named.
        ModelError: pretrained weights of a network that has none.
    """
    arms = [ArmConfig(kind, kind, None if kind == "sgd" else board, settings.drift) for kind in settings.arms]
    arms += [ArmConfig(name, "multirate", spec, settings.drift) for name, spec in pinned.items()]
    if not arms:
        raise ConfigError("a race needs at least one arm, got none. Choose one under More settings.")
    if settings.weights == "file" and not settings.weights_path:
        raise ConfigError("the weights are to come from a file, but none is named. Type its path under More settings.")
    require_weights(choices()[settings.model], settings.weights)
    return _config(settings, tuple(arms))


def _config(settings: Settings, arms: tuple[ArmConfig, ...]) -> RaceConfig:
    require_whole("seeds", settings.seeds, 1, MAX_SEEDS)  # before that many are written down
    return RaceConfig(
        arms=arms,
        model=model_config(settings),
        data=data_config(settings),
        recipe=_recipe(settings),
        budget=_budget(settings),
        seeds=tuple(range(settings.seeds)),
        device=settings.device,
        threads=settings.threads or None,
        execution=_execution(settings),
        evaluations=settings.evaluations,
        metric=settings.metric,  # type: ignore[arg-type]  # RaceConfig checks it
    )


def model_config(settings: Settings) -> ModelConfig:
    """Return the network; a source that was typed for another one is not used, and code cannot be typed."""
    weights = settings.weights_path if settings.weights == "file" else settings.weights
    source = settings.source if choices()[settings.model].maker in TYPED_SOURCES else ""
    return as_raced(ModelConfig(settings.model, weights, source))


def from_race(config: RaceConfig) -> Settings:
    """Return the settings that make this race again (the partitions come from its arms)."""
    own = config.model.weights in ("pretrained", "none")
    return Settings(
        model=chosen_name(config.model),
        weights=config.model.weights if own else "file",
        weights_path="" if own else config.model.weights,
        source="" if config.model.name == OWN_NAME else config.model.source,
        data=config.data.name,
        data_path=config.data.path or "",
        image_size=config.data.image_size or 0,
        num_classes=config.data.num_classes or 0,
        train_images=config.data.train_images or 0,
        test_images=config.data.test_images or 0,
        bad_images=config.data.bad_images,
        max_tokens=config.data.max_tokens or 0,
        text_column=config.data.text_column or "",
        label_column=config.data.label_column or "",
        split=config.data.split,
        validation_share=float(config.data.validation_share),
        augment=config.data.augment,
        download=config.data.download,
        budget="seconds" if config.budget.epochs is None else "epochs",
        epochs=config.budget.epochs or Settings.epochs,
        seconds=float(config.budget.seconds or Settings.seconds),
        **_of_recipe(config.recipe),
        drift=all(arm.drift for arm in config.arms),
        seeds=len(config.seeds),
        arms=tuple(arm.kind for arm in config.arms if arm.name == arm.kind),
        device=config.device,
        threads=config.threads or 0,
        precision=config.execution.precision,
        memory=config.execution.memory,
        channels_last=config.execution.channels_last,
        compile=config.execution.compile,
        metric=config.metric,
        evaluations=config.evaluations,
    )


def data_config(settings: Settings) -> DataConfig:
    """Return the data part of the configuration; ConfigError if a value is out of range.

    What the page keeps for other kinds of data is left out.
    """
    info = DATASETS[settings.data]
    table = info.source in ("table", "hub")
    return DataConfig(
        name=settings.data,
        path=settings.data_path or None if info.source != "shipped" else None,
        image_size=settings.image_size or None if info.holds == "images" else None,
        num_classes=settings.num_classes or None,
        train_images=settings.train_images or None,
        test_images=settings.test_images or None,
        bad_images=settings.bad_images,  # type: ignore[arg-type]  # DataConfig checks it
        download=settings.download and info.downloads,
        max_tokens=settings.max_tokens or None if info.holds == "texts" else None,
        text_column=settings.text_column or None if table else None,
        label_column=settings.label_column or None if table else None,
        split=settings.split,  # type: ignore[arg-type]  # DataConfig checks it
        validation_share=settings.validation_share if settings.split == "random" else DataConfig.validation_share,
        augment=settings.augment if info.holds == "images" else "none",  # type: ignore[arg-type]
    )


def _recipe(settings: Settings) -> Recipe:
    """Return the recipe; momentum and Nesterov are fields of SGD, which the page hides and keeps for AdamW."""
    own = {item.name: getattr(settings, item.name) for item in fields(Recipe)}
    if settings.base != "sgd":
        own.update(momentum=Recipe.momentum, nesterov=False)
    own["clip_norm"] = settings.clip_norm or None
    return Recipe(**own)


def _execution(settings: Settings) -> Execution:
    precision: Any = settings.precision  # Execution checks both
    memory: Any = settings.memory
    channels_last = settings.channels_last and DATASETS[settings.data].holds == "images"
    return Execution(precision, channels_last, settings.compile, memory)


def _budget(settings: Settings) -> Budget:
    if settings.budget == "seconds":
        return Budget(seconds=settings.seconds)
    return Budget(epochs=settings.epochs)
