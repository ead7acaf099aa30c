"""The target task of the offline default pair: the handwritten digits that ship inside scikit-learn.

1,797 images of 8 × 8 pixels with 17 grey levels, ten classes (the test part of the UCI set "Optical Recognition
of Handwritten Digits"), enlarged to the size the network takes. No download.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from multirate_core.home import subfolder

if TYPE_CHECKING:
    from torch import Tensor

Numbers = NDArray[Any]

TEST_COUNT: Final = 600  # one point of test accuracy is 6 images
CLASS_NAMES: Final = tuple("0123456789")


@dataclass(frozen=True)
class DigitsSplit:
    """Training and test images with their labels; images uint8 (N, 1, H, W), labels int64 (N,)."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]


def load_digits_split(seed: int = 0, image_size: int = 32, test_count: int = TEST_COUNT) -> DigitsSplit:
    """Load the digits, enlarge them and split them, each class in the same proportion on both sides.

    Args:
        seed: of the split, default 0; a race over several seeds keeps one split and varies weights and order.
        image_size: height and width in pixels, ≥ 8, default 32.
        test_count: number of test images, 10 to 1,787, default 600; the rest is for training.

    Returns:
        The split. The same arguments give the same tensors.
    """
    import torch

    drawn = _drawn(seed, test_count)
    images = _enlarge(torch.from_numpy(drawn["images"]).float().unsqueeze(1) / 16, image_size)
    labels = torch.from_numpy(drawn["labels"])
    train, test = (torch.from_numpy(drawn[part]) for part in ("train", "test"))
    return DigitsSplit(images[train], labels[train], images[test], labels[test], CLASS_NAMES)


def _drawn(seed: int, test_count: int) -> dict[str, Numbers]:
    """Return images, labels and the rows of both parts; kept in a file, since importing scikit-learn takes a second."""
    file = subfolder("data") / f"digits-{version('scikit-learn')}-{seed}-{test_count}.npz"
    try:
        with file.open("rb") as stream, np.load(stream) as kept:
            return {name: kept[name] for name in ("images", "labels", "train", "test")}
    except (OSError, ValueError, KeyError, BadZipFile):  # not there, or damaged
        drawn = _draw(seed, test_count)
    with contextlib.suppress(OSError):
        _keep(file, drawn)
    return drawn


def _draw(seed: int, test_count: int) -> dict[str, Numbers]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw, targets = load_digits(return_X_y=True)
    train, test = train_test_split(range(len(targets)), test_size=test_count, random_state=seed, stratify=targets)
    images = raw.reshape(-1, 8, 8).astype(np.uint8)
    rows = {"train": np.array(train, np.int64), "test": np.array(test, np.int64)}
    return {"images": images, "labels": targets.astype(np.int64), **rows}


def _keep(file: Path, drawn: dict[str, Numbers]) -> None:
    """Write the file under another name first: several workers may want it at once."""
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz", delete=False) as part:
        np.savez(part, **drawn)  # type: ignore[arg-type]  # the stubs take the names for options
    Path(part.name).replace(file)


def _enlarge(images: Tensor, image_size: int) -> Tensor:
    """Turn float images in [0, 1] into uint8 of the asked size by bilinear interpolation."""
    import torch
    from torch.nn import functional

    size = (image_size, image_size)
    large = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return (large * 255).round().to(torch.uint8)
