"""Lines of text files: decoded strictly, with the place of a bad byte, and never much more than a row in memory."""

from __future__ import annotations

import codecs
import dataclasses
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, get_args

from multirate_core.checks import require_choice, require_whole
from multirate_core.errors import DataError

Encoding = Literal["utf-8", "latin-1", "cp1252", "utf-16"]

_CHUNK: Final = 2**18  # bytes that are decoded at once
_UTF16_MARKS: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_PACKED: Final = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV (UTF-8)",
    b"\x1f\x8b": "packed with gzip; unpack it",
    b"PAR1": "a Parquet file; write it as CSV or JSON lines",
}


@dataclass(frozen=True)
class TableLimits:
    """How large a file of texts may be; all are counts of at least 1.

    Args:
        file_bytes: of one file.
        text_characters: of one text; a longer one makes its row a bad row.
        row_characters: of one row with all its columns; a longer one is no row, and the file is refused.
        rows: of one file.
        columns: of one file.
    """

    file_bytes: int = 2 * 2**30
    text_characters: int = 100_000
    row_characters: int = 10_000_000
    rows: int = 5_000_000
    columns: int = 1_000

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            require_whole(field.name, getattr(self, field.name), 1, 2**62)


def read_lines(path: Path, encoding: Encoding, limits: TableLimits) -> Iterator[str]:
    r"""Yield the lines of a file, each with one "\n" at its end, whatever ends them in the file: \n, \r\n or \r.

    Args:
        path: a file; it is read in pieces.
        encoding: a mark of UTF-8 or UTF-16 at the beginning of the file is passed over.
        limits: of the file and of a line.

    Raises:
        DataError: the file is missing, empty, too large, in another encoding, packed, or a line is too long.
        ConfigError: the encoding is not one of the allowed ones.
    """
    require_choice("encoding", encoding, get_args(Encoding))
    try:
        _require_file(path, limits)
        with path.open("rb") as file:
            yield from _lines(file, path, encoding, limits)
    except FileNotFoundError as error:
        raise DataError(f"the file {path} does not exist. Check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}. Check it.") from error


def _require_file(path: Path, limits: TableLimits) -> None:
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(f"{path} is no file that can be read to its end. Give a file of rows.")
    if facts.st_size == 0:
        raise DataError(f"{path} is empty. Give a file of rows, each with a text and a label.")
    if facts.st_size > limits.file_bytes:
        raise DataError(
            f"{path} has {facts.st_size:,} bytes; at most {limits.file_bytes:,} are read. Give fewer rows or columns."
        )


def _lines(file: BinaryIO, path: Path, encoding: Encoding, limits: TableLimits) -> Iterator[str]:
    chunk = file.read(_CHUNK)
    codec, offset = _codec_and_mark(chunk, path, encoding)
    chunk = chunk[offset:]
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)(), translate=True)
    number, rest = 1, ""
    while True:
        try:
            *lines, rest = (rest + decoder.decode(chunk, not chunk)).split("\n")
        except UnicodeDecodeError as error:
            raise _bad_byte(error, path, encoding, decoder, chunk, offset, number) from error
        for line in lines:
            _require_length(line, number, path, limits)
            yield line + "\n"
            number += 1
        _require_length(rest, number, path, limits)
        if not chunk:
            break
        offset += len(chunk)
        chunk = file.read(_CHUNK)
    if rest:
        yield rest + "\n"


def _codec_and_mark(first: bytes, path: Path, encoding: Encoding) -> tuple[str, int]:
    """Return Python's name of the codec and the bytes of the mark at the beginning; DataError if it is another one."""
    for magic, what in _PACKED.items():
        if first.startswith(magic):
            raise DataError(f"{path} is {what}.")
    utf16 = next((codec for mark, codec in _UTF16_MARKS.items() if first.startswith(mark)), None)
    utf8 = first.startswith(codecs.BOM_UTF8)
    if encoding == "utf-16":
        if utf16 is None and (utf8 or 0 not in first):
            raise DataError(f"{path} is not UTF-16: it has no byte order mark. Choose another encoding.")
        return utf16 or "utf-16-le", 2 * (utf16 is not None)  # without a mark: the order that Windows writes
    if utf16 or first.count(0) > len(first) / 4:
        raise DataError(f"{path} looks like UTF-16. Give the encoding utf-16, or {_conversion('UTF-16')}.")
    if utf8 and encoding != "utf-8":
        raise DataError(f"{path} begins with the mark of UTF-8, and the encoding asked for is {encoding}. Take utf-8.")
    return encoding, len(codecs.BOM_UTF8) * utf8


def _require_length(line: str, number: int, path: Path, limits: TableLimits) -> None:
    if len(line) > limits.row_characters:
        raise DataError(
            f"{path}, line {number}: it is longer than {limits.row_characters:,} characters. Put every row on a line "
            "of its own, and leave out rows that are longer."
        )


def _bad_byte(
    error: UnicodeDecodeError,
    path: Path,
    encoding: Encoding,
    decoder: io.IncrementalNewlineDecoder,
    chunk: bytes,
    offset: int,
    number: int,
) -> DataError:
    """Return the error that names line and byte.

    Args:
        error: what the decoder raised at `chunk`; its state is still the one before.
        offset: of `chunk` in the file.
        number: of the line that is being read.
    """
    held = len(error.object) - len(chunk)  # bytes of a character that began in the chunk before
    before = decoder.decode(chunk[: max(0, error.start - held)])
    line, place = number + before.count("\n"), offset - held + error.start
    value = error.object[error.start]
    where = f"{path}, line {line}: byte {place:,} of the file (0x{value:02X}) is not valid in {encoding}."
    return DataError(f"{where} {_advice(encoding, value, before.isascii(), cut_off=not chunk)}")


def _advice(encoding: Encoding, value: int, ascii_before: bool, cut_off: bool) -> str:
    if cut_off:
        return "The file ends in the middle of a character: get the whole file."
    if encoding != "utf-8":
        return "Choose another encoding, or mend the file."
    if not ascii_before:
        return "What comes before is UTF-8, so the file looks damaged, or made of files in several encodings. Mend it."
    # What latin-1 keeps for control characters are quotes and dashes in Windows' cp1252; above, the two are the same.
    name, iconv = ("cp1252", "CP1252") if value < 0xA0 else ("latin-1", "ISO-8859-1")
    return f"The file looks like {name}: give that as its encoding, or {_conversion(iconv)}."


def _conversion(iconv: str) -> str:
    return f"convert it: iconv -f {iconv} -t UTF-8 old > new"
