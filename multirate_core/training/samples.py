"""What a lane trains and is tested on: batches by row number, of images or of texts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

# Images (B, C, H, W), or by name what a text network is called with: "input_ids" and "attention_mask", both (B, L).
Inputs = Tensor | Mapping[str, Tensor]


class Samples(Protocol):
    """One part of a data set."""

    device: torch.device  # on which batches are wanted

    def __len__(self) -> int:
        """Return the number of samples."""

    def place_rows(self, rows: Tensor) -> Tensor:
        """Return row numbers on the device on which `batch` will look them up."""

    def batch(self, rows: Tensor | slice) -> tuple[Inputs, Tensor]:
        """Return inputs and labels (B,) of these rows, both on the device."""

    def values_each(self) -> int:
        """Return how many numbers one sample is, at most."""


def logits(model: nn.Module, inputs: Inputs) -> Tensor:
    """Call a network: images as they are, texts by name; a network's output object gives its logits (B, classes)."""
    output = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    found: Tensor = output if isinstance(output, Tensor) else output.logits
    return found


def device_of(inputs: Inputs) -> torch.device:
    """Return where a batch lies."""
    return _tensors(inputs)[0].device


def shape_of(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of a batch: of its images, or of its token numbers."""
    return tuple(_tensors(inputs)[0].shape)


def layout_of(inputs: Inputs) -> Hashable:
    """Return what a compiled graph depends on in a batch: shapes and memory format."""
    return tuple((tuple(tensor.shape), tensor.stride()) for tensor in _tensors(inputs))


def _tensors(inputs: Inputs) -> list[Tensor]:
    return [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
