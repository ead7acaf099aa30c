"""Two copies, two rates: images with a patch that gives the class away, learned with a small and a large step at once.

Every class has a patch of its own. Of the training images 20 % have none, 16 % are nothing but the patch, 64 % have
both. Small steps learn the patch and overlook what is around it; large ones do the reverse. Four arms from the same
weights on the same batches: SGD with h, SGD with k·h, two copies with h and k·h, and SGD with the one rate that is best
for it. `python -m examples.two_copies` runs for seconds; `--full --data-path FOLDER` is what is measured.

Source: Vlaar & Leimkuhler, ICML 2022, poster: WideResNet-16, 50 epochs, k = 25, clean / augmented / patch-only %:
h = .004 69.3/92.9/98.9; h = .1 71.7/63.9/26.7; both 76.5/92.7/97.3. The patches: after Li, Wei and Ma, NeurIPS 2019
(arXiv 1907.04595), whose exact ones are not reproduced.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from examples.paired import Comparison, Options, choose, compared_seeds, told
from multirate_core.data.digits import load_digits_split
from multirate_core.data.sets import data_info
from multirate_core.data.torchvision_sets import read_files
from multirate_core.from_scratch import TwoCopiesSGD

ARMS = ("sgd_small", "sgd_large", "two_copies", "sgd_best")
PARTS = ("clean", "augmented", "patch_only")
WITHOUT_PATCH, ONLY_PATCH = 0.20, 0.16
PATCH = 7  # pixels
DATA_SEED = 0  # of the patches and of which image gets one: the same for all arms and seeds

SMALL_CANDIDATES: Mapping[str, Sequence[Options]] = {
    "two_copies": [{"lr": 0.05, "period": 5}],
    "sgd_best": [{"lr": 0.05}],
}

Part = tuple[Tensor, Tensor]  # images float (N, C, 32, 32), labels (N,)


@dataclass(frozen=True)
class Images:
    """A mixed training part, and validation and test parts, each clean, with the patch, and with nothing else."""

    train: Part
    validation: Mapping[str, Part]
    test: Mapping[str, Part]


@dataclass(frozen=True)
class Settings:
    """How long, how often and how hard.

    Args:
        train_images: images to train on, the first of the training part.
        validation_images: images to choose rates on, the last of the training part.
        width: channels of the first convolution; the third has four times as many.
        batch: images per step.
        epochs: passes over the training images.
        seeds: how many pairs.
        spread: how much the two forms of a class's patch differ, in deviations of the pixels.
        tuning_seeds: how many to choose options by.
        candidates: of `two_copies` (h and k) and `sgd_best` (one rate), as many for one as for the other.
    """

    train_images: int = 600
    validation_images: int = 300
    width: int = 4
    batch: int = 50
    epochs: int = 2
    seeds: int = 2
    spread: float = 0.2
    tuning_seeds: int = 1
    candidates: Mapping[str, Sequence[Options]] = field(default_factory=lambda: SMALL_CANDIDATES)


FULL = Settings(
    train_images=4000,
    validation_images=2000,
    width=8,
    batch=32,
    epochs=20,
    seeds=5,
    candidates={
        "two_copies": [{"lr": lr, "period": period} for lr in (0.1, 0.3) for period in (5, 25)],
        "sgd_best": [{"lr": lr} for lr in (0.05, 0.1, 0.3, 1.0)],
    },
)


def load_images(settings: Settings, folder: Path | None) -> Images:
    """Return patched CIFAR-10 from a folder, or without one patched digits (grey) that scikit-learn brings.

    Raises:
        ValueError: the training part is too small for the settings.
    """
    raw = read_files(data_info("cifar10"), folder, False, lambda _: None) if folder else load_digits_split()
    images, labels, first, last = raw.train_images, raw.train_labels, settings.train_images, settings.validation_images
    if first + last > len(images):
        raise ValueError(
            f"{first} + {last} images to train on and to choose on are asked for, {len(images)} are there."
        )
    pixels = images[:first].float()
    mean, deviation = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    random = torch.Generator().manual_seed(DATA_SEED)
    patches = draw_patches(images.shape[1], settings.spread, random)
    train = ((images[:first].float() - mean) / deviation, labels[:first])

    def parts(some: Tensor, their_labels: Tensor) -> dict[str, Part]:
        clean = (some.float() - mean) / deviation
        empty = torch.zeros_like(clean)
        shown = {"clean": clean, "augmented": patched(clean, their_labels, patches, random)}
        shown["patch_only"] = patched(empty, their_labels, patches, random)
        return {name: (x, their_labels) for name, x in shown.items()}

    return Images(
        (mixed(*train, patches, random), train[1]),
        parts(images[-last:], labels[-last:]),
        parts(raw.test_images, raw.test_labels),
    )


def draw_patches(channels: int, spread: float, random: torch.Generator) -> Tensor:
    """Return two forms of a patch for each of ten classes, (10, 2, C, 7, 7), in deviations of the pixels.

    The two forms z ± s·ζ have the same mean in all classes, so that no linear map of the pixels can tell the classes.
    """
    centre = torch.randn(1, 1, channels, PATCH, PATCH, generator=random).expand(10, -1, -1, -1, -1)
    offset = torch.randn(10, 1, channels, PATCH, PATCH, generator=random)
    return torch.cat([centre + spread * offset, centre - spread * offset], dim=1)


def patched(images: Tensor, labels: Tensor, patches: Tensor, random: torch.Generator) -> Tensor:
    """Return the images with one of the two forms of their class's patch in the middle."""
    form = torch.randint(2, labels.shape, generator=random)
    begin = (images.shape[-1] - PATCH) // 2
    result = images.clone()
    result[..., begin : begin + PATCH, begin : begin + PATCH] = patches[labels, form]
    return result


def mixed(images: Tensor, labels: Tensor, patches: Tensor, random: torch.Generator) -> Tensor:
    """Return the training images: a fifth as they are, some with nothing but the patch, the others with both."""
    kind = torch.rand(labels.shape, generator=random)
    only = (kind >= WITHOUT_PATCH) & (kind < WITHOUT_PATCH + ONLY_PATCH)
    background = torch.where(only.view(-1, 1, 1, 1), torch.zeros_like(images), images)
    with_patch = patched(background, labels, patches, random)
    return torch.where((kind < WITHOUT_PATCH).view(-1, 1, 1, 1), images, with_patch)


def make_net(channels: int, width: int) -> nn.Sequential:
    """Return three convolutions with BatchNorm, each halving the image, and a linear head."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


def fit(arm: str, options: Options, seed: int, images: Images, settings: Settings) -> dict[str, float]:
    """Train a network and return its accuracies in percent on all parts after the last epoch.

    Equal seeds mean equal first weights and equal batches. Before the test BatchNorm's statistics are computed anew,
    in every arm alike: those that `two_copies` gathered belong to its fast copy.
    """
    x, y = images.train
    torch.manual_seed(seed)
    model = make_net(x.shape[1], settings.width)
    optimizer: torch.optim.Optimizer
    if arm == "two_copies":
        optimizer = TwoCopiesSGD(model.parameters(), **options)
    else:
        optimizer = torch.optim.SGD(model.parameters(), **options)
    order = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(x), generator=order).split(settings.batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with optimizer.averaged() if isinstance(optimizer, TwoCopiesSGD) else nullcontext():
        update_bn(x[torch.randperm(len(x), generator=order)].split(500), model)
        model.eval()
        of = {"validation": images.validation, "test": images.test}
        return {f"{split} {name}": accuracy(model, part) for split, parts in of.items() for name, part in parts.items()}


@torch.no_grad()
def accuracy(model: nn.Module, part: Part) -> float:
    """Return the accuracy in percent."""
    right = [(model(x).argmax(1) == y).sum() for x, y in zip(part[0].split(500), part[1].split(500), strict=True)]
    return 100 * float(torch.stack(right).sum()) / len(part[1])


def compare(images: Images, settings: Settings) -> Comparison:
    """Choose h and k, and the best single rate, on the validation part; then train and test all arms at every seed.

    Both are chosen among equally many, for the mean of the three accuracies. The other two arms have no choice: SGD
    with the chosen h, and with k·h.
    """
    torch.set_num_threads(1)  # networks this small lose time to more

    def validate(arm: str, options: Options, seed: int) -> float:
        found = fit(arm, options, seed, images, settings)
        return statistics.fmean(found[f"validation {name}"] for name in PARTS)

    chosen, tuning = choose(settings.candidates, settings.tuning_seeds, validate)
    small = chosen["two_copies"]["lr"]
    chosen = {"sgd_small": {"lr": small}, "sgd_large": {"lr": small * chosen["two_copies"]["period"]}, **chosen}
    scores = {
        arm: [_tested(fit(arm, chosen[arm], seed, images, settings)) for seed in compared_seeds(settings.seeds)]
        for arm in ARMS
    }
    return Comparison(chosen, tuning, scores)


def _tested(found: Mapping[str, float]) -> dict[str, float]:
    """Return the accuracies on the test parts, and their mean."""
    parts = {name: found[f"test {name}"] for name in PARTS}
    return {**parts, "mean": statistics.fmean(parts.values())}


def tell(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain numbers."""
    others = tuple(arm for arm in ARMS if arm != "two_copies")
    return told(comparison, "two_copies", others, (*PARTS, "mean"))


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the comparison that the command line asks for, print it as one line of JSON and return it."""
    parser = argparse.ArgumentParser(prog="python -m examples.two_copies", description=__doc__)
    parser.add_argument(
        "--data-path", type=Path, help="folder with cifar-10-batches-py; default: scikit-learn's digits"
    )
    parser.add_argument("--full", action="store_true", help="the settings of docs/measurements.md")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int)
    given = parser.parse_args(words)
    changes = {name: getattr(given, name) for name in ("epochs", "seeds") if getattr(given, name) is not None}
    settings = replace(FULL if given.full else Settings(), **changes)
    comparison = compare(load_images(settings, given.data_path), settings)
    report = {"example": "two_copies", "settings": asdict(settings), **tell(comparison)}
    print(json.dumps(report))
    return report


if __name__ == "__main__":
    main()
