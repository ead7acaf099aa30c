"""What a look at data gives: counts, samples, sizes, duplicates, problems; and its JSON form. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from multirate_core.errors import DataError
from multirate_core.models.catalog import Takes

PREVIEW_VERSION: Final = 1
MOST_SAMPLES: Final = 20_000  # that are looked at


@dataclass(frozen=True)
class ClassCount:
    """How many training and test samples a class has."""

    name: str
    train: int
    test: int


@dataclass(frozen=True)
class Sample:
    """One sample of the training part.

    Args:
        label: name of its class.
        content: the beginning of a text, or a PNG in base64.
    """

    label: str
    content: str


@dataclass(frozen=True)
class Edges:
    """Edges in pixels of some image files: the smallest, the median of the shorter ones, the largest."""

    smallest: int
    median: int
    largest: int
    files: int


@dataclass(frozen=True)
class Lengths:
    """How long some texts are.

    Args:
        unit: what is counted.
        median, percentile_95: of the texts.
        texts: how many were counted.
        limit: tokens after which the network's texts are cut; None if words were counted.
        cut_share: of the texts, in [0, 1]; None if words were counted.
    """

    unit: Literal["words", "tokens"]
    median: int
    percentile_95: int
    texts: int
    limit: int | None = None
    cut_share: float | None = None


@dataclass(frozen=True)
class Duplicates:
    """Equal pixels, or texts that are equal but for white space and case, among the samples that were read.

    Args:
        train, test: how many samples were compared.
        in_both: test samples that are also training samples.
        conflicting: training samples of which another one of another class is an equal.
    """

    train: int
    test: int
    in_both: int
    conflicting: int


@dataclass(frozen=True)
class DataPreview:
    """A look at a data set before it is raced on.

    Args:
        title: of the data set.
        holds: what a sample is.
        train_samples, test_samples: how many there are, as a race would take them.
        classes: in the order of the labels.
        samples: up to 12 of different classes.
        edges: of the files of an image folder; None for other data.
        lengths: of texts; None for images.
        duplicates: among the samples that were read.
        problems: what should be mended or known before a race, one sentence each.
        notes: how the data were read and split, and how much of them was looked at.
    """

    title: str
    holds: Takes
    train_samples: int
    test_samples: int
    classes: tuple[ClassCount, ...]
    samples: tuple[Sample, ...]
    edges: Edges | None
    lengths: Lengths | None
    duplicates: Duplicates
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def to_json(preview: DataPreview) -> str:
    """Return one line of JSON; `from_json` gives an equal object back."""
    return json.dumps({"version": PREVIEW_VERSION, **asdict(preview)}, ensure_ascii=False)


def from_json(text: str) -> DataPreview:
    """Read what `to_json` wrote; DataError if it is anything else."""
    try:
        raw = json.loads(text)
        if raw.pop("version") != PREVIEW_VERSION:
            raise DataError("the preview was written by another version. Make it again.")
        return _preview(raw)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"this is not the preview of a data set: {error}. Make it again.") from error


def _preview(raw: dict[str, Any]) -> DataPreview:
    parts: dict[str, Any] = {
        "classes": tuple(ClassCount(**each) for each in raw["classes"]),
        "samples": tuple(Sample(**each) for each in raw["samples"]),
        "edges": None if raw["edges"] is None else Edges(**raw["edges"]),
        "lengths": None if raw["lengths"] is None else Lengths(**raw["lengths"]),
        "duplicates": Duplicates(**raw["duplicates"]),
        "problems": tuple(raw["problems"]),
        "notes": tuple(raw["notes"]),
    }
    return DataPreview(**{**raw, **parts})
