"""What a race is: frozen dataclasses, checked when they are made (JSON form: `config_json`).

The same objects come from the page, the command line and the store. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from multirate_core.checks import require_choice, require_number, require_period, require_text, require_whole
from multirate_core.errors import ConfigError
from multirate_core.metrics import Metric as Metric
from multirate_core.recipe import BASE_TITLES as BASE_TITLES  # "as": for everybody who imports it from here
from multirate_core.recipe import MAX_FACTOR as MAX_FACTOR
from multirate_core.recipe import BaseRule as BaseRule
from multirate_core.recipe import Execution as Execution
from multirate_core.recipe import Memory as Memory
from multirate_core.recipe import Precision as Precision
from multirate_core.recipe import Recipe as Recipe
from multirate_core.recipe import Schedule as Schedule

CONFIG_VERSION = 1
MAX_SEEDS = 100
MAX_ARMS = 12
MAX_LR_FACTOR = 100.0  # of a group: more times lr than that is another recipe
MAX_PHASES = 20

ArmKind = Literal["sgd", "multirate", "frozen"]
BadImages = Literal["refuse", "skip"]
Split = Literal["own", "random"]
Augment = Literal["none", "flip", "crop_flip"]


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and which weights it starts from.

    Args:
        name: a name of `multirate_core.models.catalog`.
        weights: "pretrained" (the model's published or shipped weights), "none" (random), or the path of a local
            state dict (`.pth`, `.pt`, `.th` or `.safetensors`).
        source: of a network from Hugging Face: a local folder or a name on the hub, "" for the catalog's own; of one
            from timm: its name there; of one of the user's own: "file.py:function" or "package.module:function". Other
            networks have none.
    """

    name: str = "glyph_net"
    weights: str = "pretrained"
    source: str = ""

    def __post_init__(self) -> None:
        require_text("the model's source", self.source)


@dataclass(frozen=True)
class DataConfig:
    """Which images or texts, and how they are read.

    Args:
        name: a name of `multirate_core.data.catalog`; "folder" reads an image folder, "table" a table of texts, "hub" a
            text set of Hugging Face's.
        path: where the files lie: the folder of class folders (with or without `train` and `val`), the root that
            torchvision's loader expects, a table or the folder of a text set; for "hub" also owner/name or
            owner/name:configuration on the hub. None for data that ships with a dependency, or the default download
            folder.
        image_size: edge in pixels to which images are resized; None takes the data's own size.
        num_classes: size of the new head; None takes the data's own number of classes, a larger one is allowed.
        train_images: use only so many training images or texts, drawn per class by the race's first seed; None takes
            all.
        test_images: test on only so many, drawn per class by the race's first seed; None takes all.
        bad_images: "refuse" stops at the first unreadable image or row of a table, "skip" leaves it out and says so.
        download: fetch the files if they are missing.
        max_tokens: texts are cut after so many tokens; None takes 128, or the network's own limit if that is lower.
        text_column, label_column: of a table or of hub data, by name or by place from 1; None finds them.
        split: what is tested on: "own" (the set's own test part, or a fifth of every class where it has none), or
            "random" (a share of every class of the training images or texts, drawn by the race's first seed; the set's
            own test part is left out).
        validation_share: of the random split, 0.05 to 0.5.
        augment: of training images, drawn anew for every one in every epoch: "none", "flip" (half of them mirrored), or
            "crop_flip" (also moved by up to an eighth of the edge in a black border).
    """

    name: str = "digits"
    path: str | None = None
    image_size: int | None = None
    num_classes: int | None = None
    train_images: int | None = None
    test_images: int | None = None
    bad_images: BadImages = "refuse"
    download: bool = False
    max_tokens: int | None = None
    text_column: str | None = None
    label_column: str | None = None
    split: Split = "own"
    validation_share: float = 0.2
    augment: Augment = "none"

    def __post_init__(self) -> None:
        limits = {
            "image_size": (8, 1024),
            "num_classes": (2, 100_000),
            "train_images": (2, 10**9),
            "test_images": (2, 10**9),
            "max_tokens": (4, 8192),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None:
                require_whole(name, value, low, high)
        require_choice("bad_images", self.bad_images, get_args(BadImages))
        require_choice("split", self.split, get_args(Split))
        require_choice("augment", self.augment, get_args(Augment))
        require_number("validation_share", self.validation_share, least=0.05, most=0.5)
        if self.split == "own" and self.validation_share != DataConfig.validation_share:
            raise ConfigError("a validation_share belongs to split 'random', got 'own'. Give both or neither.")

    @property
    def random_share(self) -> float | None:
        """The share of the training samples that becomes the test part; None if that is the set's own."""
        return self.validation_share if self.split == "random" else None


@dataclass(frozen=True)
class Budget:
    """How long every arm trains: whole epochs or training seconds, exactly one of the two."""

    epochs: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.seconds is None):
            raise ConfigError(
                f"the budget needs either epochs or seconds, got epochs={self.epochs} and seconds={self.seconds}. "
                "Give exactly one of them."
            )
        if self.epochs is not None:
            require_whole("epochs", self.epochs, 1, 100_000)
        if self.seconds is not None:
            require_number("seconds", self.seconds, above=0.0, most=30 * 24 * 3600.0)


@dataclass(frozen=True)
class GroupSpec:
    """A group of parameters and its rates.

    Args:
        name: 1 to 40 characters.
        period: in steps; 1 = updated with a fresh gradient at every step.
        lr_factor: the group's lr is so many times the recipe's; > 0 and <= 100.
        phases: (epochs, period) pairs that come before the group's own period, at most 20; none for a group of
            period 1, which is due at every step anyway.
    """

    name: str
    period: int
    lr_factor: float = 1.0
    phases: tuple[tuple[float, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 40:
            raise ConfigError(f"a group's name has 1 to 40 characters, got {self.name!r}. Choose another name.")
        require_text("a group's name", self.name)
        require_period(self.period)
        require_number(f"lr_factor of group {self.name!r}", self.lr_factor, above=0.0, most=MAX_LR_FACTOR)
        self._require_phases()

    def _require_phases(self) -> None:
        of_group = f"of group {self.name!r}"
        if not isinstance(self.phases, tuple) or len(self.phases) > MAX_PHASES:
            raise ConfigError(f"the phases {of_group} are at most {MAX_PHASES} pairs, got {self.phases!r:.80}.")
        for phase in self.phases:
            if not isinstance(phase, tuple) or len(phase) != 2:
                raise ConfigError(f"a phase {of_group} must be (epochs, period), got {phase!r}. Use pairs like (2, 1).")
            require_number(f"the epochs of a phase {of_group}", phase[0], above=0.0, most=100_000.0)
            require_whole(f"the period of a phase {of_group}", phase[1], 1, 1_000_000)
        if self.phases and self.period == 1:
            raise ConfigError(
                f"the group {self.name!r} has period 1 and a schedule for it, but it is due at every step anyway. "
                "Remove the schedule, or give the group a period > 1."
            )


@dataclass(frozen=True)
class Rule:
    """Parameters whose name matches `pattern` go to `group`; the first rule that matches wins."""

    pattern: str
    group: str

    def __post_init__(self) -> None:
        require_text("a pattern", self.pattern)
        require_text("a pattern's group", self.group)


@dataclass(frozen=True)
class PartitionSpec:
    """A partition as it is written down: groups and ordered rules. `multirate_core.partition` resolves it on a model.

    Args:
        groups: in the order in which they are shown; at least one has period 1.
        rules: ordered; globs on parameter names (`*` crosses dots), a module path means all below it.
        model: name of the model it was made for ("" if for any).
        fingerprint: of that model's parameter names ("" if for any).
    """

    groups: tuple[GroupSpec, ...]
    rules: tuple[Rule, ...]
    model: str = ""
    fingerprint: str = ""

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if not names or len(names) > 36 or len(set(names)) != len(names):
            raise ConfigError(
                f"a partition has 1 to 36 groups with different names, got {names}. Rename or remove some."
            )
        if not any(group.period == 1 for group in self.groups):
            periods = {group.name: group.period for group in self.groups}
            raise ConfigError(
                f"no group has period 1, got {periods}: on some steps nothing would be due. Set one period to 1."
            )
        require_text("a partition's model", self.model)
        require_text("a partition's fingerprint", self.fingerprint)
        for rule in self.rules:
            if rule.group not in names:
                raise ConfigError(f"the pattern {rule.pattern!r} names the group {rule.group!r}; allowed: {names}.")


@dataclass(frozen=True)
class ArmConfig:
    """One line of the race.

    Args:
        name: unique in the race, 1 to 60 characters; shown in the legend. The name of a kind is kept for that kind.
        kind: "sgd" (all parameters at every step), "multirate" (Algorithm 1), "frozen" (only groups of period 1 train).
        partition: needed by "multirate" and "frozen", not allowed for "sgd".
        drift: linear drift of the slow groups; only "multirate" looks at it.
    """

    name: str
    kind: ArmKind
    partition: PartitionSpec | None = None
    drift: bool = True

    def __post_init__(self) -> None:
        require_choice("the arm's kind", self.kind, get_args(ArmKind))
        if not self.name or len(self.name) > 60:
            raise ConfigError(f"an arm's name has 1 to 60 characters, got {self.name!r}. Choose another name.")
        if self.name in get_args(ArmKind) and self.name != self.kind:  # results compare with the arm of the name "sgd"
            raise ConfigError(f"only an arm of kind {self.name!r} may have that name, got {self.kind!r}. Rename it.")
        if (self.partition is None) != (self.kind == "sgd"):
            wanted = "no partition" if self.kind == "sgd" else "a partition"
            raise ConfigError(
                f"the arm {self.name!r} of kind {self.kind!r} needs {wanted}. Change its kind or partition."
            )


@dataclass(frozen=True)
class RaceConfig:
    """A whole comparison, frozen when it is submitted.

    Args:
        arms: at least one, with different names; all share weights, data order and recipe.
        seeds: run one after the other, every arm once per seed.
        device: "auto" (CUDA, then MPS, then CPU), "cpu", "mps", "cuda" or "cuda:N".
        threads: CPU threads of the worker; None takes max(1, cores - 1).
        execution: precision, memory format, compiler and memory, the same for all arms.
        metric: what the race is judged by: targets, answers and plots; every evaluation has them all.
        evaluations: how often an arm is tested during its training, at about equal distances of its seconds; it is also
            tested before the first step and after every epoch. Testing is no training time, but it takes time.
        record_steps: False keeps evaluations only (used to measure what recording costs).
    """

    arms: tuple[ArmConfig, ...]
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: Recipe = field(default_factory=Recipe)
    budget: Budget = field(default_factory=lambda: Budget(epochs=5))
    seeds: tuple[int, ...] = (0,)
    device: str = "auto"
    threads: int | None = None
    record_steps: bool = True
    version: int = CONFIG_VERSION
    execution: Execution = field(default_factory=Execution)
    metric: Metric = "accuracy"
    evaluations: int = 20

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not 1 <= len(names) <= MAX_ARMS or len(set(names)) != len(names):
            raise ConfigError(
                f"a race has 1 to {MAX_ARMS} arms with different names, got {names}. Rename or remove some."
            )
        if len({self.title(name) for name in names}) != len(names):
            raise ConfigError("with the base adamw no other arm may be called 'adamw', like the plain one. Rename it.")
        if not 1 <= len(self.seeds) <= MAX_SEEDS or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"a race has 1 to {MAX_SEEDS} different seeds, got {list(self.seeds)}.")
        for seed in self.seeds:
            require_whole("seed", seed, 0, 2**31 - 1)
        if self.threads is not None:
            require_whole("threads", self.threads, 1, 1024)
        require_whole("evaluations", self.evaluations, 1, 1000)
        require_choice("metric", self.metric, get_args(Metric))
        base, _, index = self.device.partition(":")
        if base not in ("auto", "cpu", "mps", "cuda") or (index and not (base == "cuda" and index.isdigit())):
            raise ConfigError(f"unknown device {self.device!r}; allowed: auto, cpu, mps, cuda, cuda:0, cuda:1, …")
        if self.version != CONFIG_VERSION:
            raise ConfigError(f"the configuration has version {self.version}, this program reads {CONFIG_VERSION}.")

    @property
    def lanes(self) -> tuple[tuple[int, str], ...]:
        """Every (seed, arm name), in the order in which lanes are numbered."""
        return tuple((seed, arm.name) for seed in self.seeds for arm in self.arms)

    def title(self, arm: str) -> str:
        """Return what people read for an arm: its name, but that of the plain arm says which base rule it is."""
        return self.recipe.base if arm == "sgd" else arm
