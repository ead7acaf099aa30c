"""Testing a model in the middle of its training, without a trace in the training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from multirate_core.training.batches import Images
from multirate_core.training.randomness import kept

VALUES_PER_BATCH = 2**23  # input values in one test batch: 1,024 images of 28 × 28 (the cap), 55 of 3 × 224 × 224
MOST_IMAGES = 1024
MOST_IMAGES_CPU = 128  # small batches stay in a CPU's caches: a third less time for the offline pair


@dataclass(frozen=True)
class Score:
    """How a model did on a whole test part: accuracy is a fraction in [0, 1], loss the mean cross-entropy."""

    accuracy: float
    loss: float


@torch.no_grad()
def evaluate(model: nn.Module, images: Images, batch_size: int) -> Score:
    """Test the model on all images; train mode, random states and `requires_grad` stay as they are.

    Args:
        model: classifies (B, C, H, W) into logits (B, classes).
        images: the test part, at least one image.
        batch_size: of the training; test batches are at least as large.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with kept(images.device):
            return _score(model, images, _test_batch(images, batch_size))
    finally:
        for module, mode in training.items():
            module.training = mode


def _score(model: nn.Module, images: Images, batch_size: int) -> Score:
    """Add up on the device and read once."""
    total = torch.zeros(2, device=images.device)  # right answers, summed loss
    for first in range(0, len(images), batch_size):
        inputs, labels = images.batch(slice(first, first + batch_size))
        logits = model(inputs)
        total[0] += (logits.argmax(dim=1) == labels).sum()
        total[1] += functional.cross_entropy(logits.float(), labels, reduction="sum")
    right, loss = total.tolist()
    return Score(right / len(images), loss / len(images))


def _test_batch(images: Images, batch_size: int) -> int:
    """Return a batch size that fits small and large images."""
    values = images.batch(slice(0, 1))[0].numel()
    most = MOST_IMAGES_CPU if images.device.type == "cpu" else MOST_IMAGES
    return max(batch_size, min(most, VALUES_PER_BATCH // values), 1)
