"""Whether the reader of tables survives damaged files: small valid ones are mutated, each is read with both choices."""

from __future__ import annotations

import argparse
import base64
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import run
from benchmarks.figures import Check, Figure, Result, Target
from benchmarks.table_mutations import SUFFIXES, mutated, valid_table
from multirate_core.data.tables import list_columns, read_table
from multirate_core.data.text_lines import TableLimits
from multirate_core.data.texts import TextRows
from multirate_core.errors import ConfigError, DataError

FILES, QUICK_FILES = 12_000, 300
KEPT_FAILURES = 20
LONGEST_MESSAGE = 2_000  # characters: a message may not carry half of the file
ABOUT = (
    "{files:,} small valid tables (CSV, TSV, JSON lines; every fifth a folder of two files) with one to four mutations "
    "each: bytes flipped, ends cut off, chunks deleted and doubled, quotes, zero bytes, marks, halves of surrogate "
    "pairs and huge numbers put in, delimiters exchanged, other encodings. Each is listed and read twice, refusing bad "
    "rows and skipping them. Only the reader's own errors may come out; what is read must be whole, the same with both "
    "choices where nothing is bad, and every message short and printable."
)


@dataclass
class Outcomes:
    """What came of the reads.

    Args:
        counts: by form, choice and outcome.
        refused_by: how often which function of the reader refused a file.
        failures: the first reads that broke a promise, with the files.
        failed: how many there were.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused_by: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0

    def fail(self, path: Path, number: int, options: object, reason: str) -> None:
        """Note a broken promise."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            content = {file.name: base64.b64encode(file.read_bytes()).decode() for file in files}
            self.failures.append({"number": number, "options": repr(options), "reason": reason, "files": content})
        run.say(f"file {number}: {reason.strip().splitlines()[-1][:300]}")


def measure(quick: bool) -> Result:
    """Mutate and read; every file comes from the seed and its number alone."""
    seed, files = _options().seed, QUICK_FILES if quick else FILES
    run.say(f"seed {seed}, {files:,} files")
    found = Outcomes()
    with tempfile.TemporaryDirectory(prefix="multirate-fuzz-") as folder:
        for number in range(files):
            _try(Path(folder), number, random.Random(f"{seed}/{number}"), found)
    because = f"{found.failed} broken promises in {3 * files:,} reads of {files:,} files, seed {seed}"
    check = Check("own_errors", "Only the reader's own errors come out", found.failed == 0, because)
    figures = [
        Figure("failed", "reads that broke a promise", "", [found.failed], Target("at most", 0)),
        *_shares(found),
    ]
    details = {
        "outcomes": dict(sorted(found.counts.items())),
        "refused_by": dict(found.refused_by.most_common()),
        "failures": found.failures,
    }
    settings = {"seed": seed, "files": files, "commands": [f"python -m benchmarks.fuzz_tables --seed {seed}"]}
    return Result("fuzz_tables", ABOUT.format(files=files), figures, [check], settings, details)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_known_args()[0]


def _shares(found: Outcomes) -> list[Figure]:
    """Return which share of the damaged files is still read, for each choice."""
    figures = []
    for choice in ("refuse", "skip"):
        counts = {outcome: found.counts[f"{choice}: {outcome}"] for outcome in ("read", "refused")}
        share = 100 * counts["read"] / max(1, sum(counts.values()))
        figures.append(Figure(f"{choice}_read", f"damaged files that are read, bad rows: {choice}", "%", [share]))
    return figures


def _try(folder: Path, number: int, draw: random.Random, found: Outcomes) -> None:
    """Write one damaged table, read it in three ways, and remove it."""
    paths = _write(folder / str(number), draw)
    path = paths[0].parent if len(paths) > 1 else paths[0]
    options = _random_options(draw)
    listing = {key: options[key] for key in ("encoding", "limits")}
    _outcome("list", path, number, lambda: list_columns(path, **listing), options, found)
    refusing = _outcome("refuse", path, number, lambda: read_table(path, bad_rows="refuse", **options), options, found)
    skipping = _outcome("skip", path, number, lambda: read_table(path, bad_rows="skip", **options), options, found)
    if refusing is not None and refusing != skipping:
        found.fail(path, number, options, "nothing is refused, and yet skipping gives something else")
    for each in paths:
        each.unlink()
    paths[0].parent.rmdir()


def _outcome(
    choice: str, path: Path, number: int, read: Callable[[], Any], options: object, found: Outcomes
) -> TextRows | None:
    """Read once, count what comes of it, and return what was read if it was rows."""
    try:
        result = read()
    except (DataError, ConfigError) as error:
        found.counts[f"{choice}: refused"] += 1
        found.refused_by[traceback.extract_tb(error.__traceback__)[-1].name] += 1
        if len(str(error)) > LONGEST_MESSAGE or not _encodable(str(error)):
            found.fail(path, number, options, f"a message that is too long or not printable: {error!a:.300}")
        return None
    except Exception:  # noqa: BLE001 - to find these is what this program is for; they are counted and kept
        found.counts[f"{choice}: crashed"] += 1
        found.fail(path, number, options, traceback.format_exc())
        return None
    found.counts[f"{choice}: read"] += 1
    if isinstance(result, TextRows):
        if problem := _problem(result):
            found.fail(path, number, options, problem)
        return result
    return None


def _problem(rows: TextRows) -> str:
    """Return what is wrong with rows that were read, or ""."""
    texts, labels = [*rows.train_texts, *rows.test_texts], [*rows.train_labels, *rows.test_labels]
    if not rows.train_texts or not rows.test_texts or len(texts) != len(labels):
        return "a part is empty, or texts and labels are not equally many"
    if not all(texts) or not all(_encodable(text) for text in (*texts, *rows.class_names, *rows.notes)):
        return "a text is empty, or UTF-8 cannot hold it"
    if set(rows.train_labels) != set(range(len(rows.class_names))) or not set(labels) <= set(rows.train_labels):
        return "a label without training texts"
    return "" if 2 <= len(set(rows.class_names)) == len(rows.class_names) else "classes that are not different"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _random_options(draw: random.Random) -> dict[str, Any]:
    """Return arguments for the reader: mostly the usual ones."""
    small = TableLimits(
        file_bytes=draw.choice((100, 10_000, 100_000)),
        text_characters=draw.randint(1, 60),
        row_characters=draw.randint(1, 300),
        rows=draw.randint(1, 20),
        columns=draw.randint(1, 4),
    )
    usual = draw.random() < 0.8
    return {
        "text_column": None if usual else draw.choice((None, "text", "1", "\udcff")),
        "label_column": None if usual else draw.choice((None, "label", "2", "9" * 5000)),
        "encoding": draw.choice(("utf-8",) * 12 + ("latin-1", "cp1252", "utf-16")),
        "limits": small if draw.random() < 0.1 else TableLimits(),
        "seed": draw.randrange(10),
    }


def _write(folder: Path, draw: random.Random) -> list[Path]:
    """Write a damaged file, or a folder with one or two of them, and return the paths."""
    folder.mkdir()
    suffix = draw.choice(SUFFIXES)
    names = ["train", draw.choice(("val", "test"))] if draw.random() < 0.2 else ["table"]
    paths = [folder / f"{name}{suffix}" for name in names]
    for path in paths:
        path.write_bytes(mutated(valid_table(suffix, draw), draw))
    return paths


if __name__ == "__main__":
    sys.exit(run.main(measure, "fuzz_tables"))
