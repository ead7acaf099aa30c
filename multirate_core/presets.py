"""Whole recipes by name: network, data, partition, k and training, to start from. No torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from multirate_core.config import BaseRule, Budget, DataConfig, ModelConfig, Recipe
from multirate_core.errors import ConfigError

DEFAULT: Final = "digits"


@dataclass(frozen=True)
class RacePreset:
    """A recipe that single settings can override.

    Args:
        name: as on the command line.
        title: as people read it.
        note: what it shows and what it needs, in words.
        model: network and weights.
        data: images or texts.
        recipe: training, the same for every arm.
        budget: of every arm.
        fast: the partition, a name of `partition.presets.PRESETS`.
        k: period of the slow group.
        adamw_lr: per-step size with the base rule AdamW, whose steps do not depend on the size of the gradients: not
            tuned, but what is usual, torch's default or a tenth of it for large pretrained networks.
        published: the settings of a publication, hours on a GPU: only who names it gets it.
    """

    name: str
    title: str
    note: str
    model: ModelConfig
    data: DataConfig
    recipe: Recipe
    budget: Budget
    fast: str = "head"
    k: int = 5
    adamw_lr: float = 0.001
    published: bool = False

    def recipe_for(self, base: BaseRule) -> Recipe:
        """Return the recipe with another base rule: its usual lr, and no momentum where it has none."""
        if base == self.recipe.base:
            return self.recipe
        return replace(self.recipe, base=base, lr=self.adamw_lr, momentum=Recipe.momentum, nesterov=False)


_RESNET50_NOTE = (
    "The paper's transfer learning (ICML 2022, section 4). Published: network and data, fast fc, SGD with momentum, 50 "
    "epochs, 83.4 % in 4,954 s by multirate, 83.2 % in 9,874 s by SGD. From memory, not verified: k, the momentum's "
    "value, the batch size, and lr 0.001, which may be h or h/k (here: h/k). Inferred from the times: 224 pixels, 9 GB "
    "in memory. Unknown: a schedule of lr (here: none), weight decay (0), augmentation (none), and which ImageNet "
    "weights (here: torchvision's present ones, probably newer)."
)
_RESNET34_NOTE = (
    "The paper's smaller transfer learning, from memory and not verified: network and data, k, momentum, batch size "
    "and lr. No published figures at hand. Epochs and 224 pixels (9 GB in memory) are those of resnet50-cifar100, and "
    "what is unknown there is unknown here."
)
_DISTILBERT_NOTE = (
    "The paper's DistilBERT on SST-2 (ICML 2022, section 4). Published: network and data, fast last block and fc, "
    "89.70 % in 223.9 s by multirate, 89.73 % in 380.2 s by SGD. From memory, not verified: k, the momentum's value, "
    "the batch size, and lr 0.0001, which may be h or h/k (here: h/k). Unknown: the epochs (here: 3), whether it was "
    "trained on whole sentences (here: 6,920 of them) or on GLUE's 67,349 phrases, the tokens per text (128), a "
    "schedule of lr (none) and weight decay (0)."
)

_ALL = (
    RacePreset(
        name="digits",
        title="Handwritten digits",
        note="A small network, pretrained on rendered letters, learns handwritten digits. Needs no download.",
        model=ModelConfig("glyph_net", "pretrained"),
        # Few images, so that there is something to transfer; the numbers were tuned until SGD's lr was its own best of
        # a third, one and three times, and the frozen arm clearly behind: benchmarks/digits.py checks all of it.
        data=DataConfig("digits", train_images=300),
        recipe=Recipe(lr=0.015, momentum=0.9, batch_size=16),
        budget=Budget(epochs=24),
    ),
    RacePreset(
        name="docstrings",
        title="Docstrings",
        note="A small transformer learns which installed package a docstring comes from. Needs no download.",
        model=ModelConfig("doc_net", "pretrained"),
        # Two seeds: SGD 65.3 and 65.0 %, multirate 64.2 and 61.8 %, a frozen body 61.7 % twice. Without the schedule
        # multirate had 60.5 and 60.9 %. At 0.03 SGD is better still, 67.5 %, and multirate falls to 55.0 % (one seed).
        data=DataConfig("docstrings", train_images=1600),
        recipe=Recipe(lr=0.01, momentum=0.9, batch_size=16, schedule="cosine"),
        budget=Budget(epochs=3),
        fast="last_block_head",
    ),
    RacePreset(
        name="fashion",
        title="Fashion-MNIST from scratch",
        note="A ResNet-18 without pretraining learns pictures of clothes. Needs the 31 MB data set.",
        model=ModelConfig("resnet18", "none"),
        data=DataConfig("fashion_mnist"),
        recipe=Recipe(lr=0.003, momentum=0.9, batch_size=64),
        budget=Budget(epochs=1),
        fast="last_block_head",
    ),
    RacePreset(
        name="photos",
        title="A folder of photos",
        note="SqueezeNet with ImageNet weights learns your own classes. Needs a folder of images (--data-path).",
        model=ModelConfig("squeezenet1_1", "pretrained"),
        data=DataConfig("folder"),
        recipe=Recipe(lr=0.001, momentum=0.9, batch_size=16),
        budget=Budget(epochs=5),
        adamw_lr=0.0001,
    ),
    RacePreset(
        name="resnet50-cifar100",
        title="The paper's ResNet-50 on CIFAR-100",
        note=_RESNET50_NOTE,
        model=ModelConfig("resnet50", "pretrained"),
        data=DataConfig("cifar100", image_size=224),
        recipe=Recipe(lr=0.001, momentum=0.9, batch_size=128),
        budget=Budget(epochs=50),
        adamw_lr=0.0001,
        published=True,
    ),
    RacePreset(
        name="resnet34-cifar10",
        title="The paper's ResNet-34 on CIFAR-10",
        note=_RESNET34_NOTE,
        model=ModelConfig("resnet34", "pretrained"),
        data=DataConfig("cifar10", image_size=224),
        recipe=Recipe(lr=0.001, momentum=0.9, batch_size=128),
        budget=Budget(epochs=50),
        adamw_lr=0.0001,
        published=True,
    ),
    RacePreset(
        name="distilbert-sst2",
        title="The paper's DistilBERT on SST-2",
        note=_DISTILBERT_NOTE,
        model=ModelConfig("distilbert", "pretrained"),
        data=DataConfig("sst2"),
        recipe=Recipe(lr=0.0001, momentum=0.9, batch_size=16),
        budget=Budget(epochs=3),
        fast="last_block_head",
        adamw_lr=0.0001,
        published=True,
    ),
)

RACE_PRESETS: Final = MappingProxyType({preset.name: preset for preset in _ALL})


def usual_preset(model: str, data: str) -> RacePreset | None:
    """Return the recipe for a network and a data set where nobody named one; None if there is none."""
    fitting = [each for each in _ALL if (each.model.name, each.data.name) == (model, data) and not each.published]
    return fitting[0] if fitting else None


def race_preset(name: str) -> RacePreset:
    """Return a recipe; ConfigError offers the known names."""
    if name in RACE_PRESETS:
        return RACE_PRESETS[name]
    near = difflib.get_close_matches(name, RACE_PRESETS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise ConfigError(f"unknown preset {name[:80]!r}; allowed: {', '.join(RACE_PRESETS)}{hint}")
