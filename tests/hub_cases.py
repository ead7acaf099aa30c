"""Small sets of Hugging Face's `datasets`, which tests that import this skip without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from multirate_core.data.hub_texts import read_hub
from multirate_core.errors import DataError

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

WORDS = ("awful", "great")


def sentences(count: int, labels: list[Any] | None = None, kind: Any = None) -> Any:
    """Make a part with sentences, two classes in turn and a column of numbers; -1 stands for no label, as in GLUE."""
    features = datasets.Features(
        idx=datasets.Value("int32"),
        sentence=datasets.Value("string"),
        label=kind or datasets.ClassLabel(names=["bad", "good"]),
    )
    columns = {
        "idx": list(range(count)),
        "sentence": [f"the film was {WORDS[number % 2]} number {number}" for number in range(count)],
        "label": labels or [number % 2 for number in range(count)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def save_glue_like(folder: Path) -> Path:
    """Save a set as GLUE's are: training texts, labelled ones to validate, and test texts without labels."""
    parts = {"train": sentences(20), "validation": sentences(6), "test": sentences(4, [-1] * 4)}
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


def refused(folder: Path | str, match: str, error: type[Exception] = DataError, **how: Any) -> None:
    with pytest.raises(error, match=match):
        read_hub(str(folder), **how)
