"""A confusion matrix added up on the device, and the metrics of classes of very different sizes that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multirate_core.metrics import MOST_CLASSES


@dataclass(frozen=True)
class ClassScores:
    """Metrics in which every class counts; Matthews' correlation is in [-1, 1], the others are fractions in [0, 1]."""

    balanced_accuracy: float
    macro_f1: float
    mcc: float


def class_scores(labels: Sequence[Tensor], predictions: Sequence[Tensor], classes: int) -> ClassScores | None:
    """Return the metrics of a whole test part; None of more than MOST_CLASSES classes.

    Args:
        labels, predictions: int64 (B,) of every batch, on one device, in [0, classes).
        classes: size of the head, which may be larger than the number of classes in the data.
    """
    if classes > MOST_CLASSES:
        return None
    cells = torch.cat(list(labels)) * classes + torch.cat(list(predictions))  # (N,)
    matrix = torch.bincount(cells, minlength=classes**2).view(classes, classes)  # rows: true, columns: predicted
    right, true, predicted = torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]).tolist()
    return scores_of(right, true, predicted)


def scores_of(right: Sequence[int], true: Sequence[int], predicted: Sequence[int]) -> ClassScores:
    """Return the metrics from three counts per class.

    A class without test samples has no recall and is left out of the balanced accuracy; one that is also never
    predicted is left out of the F1. The correlation of a constant is 0.

    Args:
        right: samples of the class that were predicted as such.
        true: samples of the class, at least one in all.
        predicted: samples that were predicted as the class.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient" (2004), eq. 8, for
    Matthews' correlation of more than two classes.
    """
    counts = list(zip(right, true, predicted, strict=True))
    recalls = [r / t for r, t, _ in counts if t]
    f1 = [2 * r / (t + p) for r, t, p in counts if t + p]
    total = sum(true)
    covariance = sum(right) * total - sum(t * p for _, t, p in counts)
    spread = (total**2 - sum(t * t for t in true)) * (total**2 - sum(p * p for p in predicted))
    mcc = covariance / spread**0.5 if spread else 0.0
    return ClassScores(sum(recalls) / len(recalls), sum(f1) / len(f1), mcc)
