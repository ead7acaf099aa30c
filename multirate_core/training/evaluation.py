"""Testing a model in the middle of its training, without a trace in the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.training.confusion import ClassScores, class_scores
from multirate_core.training.forward import Forward
from multirate_core.training.randomness import kept
from multirate_core.training.samples import Inputs, Samples, device_of

VALUES_PER_BATCH = 2**23  # input values in one test batch: 1,024 images of 28 × 28 (the cap), 55 of 3 × 224 × 224
MOST_SAMPLES = 1024
MOST_SAMPLES_CPU = 128  # small batches stay in a CPU's caches: a third less time for the offline pair


@dataclass(frozen=True)
class Score:
    """How a model did on a whole test part.

    Args:
        accuracy: fraction in [0, 1].
        loss: the mean cross-entropy.
        by_class: metrics in which every class counts; None of too many classes.
    """

    accuracy: float
    loss: float
    by_class: ClassScores | None = None


def evaluate(forward: Forward, samples: Samples, batch_size: int) -> Score:
    """Test a network on all samples; train mode, random states and `requires_grad` stay as they are.

    Args:
        forward: of the network, whose logits are (B, classes).
        samples: the test part, at least one.
        batch_size: of the training; test batches are at least as large.
    """
    with testing(forward.model), kept(samples.device):
        return _score(forward, samples, batch_size)


@contextmanager
def testing(model: nn.Module) -> Iterator[None]:
    """Put a network in eval mode without gradients inside the `with` block; every module's mode comes back."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def batches_of(samples: Samples, batch_size: int) -> list[slice]:
    """Return the rows of each test batch, in order; only the last one may be shorter."""
    size = _test_batch(samples, batch_size)
    return [slice(first, first + size) for first in range(0, len(samples), size)]


def _score(forward: Forward, samples: Samples, batch_size: int) -> Score:
    """Add up on the device and read the sums once, at the end."""
    total = torch.zeros(2, device=samples.device)  # right answers, summed loss
    truths: list[Tensor] = []
    answers: list[Tensor] = []
    for rows in batches_of(samples, batch_size):
        inputs, labels = samples.batch(rows)
        logits = logits_of(forward, inputs)
        truths.append(labels)
        answers.append(logits.argmax(dim=1))
        total[0] += (answers[-1] == labels).sum()
        total[1] += functional.cross_entropy(logits.float(), labels, reduction="sum")
    right, loss = total.tolist()
    return Score(right / len(samples), loss / len(samples), class_scores(truths, answers, logits.shape[1]))


def logits_of(forward: Forward, inputs: Inputs) -> Tensor:
    """Return the logits of one test batch, in the race's precision."""
    with forward.computing(device_of(inputs)):
        return forward(inputs)


def _test_batch(samples: Samples, batch_size: int) -> int:
    """Return a batch size that fits small and large samples."""
    most = MOST_SAMPLES_CPU if samples.device.type == "cpu" else MOST_SAMPLES
    return max(batch_size, min(most, VALUES_PER_BATCH // samples.values_each()), 1)
