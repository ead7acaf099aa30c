"""Texts and labels from a table: one CSV, TSV or JSON lines file, or a folder with files for training and testing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from multirate_core.checks import require_choice
from multirate_core.data.table_columns import WHOLE_NUMBER, TableSample, choose_columns, read_sample
from multirate_core.data.table_files import find_tables
from multirate_core.data.table_rows import delimited_rows, form_of, keyed_rows
from multirate_core.data.text_lines import Encoding, TableLimits
from multirate_core.data.text_split import MAX_LABEL_CHARACTERS, BadRows, LabelledTexts, to_text_rows
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError

_SHOWN_ROWS: Final = 3
_SHOWN_CHARACTERS: Final = 80
_DEFAULT_LIMITS: Final = TableLimits()


@dataclass(frozen=True)
class TableColumns:
    """What a page needs to let people choose the columns.

    Args:
        names: of the columns, as `read_table` takes them; their places where there is no header.
        samples: the first texts of each column, shortened.
        has_header: whether the file gives the names.
        text_column, label_column: what would be taken if nothing is chosen; None if that is not clear.
    """

    names: tuple[str, ...]
    samples: tuple[tuple[str, ...], ...]
    has_header: bool
    text_column: str | None
    label_column: str | None


def read_table(
    path: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
    share: float | None = None,
    bad_rows: BadRows = "refuse",
    limits: TableLimits = _DEFAULT_LIMITS,
    encoding: Encoding = "utf-8",
) -> TextRows:
    """Read texts with their labels and split them into training and test rows.

    Args:
        path: a file, or a folder with `train.*` and one of `val`, `valid`, `validation`, `dev` or `test.*`; the suffix
            is .csv, .tsv or .txt (both with tabs), .jsonl or .ndjson.
        text_column, label_column: a name from the header or a key, or a place from "1" on; None guesses.
        seed: of the split where there is no test file: a fifth of every class becomes test texts.
        share: of every class's training texts that become test texts; a test file is left out. None takes the file.
        bad_rows: "refuse" stops at the first bad row, "skip" leaves it out and says so. Bad are rows with a wrong
            number of columns, no text, no label, a text or label that is too long, or that cannot be parsed. A byte of
            another encoding, a quote that is never closed and a test label without training texts are always refused.
        limits: of each file.
        encoding: of the files.

    Returns:
        Texts and labels without white space around them; the classes sorted, by value if all are whole numbers.

    Raises:
        DataError: a file is missing, unreadable, beyond the limits or unfit for training; the message names the line.
        ConfigError: an argument is not one of the allowed ones.
    """
    require_choice("bad_rows", bad_rows, get_args(BadRows))
    train_path, test_path, notes = find_tables(Path(path))
    sample = read_sample(train_path, encoding, limits, _named(text_column, label_column))
    text, label = choose_columns(sample, text_column, label_column)
    train = _read(sample, text, label, bad_rows, encoding, limits)
    notes = (_columns_note(sample, text, label), *notes)
    test = None
    if test_path is not None and share is not None:
        notes = (*notes, f"The file {test_path.name} was not used.")
    elif test_path is not None:
        names = _request(sample, text), _request(sample, label)
        test_sample = read_sample(test_path, encoding, limits, names)
        test = _read(test_sample, *choose_columns(test_sample, *names), bad_rows, encoding, limits)
    return to_text_rows(train, test, sorted_classes(train), seed, notes, share)


def list_columns(
    path: str | Path, *, encoding: Encoding = "utf-8", limits: TableLimits = _DEFAULT_LIMITS
) -> TableColumns:
    """Tell which columns a table has, from its first rows only; arguments and errors as in `read_table`."""
    sample = read_sample(find_tables(Path(path))[0], encoding, limits)
    names = tuple(_request(sample, place) for place in range(len(sample.names)))
    shown = sample.rows[:_SHOWN_ROWS]
    samples = tuple(tuple(row[place][:_SHOWN_CHARACTERS] for row in shown) for place in range(len(names)))
    try:
        text, label = choose_columns(sample, None, None)
    except DataError:
        return TableColumns(names, samples, sample.has_header, None, None)
    return TableColumns(names, samples, sample.has_header, names[text], names[label])


def _named(*columns: str | None) -> list[str]:
    return [column for column in columns if column is not None]


def _request(sample: TableSample, place: int) -> str:
    """Return what names a column beyond doubt: its name, or its place if there are several of that name."""
    name = sample.names[place]
    return name if sample.names.count(name) == 1 else str(place + 1)


def _columns_note(sample: TableSample, text: int, label: int) -> str:
    names = sample.names
    if not sample.has_header:
        return f"{sample.path.name} has no header: texts from column {names[text]}, labels from column {names[label]}."
    if form_of(sample.path) == "jsonl":
        return f"{sample.path.name}: texts from the key {names[text]!r}, labels from {names[label]!r}."
    return (
        f"The first line of {sample.path.name} is its header: texts from the column {names[text]!r}, labels from "
        f"{names[label]!r}."
    )


def _read(
    sample: TableSample, text: int, label: int, bad_rows: BadRows, encoding: Encoding, limits: TableLimits
) -> LabelledTexts:
    """Read a whole file; the labels are kept once each."""
    found = LabelledTexts(sample.path)
    read_pairs = _keyed_pairs if form_of(sample.path) == "jsonl" else _delimited_pairs
    for line, pair in read_pairs(sample, text, label, encoding, limits):
        if isinstance(pair, str):
            found.refuse(line, pair, bad_rows)
        elif problem := row_problem(*pair, limits):
            found.refuse(line, problem, bad_rows)
        else:
            found.add(line, *pair)
    return found


def _delimited_pairs(
    sample: TableSample, text: int, label: int, encoding: Encoding, limits: TableLimits
) -> Iterator[tuple[int, tuple[str, str] | str]]:
    """Yield the line of each row with its text and label, or the reason why it has none."""
    rows = delimited_rows(sample.path, encoding, limits)
    if sample.has_header:
        next(rows, None)
    header = (sample.names[text], sample.names[label]) if sample.has_header else None
    width = len(sample.names)
    hint = "; a text with a comma must be in quotes" if form_of(sample.path) == "csv" else ""
    for line, cells in rows:
        if isinstance(cells, str):
            yield line, cells
        elif len(cells) != width:
            yield line, f"{len(cells)} column(s) instead of {width}{hint if len(cells) > width else ''}"
        else:
            pair = cells[text].strip(), cells[label].strip()
            yield line, "the header once more" if pair == header else pair


def _keyed_pairs(
    sample: TableSample, text: int, label: int, encoding: Encoding, limits: TableLimits
) -> Iterator[tuple[int, tuple[str, str] | str]]:
    """Yield the line of each object with its text and label, or the reason why it has none."""
    keys = sample.names[text], sample.names[label]
    for line, cells in keyed_rows(sample.path, encoding, limits):
        if isinstance(cells, str):
            yield line, cells
            continue
        missing = [key for key in keys if key not in cells]
        first, second = (cells.get(key) for key in keys)
        if missing:
            yield line, f"no key {missing[0]!r}"
        elif first is None or second is None:
            yield line, f"the value of {keys[0] if first is None else keys[1]!r} is a list or an object, not a text"
        else:
            yield line, (first.strip(), second.strip())


def row_problem(text: str, label: str, limits: TableLimits) -> str:
    """Return what is wrong with a row, or ""."""
    if not text:
        return "no text"
    if not label:
        return "no label"
    if len(text) > limits.text_characters:
        return f"a text of {len(text):,} characters; at most {limits.text_characters:,} are read"
    if len(label) > MAX_LABEL_CHARACTERS:
        return f"a label of {len(label):,} characters; at most {MAX_LABEL_CHARACTERS} are possible"
    if "\0" in text or "\0" in label:
        return "a zero byte, which no text has"
    return ""


def sorted_classes(train: LabelledTexts) -> list[str]:
    """Return the class names in order: by value if all are whole numbers."""
    if all(map(WHOLE_NUMBER.fullmatch, train.first_lines)):
        return sorted(train.first_lines, key=lambda name: (int(name), name))
    return sorted(train.first_lines)
