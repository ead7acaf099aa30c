"""Images in memory, and what every loader does to them: a limit per class, channels, size, a look at the memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from multirate_core.data.folder_scan import rows_by_label
from multirate_core.data.room import MEMORY_SHARE, fits_memory
from multirate_core.errors import DataError
from multirate_core.machine import available_memory

_CHUNK: Final = 2048  # images that are resized at once, as floating-point numbers
# Weights of red, green and blue in the brightness (ITU-R BT.601), as in every image library.
_GREY: Final = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class DataSplit:
    """Images and labels, ready to be normalised.

    Args:
        train_images, test_images: uint8 (N, C, H, W).
        train_labels, test_labels: int64 (N,), places in `class_names`.
        class_names: of the data; the head may be larger.
        notes: what a reader of the results should know about the data.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def limited_rows(labels: Sequence[int], count: int | None, seed: int, setting: str = "train_images") -> list[int]:
    """Choose `count` rows, every class in about its own proportion and with at least one row.

    Args:
        labels: one per row.
        count: None, or a number that reaches the number of rows, takes all.
        seed: the same seed gives the same rows.
        setting: which one asks for them, for the error.

    Returns:
        Row numbers in rising order.

    Raises:
        DataError: fewer rows asked for than there are classes.
    """
    if count is None or count >= len(labels):
        return list(range(len(labels)))
    sizes = Counter(labels)
    if count < len(sizes):
        raise DataError(f"{setting} must be at least {len(sizes)}, one per class, got {count}.")
    shares = {label: count * size / len(labels) for label, size in sorted(sizes.items())}
    quotas = {label: max(1, int(share)) for label, share in shares.items()}
    by_rest = sorted(shares, key=lambda label: int(shares[label]) - shares[label])  # the largest rest first
    place = 0
    while sum(quotas.values()) < count:
        label = by_rest[place % len(by_rest)]
        quotas[label] += quotas[label] < sizes[label]
        place += 1
    while sum(quotas.values()) > count:  # classes that had less than one row's share took it from others
        quotas[max(quotas, key=lambda label: quotas[label])] -= 1
    shuffled = random.Random(seed)
    members = rows_by_label(labels)
    return sorted(row for label, quota in quotas.items() for row in shuffled.sample(members[label], quota))


def require_memory(images: int, channels: int, image_size: int) -> None:
    """Raise DataError if so many uint8 images would take more than MEMORY_SHARE of the available memory."""
    if not fits_memory(images, channels, image_size):
        needed = images * channels * image_size**2
        available = available_memory()
        raise DataError(
            f"{images:,} images of {channels}×{image_size}×{image_size} need {needed / 2**30:.1f} GiB, more than "
            f"{MEMORY_SHARE:.0%} of the {available / 2**30:.1f} GiB that are available. Choose a smaller image size, "
            "or fewer images with train_images."
        )


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Return uint8 images (N, C, H, W) with 1 or 3 channels: grey is repeated, colour is mixed to its brightness."""
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.repeat(1, channels, 1, 1)
    weights = torch.tensor(_GREY).view(1, 3, 1, 1)
    chunks = [(chunk * weights).sum(1, keepdim=True).round().to(torch.uint8) for chunk in _chunks(images)]
    return torch.cat(chunks)


def with_size(images: Tensor, image_size: int) -> Tensor:
    """Return square uint8 images (N, C, H, W) with another edge in pixels.

    Up to 4 pixels more become a black border, which leaves every pixel as it was; anything else is interpolated.
    """
    size = images.shape[-1]
    border = image_size - size
    if border == 0:
        return images
    if 0 < border <= 4:
        first = border // 2
        return functional.pad(images, (first, border - first, first, border - first))
    return torch.cat([_interpolated(chunk, image_size) for chunk in _chunks(images)])


def _chunks(images: Tensor) -> list[Tensor]:
    return [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]


def _interpolated(images: Tensor, image_size: int) -> Tensor:
    size = (image_size, image_size)
    scaled = functional.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)
