"""Batches of one lane: every seed's order is the same for all arms; images are moved and normalised on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from multirate_core.config import Augment
from multirate_core.training.augmentation import Moves, draw_moves, moved, moves_generator
from multirate_core.training.samples import Inputs, Samples

SHARE_OF_FREE_MEMORY = 0.4  # of an accelerator: what a data set may take; the rest is for models and activations


class Images:
    """One part of a data set, on the device if it fits there.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        mean: per channel, in units of the full range [0, 1].
        std: per channel, > 0.
        device: where batches are wanted.
        channels_last: batches have the channels innermost in memory.
        augment: what a training order does to the images at random; `batch` alone does nothing.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        channels_last: bool = False,
        augment: Augment = "none",
    ) -> None:
        self.device = device
        self.augment = augment
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.resident = device.type == "cpu" or images.nbytes + labels.nbytes <= _room(device)
        self._images = images.to(device) if self.resident else images
        self._labels = labels.to(device) if self.resident else labels
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(std, device=device).view(1, -1, 1, 1)

    def __len__(self) -> int:
        return len(self._labels)

    def place_rows(self, rows: Tensor) -> Tensor:
        """Return row numbers on the device on which `batch` will look them up."""
        return rows.to(self._images.device)

    def values_each(self) -> int:
        """Return the numbers of one image."""
        return self._images[0].numel()

    def draw(self, generator: torch.Generator) -> Moves:
        """Draw what happens to each image of an epoch, in the epoch's order."""
        moves = draw_moves(self.augment, len(self), self._images.shape[-1], generator)
        return moves.to(lambda drawn: drawn.to(self.device))

    def batch(self, rows: Tensor | slice, moves: Moves | None = None) -> tuple[Tensor, Tensor]:
        """Return the rows as normalised float images (B, C, H, W) and labels (B,), both on the device.

        Args:
            rows: of the images.
            moves: of as many images; None leaves them as they are.
        """
        images, labels = self._images[rows], self._labels[rows]
        if not self.resident:
            if self.device.type == "cuda":
                images, labels = images.pin_memory(), labels.pin_memory()
            images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        if moves is not None:
            images = moved(images, moves)
        inputs = images.float().div_(255.0).sub_(self._mean).div_(self._std)
        return inputs.contiguous(memory_format=self._format), labels


class TrainingOrder:
    """Walks through the training samples, epoch after epoch, each in an order drawn from the seed.

    Args:
        samples: the training part.
        batch_size: images per step; the last batch of an epoch may be shorter.
        seed: of the order; the same seed gives the same order to every arm.
        drop_single: leave out a last batch of one sample, on which BatchNorm cannot train.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int, drop_single: bool) -> None:
        self._samples = samples
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._images = samples if isinstance(samples, Images) and samples.augment != "none" else None
        self._moves_generator = moves_generator(seed)
        self._moves: Moves | None = None
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0
        self.steps_per_epoch = steps_per_epoch(len(samples), batch_size, drop_single)

    def take(self, count: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield the next `count` batches; one that is not asked for stays the next one."""
        for _ in range(count):
            if self._position % self.steps_per_epoch == 0:
                self._begin_epoch()
            first = self._position % self.steps_per_epoch * self._batch_size
            self._position += 1
            yield self._batch(first, first + self._batch_size)

    def _begin_epoch(self) -> None:
        self._order = self._samples.place_rows(torch.randperm(len(self._samples), generator=self._generator))
        if self._images is not None:
            self._moves = self._images.draw(self._moves_generator)

    def _batch(self, first: int, last: int) -> tuple[Inputs, Tensor]:
        if self._images is None or self._moves is None:
            return self._samples.batch(self._order[first:last])
        return self._images.batch(self._order[first:last], self._moves.part(first, last))


def steps_per_epoch(train_count: int, batch_size: int, drop_single: bool) -> int:
    """Return the number of batches in an epoch, at least 1."""
    whole, rest = divmod(train_count, batch_size)
    return max(1, whole + (1 if rest > (1 if drop_single else 0) else 0))


def drops_single(model: nn.Module, train_count: int, batch_size: int) -> bool:
    """Return whether the last batch has one sample while the model has BatchNorm, which needs two."""
    has_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return has_norm and train_count > batch_size > 1 and train_count % batch_size == 1


def _room(device: torch.device) -> float:
    """Return how many bytes of an accelerator's memory a part of a data set may take."""
    if device.type == "cuda":
        return SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
    return SHARE_OF_FREE_MEMORY * (torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
