"""Random subgroups as regularisation: one hidden layer, few images, many epochs.

Three arms from the same weights on the same batches: SGD; "drop", which sets a random subset of the weights to zero at
every step anew and gives it no gradient there; and random subgroups, where a subset rests for a cycle and then catches
up. `python -m examples.random_subgroups` runs for seconds; `--full --data-path FOLDER` is what is measured.

Source: Vlaar & Leimkuhler, ICML 2022, poster: MNIST, 200 epochs, 98.30 against 98.09 (SGD) and 98.11 (drop).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from examples.paired import Comparison, Options, choose, compared_seeds, told
from multirate_core.data.digits import load_digits_split
from multirate_core.data.sets import data_info
from multirate_core.data.torchvision_sets import read_files
from multirate_core.from_scratch import RandomSubgroupsSGD
from multirate_core.from_scratch.random_subgroups import draw_active

ARMS = ("sgd", "drop", "random_subgroups")
SMALL_CANDIDATES: Mapping[str, Sequence[Options]] = {
    "sgd": [{"lr": 0.2}],
    "drop": [{"lr": 0.2, "fraction": 0.3}],
    "random_subgroups": [{"lr": 0.2, "fraction": 0.3, "period": 2}],
}


@dataclass(frozen=True)
class Images:
    """Rows of pixels, float (N, pixels) with mean 0 and deviation 1, and labels (N,), in three parts."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """How long and how often.

    Args:
        train_images: images to train on, the first of the training part, >= 1.
        validation_images: images to choose settings on, the last of the training part, >= 1.
        hidden: width of the hidden layer.
        batch: images per step.
        epochs: passes over the training images.
        seeds: how many pairs.
        tuning_seeds: how many to choose options by.
        candidates: per arm, of which the best on the validation part is taken; one means no choice.
    """

    train_images: int = 600
    validation_images: int = 300
    hidden: int = 32
    batch: int = 50
    epochs: int = 10
    seeds: int = 2
    tuning_seeds: int = 2
    candidates: Mapping[str, Sequence[Options]] = field(default_factory=lambda: SMALL_CANDIDATES)


FULL = Settings(
    train_images=5000,
    validation_images=10000,
    hidden=100,
    batch=100,
    epochs=40,
    seeds=8,
    candidates={
        "sgd": [{"lr": lr} for lr in (0.03, 0.05, 0.1, 0.2, 0.3, 0.5)],
        "drop": [{"lr": lr, "fraction": fraction} for lr in (0.1, 0.3) for fraction in (0.1, 0.2, 0.3)],
        "random_subgroups": [
            {"lr": lr, "fraction": fraction, "period": period}
            for lr, fraction in ((0.03, 0.2), (0.1, 0.1), (0.1, 0.2))
            for period in (2, 5)
        ],
    },
)


def load_images(settings: Settings, folder: Path | None) -> Images:
    """Return Fashion-MNIST from a folder, or without one the handwritten digits that scikit-learn brings.

    Raises:
        ValueError: the training part is too small for the settings.
    """
    if folder is None:
        digits = load_digits_split(image_size=8)
        images, labels = digits.train_images, digits.train_labels
        test = (digits.test_images, digits.test_labels)
    else:
        raw = read_files(data_info("fashion_mnist"), folder, download=False, say=lambda _: None)
        images, labels, test = raw.train_images, raw.train_labels, (raw.test_images, raw.test_labels)
    first, last = settings.train_images, settings.validation_images
    if first + last > len(images):
        raise ValueError(
            f"{first} + {last} images to train on and to choose on are asked for, {len(images)} are there."
        )
    pixels = images[:first].float()
    mean, deviation = pixels.mean(), pixels.std()

    def rows(part: Tensor) -> Tensor:
        return ((part.float() - mean) / deviation).flatten(1)

    return Images(
        (rows(images[:first]), labels[:first]), (rows(images[-last:]), labels[-last:]), (rows(test[0]), test[1])
    )


@contextmanager
def dropped(model: nn.Module, fraction: float, key: tuple[int, ...]) -> Iterator[None]:
    """Set a random subset of the weight matrices to zero inside the block; afterwards its gradient is zero."""
    weights = [weight for weight in model.parameters() if weight.dim() > 1]
    drawn = [(w, w.detach().clone(), draw_active(w, fraction, (*key, i))) for i, w in enumerate(weights)]
    for weight, _, active in drawn:
        weight.data.mul_(active)
    yield
    for weight, whole, active in drawn:
        weight.data.copy_(whole)
        if weight.grad is not None:
            weight.grad.mul_(active)


def fit(arm: str, options: Options, seed: int, images: Images, settings: Settings) -> dict[str, float]:
    """Train a network of one hidden layer and return its accuracies in percent after the last epoch.

    Equal seeds mean equal first weights and equal batches in every arm.
    """
    x, y = images.train
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(x.shape[1], settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, 10))
    optimizer = make_optimizer(arm, options, model, seed)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(settings.epochs):
        for step, rows in enumerate(torch.randperm(len(x), generator=order).split(settings.batch)):
            optimizer.zero_grad()
            key = (seed, epoch, step)
            with dropped(model, options["fraction"], key) if arm == "drop" else nullcontext():
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with optimizer.restored() if isinstance(optimizer, RandomSubgroupsSGD) else nullcontext():
        return {part: accuracy(model, getattr(images, part)) for part in ("train", "validation", "test")}


def make_optimizer(arm: str, options: Options, model: nn.Module, seed: int) -> torch.optim.Optimizer:
    """Return an arm's optimiser; "drop" is SGD on the gradients that `dropped` leaves."""
    if arm == "random_subgroups":
        return RandomSubgroupsSGD(model.parameters(), seed=seed, **options)
    return torch.optim.SGD(model.parameters(), lr=options["lr"])


@torch.no_grad()
def accuracy(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Return the accuracy in percent."""
    x, y = part
    return 100 * float((model(x).argmax(1) == y).float().mean())


def compare(images: Images, settings: Settings) -> Comparison:
    """Choose every arm's options on the validation part, then train all arms at every seed and test them."""
    torch.set_num_threads(1)  # networks this small lose time to more
    chosen, tuning = choose(
        settings.candidates,
        settings.tuning_seeds,
        lambda arm, options, seed: fit(arm, options, seed, images, settings)["validation"],
    )
    scores = {
        arm: [fit(arm, chosen[arm], seed, images, settings) for seed in compared_seeds(settings.seeds)] for arm in ARMS
    }
    return Comparison(chosen, tuning, scores)


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the comparison that the command line asks for, print it as one line of JSON and return it."""
    parser = argparse.ArgumentParser(prog="python -m examples.random_subgroups", description=__doc__)
    parser.add_argument("--data-path", type=Path, help="folder with FashionMNIST/raw; default: scikit-learn's digits")
    parser.add_argument("--full", action="store_true", help="the settings of docs/measurements.md")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int)
    given = parser.parse_args(words)
    changes = {name: getattr(given, name) for name in ("epochs", "seeds") if getattr(given, name) is not None}
    settings = replace(FULL if given.full else Settings(), **changes)
    comparison = compare(load_images(settings, given.data_path), settings)
    report = {"example": "random_subgroups", "settings": asdict(settings), **tell(comparison)}
    print(json.dumps(report))
    return report


def tell(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain numbers."""
    return told(comparison, "random_subgroups", ("sgd", "drop"), ("test", "train"))


if __name__ == "__main__":
    main()
