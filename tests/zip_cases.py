"""Zips for tests: fit ones, and patches that make each kind of hostile one."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from multirate_core.data.uploads import UploadLimits, unpack_images

LIMITS = UploadLimits()
CLASSES = ("cat/1.png", "cat/2.png", "dog/1.jpg", "dog/2.jpg")


def content_of(name: str) -> bytes:
    """Return bytes that differ from name to name; no reader of names looks into them."""
    return f"picture {name} ".encode() * 20


def zip_of(names: Sequence[str] | Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip with these members; names that end with "/" are folders."""
    contents = names if isinstance(names, Mapping) else {name: content_of(name) for name in names}
    return zip_of_entries(
        [(name, b"" if name.endswith("/") else content) for name, content in contents.items()], method
    )


def zip_of_entries(entries: Sequence[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of names or full entries with their contents."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return file.getvalue()


def with_mode(name: str, mode: int, content: bytes = b"/etc/passwd") -> bytes:
    """Return a fit zip with one more member that has a Unix mode: a link, a device."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return zip_of_entries([*((each, content_of(each)) for each in CLASSES), (info, content)])


def renamed(old: bytes, new: bytes, extra: Sequence[str] = ()) -> bytes:
    """Return a fit zip in which one name is replaced by one of equal length, in both places."""
    assert len(old) == len(new)
    return zip_of([*CLASSES, *extra]).replace(old, new)


def entry_at(data: bytes, name: str) -> int:
    """Return where the table of contents lists a member."""
    return data.rindex(name.encode()) - 46


def header_at(data: bytes, name: str) -> int:
    """Return where the header of a member begins."""
    return data.index(name.encode()) - 30


def patched(data: bytes, at: int, form: str, *values: int | bytes) -> bytes:
    """Return the zip with numbers written over it."""
    changed = bytearray(data)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


def unpack(data: bytes, limits: UploadLimits = LIMITS, name: str = "pets.zip") -> Path:
    """Hand a zip over as a page would."""
    return unpack_images(io.BytesIO(data), name, limits)


def names_below(folder: Path) -> set[str]:
    """Every file below a folder, by its path from there."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def listing(folder: Path) -> dict[str, int]:
    """Every file and folder below a folder, with the time of its last change."""
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


FIT = zip_of(CLASSES)
