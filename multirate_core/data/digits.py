"""The target task of the offline default pair: the handwritten digits that ship inside scikit-learn.

1,797 images of 8 × 8 pixels with 17 grey levels, ten classes (the test part of the UCI set "Optical Recognition
of Handwritten Digits"), enlarged to the size the network takes. No download.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

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
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw, targets = load_digits(return_X_y=True)
    images = _enlarge(torch.from_numpy(raw).float().reshape(-1, 1, 8, 8) / 16, image_size)
    labels = torch.from_numpy(targets).long()
    rows = range(len(labels))
    train, test = train_test_split(rows, test_size=test_count, random_state=seed, stratify=targets)
    return DigitsSplit(images[train], labels[train], images[test], labels[test], CLASS_NAMES)


def _enlarge(images: Tensor, image_size: int) -> Tensor:
    """Turn float images in [0, 1] into uint8 of the asked size by bilinear interpolation."""
    import torch
    from torch.nn import functional

    size = (image_size, image_size)
    large = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return (large * 255).round().to(torch.uint8)
