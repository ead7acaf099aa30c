"""The members of a zip from a stranger: every field is checked before a byte is unpacked. Standard library only.

Python's zipfile is made to read what it can: it passes over bytes before the archive, cuts names at a null byte, lets
members share bytes, stops quietly at a declared size and keeps the whole table of contents in memory. Here each of
these is an error. The layout is that of PKWARE's APPNOTE 6.3, stored and deflated members, with or without zip64.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, NamedTuple

from multirate_core.errors import DataError

STORED, DEFLATED = 0, 8
_AGAIN: Final = "Pack the folder again with an ordinary zip program."
_CHUNK: Final = 1 << 18  # bytes read, and at most given out, at once
_LONGEST_NAME: Final = 512  # bytes, folders included
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF  # the number stands in a zip64 field instead

# Flags that a plain member may not have: encrypted (0, 6, 13), a patch to another file (5).
_ENCRYPTED, _PATCH, _HAS_DESCRIPTOR, _UTF8 = 0x2041, 0x20, 0x8, 0x800
_DOS_SPECIAL: Final = 0x48  # a volume label, a device
_DESCRIPTOR_SIZES: Final = frozenset({0, 12, 16, 20, 24})  # with and without its mark and zip64

_END, _END64, _LOCATOR = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
_ENTRY, _LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")


@dataclass(frozen=True)
class Member:
    """One member as the table of contents tells.

    Args:
        name: with "/" between folders and at the end of a folder.
        raw_name: its bytes.
        size, packed: bytes of the content and of its packed form.
        crc: CRC-32 of the content.
        method: STORED or DEFLATED.
        flags: general purpose flags.
        start: where in the archive its header begins; in what `read_members` returns, its packed bytes.
    """

    name: str
    raw_name: bytes
    size: int
    packed: int
    crc: int
    method: int
    flags: int
    start: int

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder."""
        return self.name.endswith("/")


class _Table(NamedTuple):
    """Where the table of contents lies, and how many members it lists."""

    start: int
    end: int
    members: int


def refusal(archive: str, member: str, why: str) -> DataError:
    """Return the error that names archive and member; both are shortened, `why` ends with what to do."""
    return DataError(f"{archive[:80]!r}: the member {member[:120]!r} {why}")


def read_members(file: BinaryIO, archive: str, most: int) -> list[Member]:
    """Return all members in the order of their bytes; each byte of the archive belongs to exactly one.

    Args:
        file: seekable, at any position.
        archive: what the user calls it.
        most: members allowed.

    Raises:
        DataError: not a zip, damaged, cut, with other bytes before, between or after its members, with more members,
            or with one that is encrypted, a link or another special file, or packed by a method that is not known.
    """
    try:
        table = _find_table(file, archive)
        if table.members > most:
            raise DataError(
                f"{archive[:80]!r} holds {table.members:,} members, at most {most:,} are allowed. Use fewer images."
            )
        members = sorted(_read_table(file, archive, table), key=lambda member: member.start)
        located = [_locate(file, archive, member, table.start) for member in members]
        return _require_tiling(archive, located, [*(member.start for member in members), table.start])
    except struct.error as error:
        raise _damaged(archive) from error


def read_content(file: BinaryIO, archive: str, member: Member) -> Iterator[bytes]:
    """Yield the content of a member in pieces; never more than it declares.

    Raises:
        DataError: it holds more or less than it declares, or its check sum is wrong.
    """
    size = crc = 0
    try:
        for piece in _pieces(file, member):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            if size > member.size:
                raise refusal(archive, member.name, f"holds more than the {member.size:,} bytes it declares. {_AGAIN}")
            yield piece
    except (zlib.error, EOFError) as error:
        raise refusal(archive, member.name, f"is damaged. {_AGAIN}") from error
    if size != member.size or crc != member.crc:
        raise refusal(archive, member.name, f"is damaged: its length or its check sum is wrong. {_AGAIN}")


def _damaged(archive: str) -> DataError:
    return DataError(f"{archive[:80]!r} is damaged or cut off: its table of contents cannot be read. {_AGAIN}")


def _find_table(file: BinaryIO, archive: str) -> _Table:
    """Return the place of the table of contents; nothing may lie between it and the records that end the archive."""
    end, (disk, first, here, count, size, start) = _last_record(file, archive)
    wide = _find_table64(file, archive, end)
    if wide is not None:
        return wide
    if disk or first or here != count or start + size != end:
        raise DataError(f"{archive[:80]!r} has other bytes before or after it, or is one of several parts. {_AGAIN}")
    return _Table(start, end, count)


def _last_record(file: BinaryIO, archive: str) -> tuple[int, tuple[int, ...]]:
    """Return where the last record begins and its numbers; the comment in it reaches exactly to the last byte."""
    tail_start = max(0, file.seek(0, 2) - _END.size - _FULL_16)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail):
            _, *numbers, comment = _END.unpack_from(tail, at)
            if at + _END.size + comment == len(tail):
                return tail_start + at, tuple(numbers)
        at = tail.rfind(b"PK\5\6", 0, at)
    file.seek(0)
    if file.read(4) == b"PK\3\4":
        raise DataError(f"{archive[:80]!r} is cut off, or other bytes follow its end. {_AGAIN}")
    raise DataError(f"{archive[:80]!r} is not a zip file. Pack the folder of images as a zip.")


def _find_table64(file: BinaryIO, archive: str, end: int) -> _Table | None:
    """Return what the zip64 record before the last record tells, or None if there is none."""
    if end < _LOCATOR.size + _END64.size:
        return None
    file.seek(end - _LOCATOR.size)
    mark, _, at, parts = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if mark != b"PK\6\7":
        return None
    if at + _END64.size + _LOCATOR.size != end or parts > 1:
        raise _damaged(archive)
    file.seek(at)
    mark, _, _, _, disk, first, here, count, size, start = _END64.unpack(file.read(_END64.size))
    if mark != b"PK\6\6" or disk or first or here != count or start + size != at:
        raise _damaged(archive)
    return _Table(start, at, count)


def _read_table(file: BinaryIO, archive: str, table: _Table) -> Iterator[Member]:
    """Yield the members one by one: a table of gigabytes never lies in memory."""
    file.seek(table.start)
    at = table.start
    for _ in range(table.members):
        entry = _ENTRY.unpack(file.read(_ENTRY.size))
        name_length, extra_length, comment_length = entry[10:13]
        at += _ENTRY.size + name_length + extra_length + comment_length
        if entry[0] != b"PK\1\2":
            raise _damaged(archive)
        raw_name, extra = file.read(name_length), file.read(extra_length)
        file.seek(comment_length, 1)
        yield _member(archive, entry, raw_name, extra)
    if at != table.end:
        raise _damaged(archive)


def _member(archive: str, entry: tuple[int, ...], raw_name: bytes, extra: bytes) -> Member:
    """Return one member, or refuse what it is."""
    flags, method, crc, packed, size = entry[3], entry[4], *entry[7:10]
    attributes, start = entry[15], entry[16]
    name = _text(archive, raw_name, flags)
    size, packed, start = _widened(archive, name, extra, (size, packed, start))
    if len(raw_name) > _LONGEST_NAME:
        raise refusal(archive, name, f"has a name of {len(raw_name):,} bytes, at most {_LONGEST_NAME:,} are allowed.")
    if flags & _ENCRYPTED:
        raise refusal(archive, name, "is encrypted; only members without a password are read. Pack it without one.")
    if method not in (STORED, DEFLATED) or flags & _PATCH:
        raise refusal(archive, name, f"is packed by method {method}; allowed: 0 (stored), 8 (deflate). {_AGAIN}")
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in (0, stat.S_IFDIR if name.endswith("/") else stat.S_IFREG) or attributes & _DOS_SPECIAL:
        raise refusal(
            archive, name, "is a link or another special file; only files and folders are read. Leave it out."
        )
    if (method == STORED and size != packed) or (name.endswith("/") and size):
        raise refusal(archive, name, f"declares sizes that contradict each other. {_AGAIN}")
    return Member(name, raw_name, size, packed, crc, method, flags, start)


def _text(archive: str, raw_name: bytes, flags: int) -> str:
    """Return a name as text: UTF-8, which some programs do not mark as such, or the letters of old DOS."""
    try:
        return raw_name.decode("utf-8")
    except UnicodeDecodeError as error:
        name = raw_name.decode("cp437")
        if flags & _UTF8:
            raise refusal(archive, name, f"has a name that is not UTF-8 although it is marked so. {_AGAIN}") from error
        return name


def _widened(archive: str, name: str, extra: bytes, numbers: Sequence[int]) -> Sequence[int]:
    """Replace the numbers that stand in the zip64 field; they come there in the same order, 8 bytes each."""
    if _FULL_32 not in numbers:
        return numbers
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1 and length >= 8 * numbers.count(_FULL_32) and at + 4 + length <= len(extra):
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return [next(wide) if number == _FULL_32 else number for number in numbers]
        at += 4 + length
    raise refusal(archive, name, f"is damaged: its sizes are missing. {_AGAIN}")


def _locate(file: BinaryIO, archive: str, member: Member, end: int) -> Member:
    """Return the member with the place of its packed bytes; its own header must tell the same as the table."""
    if member.start > end - _LOCAL.size:
        raise _damaged(archive)
    file.seek(member.start)
    mark, _, flags, method, *_, name_length, extra_length = _LOCAL.unpack(file.read(_LOCAL.size))
    same = mark == b"PK\3\4" and method == member.method and not flags & (_ENCRYPTED | _PATCH)
    if not same or file.read(name_length) != member.raw_name:
        raise refusal(archive, member.name, f"has a header that differs from the table of contents. {_AGAIN}")
    return replace(member, start=member.start + _LOCAL.size + name_length + extra_length)


def _require_tiling(archive: str, located: list[Member], begins: Sequence[int]) -> list[Member]:
    """Return the members if each begins where the one before it ends; `begins`: of their headers, and of the table."""
    if begins[0] != 0:
        raise DataError(f"{archive[:80]!r} has {begins[0]:,} bytes before its first member. {_AGAIN}")
    for member, begin in zip(located, begins[1:], strict=True):
        gap = begin - (member.start + member.packed)
        if gap < 0:
            raise refusal(archive, member.name, f"shares its bytes with another member. {_AGAIN}")
        if gap not in (_DESCRIPTOR_SIZES if member.flags & _HAS_DESCRIPTOR else {0}):
            raise refusal(archive, member.name, f"is followed by {gap:,} bytes that belong to no member. {_AGAIN}")
    return located


def _pieces(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield what the packed bytes give; EOFError if they end early or the packed form ends before them."""
    file.seek(member.start)
    left = member.packed
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATED else None
    while left:
        packed = file.read(min(left, _CHUNK))
        if not packed:
            raise EOFError
        left -= len(packed)
        if inflate is None:
            yield packed
            continue
        while packed:
            yield inflate.decompress(packed, _CHUNK)
            packed = inflate.unconsumed_tail
        if inflate.unused_data:
            raise EOFError
    if inflate is not None and member.packed:
        yield inflate.flush()
        if not inflate.eof:
            raise EOFError
