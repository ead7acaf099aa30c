"""The network that is measured: on its device, in train mode, with one batch like those of a race."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.config import Recipe
from multirate_core.training.forward import Forward
from multirate_core.training.micro_batches import micro_batches
from multirate_core.training.samples import Inputs, device_of


@dataclass(eq=False)
class Subject:
    """What is measured.

    Args:
        forward: calls the network, which is in train mode.
        inputs, labels: one whole batch, on the device.
        recipe: how a step is taken.
    """

    forward: Forward
    inputs: Inputs
    labels: Tensor
    recipe: Recipe

    def __post_init__(self) -> None:
        self.trainable = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        parts = micro_batches(self.inputs, self.labels, self.recipe.micro_batch_size)
        self.passes = len(parts)  # how often a step goes through the network
        self._inputs, self._labels = parts[0].inputs, parts[0].labels

    @property
    def model(self) -> nn.Module:
        """The network itself."""
        return self.forward.model

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return device_of(self.inputs)

    def loss(self) -> Tensor:
        """Return the training loss of the first micro-batch, ready for its backward pass."""
        with self.forward.computing(self.device):
            return functional.cross_entropy(
                self.forward(self._inputs), self._labels, label_smoothing=self.recipe.label_smoothing
            )

    @contextmanager
    def all_due(self) -> Iterator[None]:
        """Let every trainable parameter need a gradient inside the `with` block, and have none before and after."""
        for weight in self.trainable.values():
            weight.requires_grad_(True)
            weight.grad = None
        try:
            yield
        finally:
            for weight in self.trainable.values():
                weight.grad = None
