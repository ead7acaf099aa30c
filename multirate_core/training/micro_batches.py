"""A step's batch in parts that go through the network one after the other: the same step with less memory."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MicroBatch(NamedTuple):
    """A part of a step's batch: images (b, C, H, W), labels (b,), and its share b/B of the whole batch."""

    images: Tensor
    labels: Tensor
    share: float


def micro_batches(images: Tensor, labels: Tensor, size: int) -> list[MicroBatch]:
    """Divide a batch into as few parts as `size` allows, all equally large but for one image.

    Where `size` is 2, an odd image joins a pair: BatchNorm may not be able to train on a single one.

    Args:
        images: (B, C, H, W).
        labels: (B,).
        size: of the largest part, >= 1.
    """
    count = len(labels)
    parts = max(1, count // 2 if size == 2 else -(-count // size))
    if parts == 1:
        return [MicroBatch(images, labels, 1.0)]
    pairs = zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
    return [MicroBatch(some, their_labels, len(their_labels) / count) for some, their_labels in pairs]
