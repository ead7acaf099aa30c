"""Rows of CSV, TSV and JSON lines, one after the other: the cells of a row, or the reason why it is none.

CSV is read strictly by RFC 4180: quotes inside a quoted field are doubled, and it may hold line breaks. In TSV a line
is a row, and quotes are plain characters unless they surround a whole field. Cells are text and never evaluated.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from multirate_core.data.text_lines import Encoding, TableLimits, read_lines
from multirate_core.errors import DataError

Form = Literal["csv", "tsv", "jsonl"]
FORMS: Final[dict[str, Form]] = {".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_AN_OBJECT: Final = 'a row must be an object such as {"text": "good", "label": 1}'

# A row: the line that it begins in, and its cells or the reason why there are none.
Row = tuple[int, list[str] | str]
KeyedCells = dict[str, str | None]  # None: a nested value, which is no text
KeyedRow = tuple[int, KeyedCells | str]


def form_of(path: Path) -> Form:
    """Return the form that a file's suffix stands for; DataError lists the allowed ones."""
    try:
        return FORMS[path.suffix.lower()]
    except KeyError:
        raise DataError(
            f"{path} has the suffix {path.suffix!r}; allowed: {', '.join(FORMS)}. Save the table in one of these forms."
        ) from None


def delimited_rows(path: Path, encoding: Encoding, limits: TableLimits) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file; empty lines are passed over.

    Raises:
        DataError: the file cannot be read, is too large, has too many columns, or a quote in it is never closed.
    """
    rows = _csv_rows if form_of(path) == "csv" else _tsv_rows
    for number, (line, cells) in enumerate(rows(path, encoding, limits), 1):
        _require_count(number, path, limits)
        if isinstance(cells, list) and len(cells) > limits.columns:
            raise DataError(f"{path}, line {line}: {_too_many_columns(len(cells), limits)}. Leave columns out.")
        yield line, cells


def keyed_rows(path: Path, encoding: Encoding, limits: TableLimits) -> Iterator[KeyedRow]:
    """Yield the objects of a file of JSON lines, their values as text; empty lines are passed over.

    Numbers are as they are written in the file, true and false are words, null is "".

    Raises:
        DataError: the file cannot be read, is too large, or is one JSON list.
    """
    count = 0
    for number, line in enumerate(read_lines(path, encoding, limits), 1):
        if not line.isspace():
            count += 1
            _require_count(count, path, limits)
            if count == 1 and line.lstrip().startswith("["):
                raise DataError(
                    f"{path} is one JSON list. Write one object per line, without brackets and commas around."
                )
            yield number, _object(line[:-1], limits)


def _require_count(number: int, path: Path, limits: TableLimits) -> None:
    if number > limits.rows:
        raise DataError(f"{path} has more than {limits.rows:,} rows, the most that are read. Give fewer.")


def _too_many_columns(count: int, limits: TableLimits) -> str:
    return f"{count:,} columns; at most {limits.columns:,} are read"


class _RecordLines:
    """Gives lines to the CSV parser and keeps track of the record that it is putting together."""

    def __init__(self, path: Path, encoding: Encoding, limits: TableLimits) -> None:
        self._lines = read_lines(path, encoding, limits)
        self._path, self._limit = path, limits.row_characters
        self._taken = 0  # characters of this record
        self._number = 0  # of the line given last
        self.first = 1  # line in which this record begins
        self.ended = False

    def __iter__(self) -> _RecordLines:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self._number += 1
        self._taken += len(line)
        if self._taken > self._limit + 1:  # the line break at the end does not count
            raise self.unclosed(f"after {self._limit:,} characters, the most that a row may have")
        return line

    def begin(self) -> None:
        """Note that the next line begins a record."""
        self._taken, self.first = 0, self._number + 1

    def unclosed(self, where: str) -> DataError:
        """Return the error for a quote without an end."""
        return DataError(
            f"{self._path}, line {self.first}: a quote that opens in this row is still not closed {where}. Close it, "
            'or write "" for a quote inside a quoted field.'
        )


def _csv_rows(path: Path, encoding: Encoding, limits: TableLimits) -> Iterator[Row]:
    # The parser's limit belongs to the whole process, so it is only ever raised; `_RecordLines` keeps the row's own.
    csv.field_size_limit(max(csv.field_size_limit(), limits.row_characters + 1))
    lines = _RecordLines(path, encoding, limits)
    parser = csv.reader(lines, strict=True, skipinitialspace=True)
    while True:
        lines.begin()
        try:
            cells = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.ended:
                raise lines.unclosed("at the end of the file") from error
            yield lines.first, 'text follows a closing quote; write "" for a quote inside a quoted field'
        else:
            if cells:
                yield lines.first, cells


def _tsv_rows(path: Path, encoding: Encoding, limits: TableLimits) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path, encoding, limits), 1):
        if line != "\n":
            cells = line[:-1].split("\t")
            yield number, [_unquoted(cell) for cell in cells] if '"' in line else cells


def _unquoted(cell: str) -> str:
    """Return a field without the quotes around it, if all quotes between them are doubled."""
    inner = cell[1:-1]
    whole = len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


# Numbers stay as they are written: no rounding, and no time spent on a number of a million digits.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def _object(line: str, limits: TableLimits) -> KeyedCells | str:
    """Return the values of one JSON object as text, or the reason why there are none."""
    try:
        content = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        return f"no valid JSON: {error.msg} at character {error.colno}"
    except ValueError as error:
        return f"no valid JSON: {error}"
    except RecursionError:
        return "JSON that is nested too deeply"
    if not isinstance(content, dict):
        return f"no object; {_AN_OBJECT}"
    if len(content) > limits.columns:
        return _too_many_columns(len(content), limits)
    cells = {key: _cell(value) for key, value in content.items()}
    return cells if "\\u" not in line or _encodable(cells) else "half a surrogate pair, which is no character"


def _cell(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return ""
    return value if isinstance(value, str) else None


def _encodable(cells: KeyedCells) -> bool:
    try:
        "".join([*cells, *(cell or "" for cell in cells.values())]).encode()
    except UnicodeEncodeError:
        return False
    return True
