"""Tables of texts for tests: written in every form, read back, refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from multirate_core.data.tables import read_table
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError

ROWS = [(f"text number {row}, of {10}", "good" if row % 3 else "bad") for row in range(12)]


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    return path


def write_rows(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> Path:
    """Write rows in the form that the suffix stands for; no header if it is ()."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix in (".jsonl", ".ndjson"):
            file.writelines(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
        else:
            table = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            table.writerows([header] * bool(header) + [*rows])
    return path


def pairs(rows: TextRows) -> Counter[tuple[str, str]]:
    """All texts with the names of their classes, from both parts."""
    texts, labels = [*rows.train_texts, *rows.test_texts], [*rows.train_labels, *rows.test_labels]
    return Counter((text, rows.class_names[label]) for text, label in zip(texts, labels, strict=True))


def refused(path: Path, match: str, error: type[Exception] = DataError, **options: object) -> None:
    with pytest.raises(error, match=match):
        read_table(path, **options)  # type: ignore[arg-type]
