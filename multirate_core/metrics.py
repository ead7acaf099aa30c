"""The numbers that a race can be judged by: their names, titles and how they are written. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "mcc"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
MOST_CLASSES: Final = 1_000  # above, only the accuracy is computed: the confusion matrix would be too large


@dataclass(frozen=True)
class MetricInfo:
    """What people read about a metric.

    Args:
        title: as it stands inside a sentence.
        long_title: where it is chosen.
        is_share: a fraction in [0, 1], shown in percent; otherwise a number from -1 to 1.
    """

    title: str
    long_title: str
    is_share: bool = True


METRIC_INFO: Final[Mapping[Metric, MetricInfo]] = MappingProxyType(
    {
        "accuracy": MetricInfo("accuracy", "Accuracy"),
        "balanced_accuracy": MetricInfo("balanced accuracy", "Balanced accuracy (mean recall)"),
        "macro_f1": MetricInfo("macro F1", "Macro F1"),
        "mcc": MetricInfo("MCC", "Matthews' correlation (MCC)", is_share=False),
    }
)


def metric_title(metric: Metric) -> str:
    """Return what a metric is called inside a sentence: "accuracy", "MCC"."""
    return METRIC_INFO[metric].title


def metric_format(metric: Metric, digits: int) -> str:
    """Return the format of a metric's value, for Python and for plotly.

    Args:
        metric: its name.
        digits: of a percentage after the point; a metric that is none gets two more.
    """
    return f".{digits}%" if METRIC_INFO[metric].is_share else f".{digits + 2}f"
