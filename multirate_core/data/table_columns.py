"""Which column of a table holds the texts and which the labels: told from a header, a request, or the first rows."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multirate_core.data.table_rows import delimited_rows, form_of, keyed_rows
from multirate_core.data.text_lines import Encoding, TableLimits
from multirate_core.errors import ConfigError, DataError

SAMPLE_ROWS: Final = 100  # from which header and columns are told
WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+")

_TEXT_NAMES: Final = ("text", "sentence", "review", "question", "content", "message", "comment", "tweet", "document")
_LABEL_NAMES: Final = ("label", "labels", "class", "category", "target", "sentiment", "topic", "intent")
_NAME_CHARACTERS: Final = 64  # a longer cell is no column's name
_DELIMITERS: Final = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}
_OWN_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class TableSample:
    """The first rows of a table.

    Args:
        path: of the file.
        names: of the columns; their places "1", "2", … where there is no header.
        rows: cells as texts, at most SAMPLE_ROWS rows, each as long as `names`.
        has_header: whether the first line gives the names; always True for JSON lines, whose keys are the names.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_header: bool


def read_sample(path: Path, encoding: Encoding, limits: TableLimits, asked: Sequence[str] = ()) -> TableSample:
    """Read the first rows of a table.

    Args:
        path: a file of one of the forms in `table_rows.FORMS`.
        encoding: of the file.
        limits: of the file.
        asked: names of columns; a first line that holds one of them is the header.

    Raises:
        DataError: the file cannot be read, has no row with two columns, or another delimiter than its suffix says.
    """
    if form_of(path) == "jsonl":
        return _keyed_sample(path, encoding, limits)
    found = list(itertools.islice(delimited_rows(path, encoding, limits), SAMPLE_ROWS + 1))
    good = [(line, [cell.strip() for cell in cells]) for line, cells in found if isinstance(cells, list)]
    if not good:
        raise _no_row(path, found)
    first = good[0][1]
    width = Counter(len(cells) for _, cells in good).most_common(1)[0][0]
    _require_delimiter(path, first, width)
    rows = [cells for _, cells in good if len(cells) == width]
    # A header is the first line that holds anything; a bad row before it would make every line a guess.
    if found[0][0] == good[0][0] and _is_header(first, [cells for _, cells in good[1:]], asked):
        names = tuple(name or str(place) for place, name in enumerate(first, 1))
        rows = [cells for _, cells in good[1:] if len(cells) == len(first)]
        return TableSample(path, names, tuple(map(tuple, rows)), True)
    return TableSample(path, tuple(map(str, range(1, width + 1))), tuple(map(tuple, rows[:SAMPLE_ROWS])), False)


def choose_columns(sample: TableSample, text: str | None, label: str | None) -> tuple[int, int]:
    """Return the places of the text column and of the label column, from 0.

    Args:
        sample: of the table.
        text, label: a column's name, or its place from "1" on; None lets it be guessed.

    Raises:
        ConfigError: both are the same column.
        DataError: a column is not there or there twice, or cannot be guessed.
    """
    text_place = None if text is None else _place_of(sample, text)
    label_place = None if label is None else _place_of(sample, label)
    if text_place is not None and text_place == label_place:
        raise ConfigError(f"text and label must be two columns, got {text!r} for both. Choose another one for one.")
    if text_place is None:
        text_place = _place_by_name(sample, _TEXT_NAMES, label_place)
    if label_place is None:
        label_place = _place_by_name(sample, _LABEL_NAMES, text_place)
    if len(sample.names) == 2:
        text_place, label_place = _completed(sample, text_place, label_place)
    for what, place in (("text", text_place), ("label", label_place)):
        if place is None:
            raise DataError(f"{sample.path}: which column holds the {what} is not clear. {_columns(sample)} Name one.")
    assert text_place is not None and label_place is not None
    return text_place, label_place


def _keyed_sample(path: Path, encoding: Encoding, limits: TableLimits) -> TableSample:
    found = list(itertools.islice(keyed_rows(path, encoding, limits), SAMPLE_ROWS))
    objects = [cells for _, cells in found if not isinstance(cells, str)]
    names = tuple(dict.fromkeys(name for cells in objects for name in cells))
    if not names:
        raise _no_row(path, found)
    if len(names) < 2:
        only = names[0][:_NAME_CHARACTERS]
        raise DataError(f"{path} has one key, {only!r}; two are needed, a text and a label. Add the other one.")
    if len(names) > limits.columns:
        raise DataError(f"{path} has more than {limits.columns:,} different keys. Leave out those that are not needed.")
    rows = tuple(tuple((cells.get(name) or "").strip() for name in names) for cells in objects)
    return TableSample(path, names, rows, True)


def _no_row(path: Path, found: Sequence[tuple[int, object]]) -> DataError:
    reason = f" Line {found[0][0]}: {found[0][1] or 'an empty object'}." if found else ""
    return DataError(f"{path} has no row that can be read.{reason} Give a file of rows, each with a text and a label.")


def _require_delimiter(path: Path, first: Sequence[str], width: int) -> None:
    """Raise DataError if there is one column only, and name the delimiter that its cells seem to have."""
    own = _OWN_DELIMITERS[form_of(path)]
    if len(first) == 1:
        for sign, name in _DELIMITERS.items():
            if sign in first[0] and sign != own:
                rename = {"\t": ", or name it .tsv", ",": ", or name it .csv"}.get(sign, "")
                raise DataError(
                    f"{path}: its first row has one column, with {name} in it: they seem to separate the columns. In "
                    f"a {path.suffix} file {_DELIMITERS[own]} do: save it so{rename}."
                )
    if len(first) == width == 1:
        raise DataError(
            f"{path} has one column; two are needed, a text and a label, separated by {_DELIMITERS[own]}. Check it."
        )


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]], asked: Sequence[str]) -> bool:
    """Tell whether a first row names the columns.

    It does if it holds a name that was asked for, or the usual names of both columns, or 0, 1, 2, … as pandas writes
    for columns without names. Otherwise its cells have to be different and short, none of them found again in its
    column, and one of them a usual name, or alone in not being a number, or all of them single words.
    """
    lower = {name.lower() for name in first}
    is_text, is_label = bool(lower & {*_TEXT_NAMES}), bool(lower & {*_LABEL_NAMES})
    is_asked = any(name in first for name in asked if not WHOLE_NUMBER.fullmatch(name))
    if is_asked or (is_text and is_label) or _is_counted(first):
        return True
    if not others or len(set(first)) < len(first) or max(map(len, first)) > _NAME_CHARACTERS:
        return False
    columns = [[cells[place] for cells in others if place < len(cells)] for place in range(len(first))]
    if any(name and name in column for name, column in zip(first, columns, strict=True)):
        return False
    above_numbers = any(
        name and not WHOLE_NUMBER.fullmatch(name) and column and all(map(WHOLE_NUMBER.fullmatch, column))
        for name, column in zip(first, columns, strict=True)
    )
    return is_text or is_label or above_numbers or all(name.isidentifier() for name in first)


def _is_counted(first: Sequence[str]) -> bool:
    """Tell whether the names are 0, 1, 2, …, and at most one, that of the rows' own numbers, is left out."""
    named = [name for name in first if name]
    return len(first) - 1 <= len(named) >= 2 and named == list(map(str, range(len(named))))


def _place_of(sample: TableSample, asked: str) -> int:
    count = sample.names.count(asked)
    if count == 1:
        return sample.names.index(asked)
    if count > 1:
        raise DataError(f"{sample.path} has {count} columns {asked!r}. Give the place of one, from 1 on.")
    if re.fullmatch(r"[0-9]{1,9}", asked) and 1 <= int(asked) <= len(sample.names):
        return int(asked) - 1
    near = difflib.get_close_matches(asked, sample.names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise DataError(f"{sample.path} has no column {asked[:80]!r}. {_columns(sample)}{hint}")


def _place_by_name(sample: TableSample, usual: Sequence[str], taken: int | None) -> int | None:
    """Return the place of the column with the first of the usual names, else of the only one that has one as a word."""
    names = {place: name.lower() for place, name in enumerate(sample.names) if place != taken}
    for name in usual:
        if name in names.values():
            return next(place for place, other in names.items() if other == name)
    with_word = [place for place, name in names.items() if set(re.findall("[a-z]+", name)) & set(usual)]
    return with_word[0] if len(with_word) == 1 else None


def _completed(sample: TableSample, text: int | None, label: int | None) -> tuple[int, int]:
    """Return both places of a table of two columns: by what is known of one, else the longer texts are the texts."""
    if text is None and label is None:
        lengths = [sum(len(row[place]) for row in sample.rows) for place in (0, 1)]
        text = int(lengths[1] > lengths[0])
    if text is None:
        text = 1 - (label or 0)
    return text, 1 - text if label is None else label


def _columns(sample: TableSample) -> str:
    shown = ", ".join(repr(name[:_NAME_CHARACTERS]) for name in sample.names[:20])
    return f"Its columns: {shown}{', …' if len(sample.names) > 20 else ''}."
