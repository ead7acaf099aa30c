"""A step's batch in parts that go through the network one after the other: the same step with less memory."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from multirate_core.training.samples import Inputs


class MicroBatch(NamedTuple):
    """A part of a step's batch: inputs and labels of b samples, and its share b/B of the whole batch."""

    inputs: Inputs
    labels: Tensor
    share: float


def micro_batches(inputs: Inputs, labels: Tensor, size: int) -> list[MicroBatch]:
    """Divide a batch into as few parts as `size` allows, all equally large but for one sample.

    Where `size` is 2, an odd sample joins a pair: BatchNorm may not be able to train on a single one.

    Args:
        inputs: of B samples.
        labels: (B,).
        size: of the largest part, >= 1.
    """
    count = len(labels)
    parts = max(1, count // 2 if size == 2 else -(-count // size))
    if parts == 1:
        return [MicroBatch(inputs, labels, 1.0)]
    pairs = zip(_divided(inputs, parts), labels.tensor_split(parts), strict=True)
    return [MicroBatch(some, their_labels, len(their_labels) / count) for some, their_labels in pairs]


def _divided(inputs: Inputs, parts: int) -> list[Inputs]:
    if isinstance(inputs, Tensor):
        return list(inputs.tensor_split(parts))
    divided = {name: tensor.tensor_split(parts) for name, tensor in inputs.items()}
    return [{name: tensors[part] for name, tensors in divided.items()} for part in range(parts)]
