"""Data that a stranger hands to the server: checked, then kept below the user data folder under its own check sum.

A zip of class folders becomes a folder for `folder_scan.list_folder`, a text table is kept as it is. A zip is checked
from end to end before a byte of it is written; what only unpacking can show (a wrong length, a wrong check sum) shows
in a temporary neighbour, which is removed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from multirate_core.data.folder_scan import list_folder
from multirate_core.data.paths import UPLOADS
from multirate_core.data.safe_names import slug
from multirate_core.data.zip_images import Chosen, choose_images
from multirate_core.data.zip_members import read_content, refusal
from multirate_core.errors import ConfigError, DataError
from multirate_core.home import subfolder

TABLE_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
MB: Final = 1 << 20
_HASH_DIGITS: Final = 16
_BLOCK: Final = 4096  # what a file system adds to a file at most, its entry included
_UNFINISHED: Final = ".unpacking-"
_OURS: Final = re.compile(rf"\{_UNFINISHED}.*|[a-z0-9-]+-[0-9a-f]{{{_HASH_DIGITS}}}({'|'.join(TABLE_SUFFIXES)})?")


@dataclass(frozen=True)
class UploadLimits:
    """What is taken from a browser.

    Args:
        upload_bytes: of the file that is handed over; default 200 MiB, because a server holds it in memory until it is
            kept. 0 means that nothing is taken.
        unpacked_bytes: of all members of a zip; default 5 GiB.
        files: members of a zip.
    """

    upload_bytes: int = 200 * MB
    unpacked_bytes: int = 5 * 1024 * MB
    files: int = 200_000


def limits_from_environment() -> UploadLimits:
    """Return the limits that the server's owner sets, each a whole number below 10^9.

    MULTIRATE_UPLOAD_MB and MULTIRATE_UNPACKED_MB count 2^20 bytes, MULTIRATE_UPLOAD_FILES members of a zip;
    MULTIRATE_UPLOAD_MB=0 turns uploads off.

    Raises:
        ConfigError: one of them is no such number.
    """
    own = UploadLimits()
    return UploadLimits(
        _whole("MULTIRATE_UPLOAD_MB", own.upload_bytes // MB, least=0) * MB,
        _whole("MULTIRATE_UNPACKED_MB", own.unpacked_bytes // MB) * MB,
        _whole("MULTIRATE_UPLOAD_FILES", own.files),
    )


def unpack_images(source: Path | BinaryIO, name: str, limits: UploadLimits) -> Path:
    """Return a folder with the images of a zip, for `folder_scan.list_folder`; the same content gives the same folder.

    Args:
        source: the zip, a path or a seekable file.
        name: what the user calls it; part of messages and of the folder's name.
        limits: of its sizes.

    Raises:
        DataError: the zip is refused (see `zip_images.choose_images`), damaged, not readable as an image folder, or
            the disk has too little room; then nothing of it is left.
        StoreError: the user data folder cannot be made.
    """
    with _opened(source, name) as file:
        _require_size(file, name, limits)
        images = choose_images(file, name, limits.files, limits.unpacked_bytes)
        target = _target(file, name, "")
        if _is_kept(target):
            return target
        _require_room(target.parent, name, [member.size for member, _ in images])
        with _unfinished(target) as folder:
            folder.mkdir()
            for image in images:
                _write_image(file, name, image, folder)
            _require_readable(folder, name)
    return target


def keep_table(source: Path | BinaryIO, name: str, limits: UploadLimits) -> Path:
    """Return a file with the content of a text table; what is in it is for its reader to judge.

    Args:
        source: the table, a path or a seekable file.
        name: what the user calls it; its suffix must be one of TABLE_SUFFIXES.
        limits: of its size.

    Raises:
        DataError: the suffix is another, the table too large, or the disk has too little room.
        StoreError: the user data folder cannot be made.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DataError(f"{name[:80]!r} is no text table; allowed suffixes: {', '.join(TABLE_SUFFIXES)}. Convert it.")
    with _opened(source, name) as file:
        size = _require_size(file, name, limits)
        target = _target(file, name, suffix)
        if _is_kept(target):
            return target
        _require_room(target.parent, name, [size])
        with _unfinished(target) as path, path.open("xb") as out:
            file.seek(0)
            shutil.copyfileobj(file, out)
    return target


def forget_old_uploads(keep_days: int) -> int:
    """Remove uploads that nobody uploaded for so many days, and what unpacking left when its process was killed.

    A folder counts as used when it is made and when the same content is uploaded again, not when a race reads it: that
    no race reads or will read it is for the caller to see to. Nothing that this module did not make is touched.

    Args:
        keep_days: ≥ 1.

    Returns:
        How many folders and tables were removed.

    Raises:
        ConfigError: `keep_days` is below 1.
        DataError: one cannot be removed.
    """
    if keep_days < 1:
        raise ConfigError(f"keep_days must be ≥ 1, got {keep_days}.")
    oldest = time.time() - keep_days * 86_400
    removed = 0
    for path in sorted(subfolder(UPLOADS).iterdir()):
        with _disk_errors(path.name), contextlib.suppress(FileNotFoundError):  # another process removed it first
            if _OURS.fullmatch(path.name) and not path.is_symlink() and path.stat().st_mtime < oldest:
                _remove(path)
                removed += 1
    return removed


def _whole(variable: str, otherwise: int, least: int = 1) -> int:
    text = os.environ.get(variable, str(otherwise))
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise ConfigError(
            f"{variable} must be a whole number from {least} to 999999999, got {text[:40]!r}. Correct it."
        )
    return int(text)


@contextlib.contextmanager
def _opened(source: Path | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Give the file; an error of the disk, of the source's or of our own, becomes a DataError."""
    with _disk_errors(name), source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source) as file:
        yield file


@contextlib.contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{name[:80]!r} cannot be read, kept or removed: {error.strerror}. Check the server's disk."
        ) from error


def _require_size(file: BinaryIO, name: str, limits: UploadLimits) -> int:
    size = file.seek(0, os.SEEK_END)
    if size > limits.upload_bytes:
        raise DataError(
            f"{name[:80]!r} has {size / MB:,.0f} MB, at most {limits.upload_bytes / MB:,.0f} MB are taken. Use less "
            "data, or ask the server's owner to raise MULTIRATE_UPLOAD_MB."
        )
    return size


def _target(file: BinaryIO, name: str, suffix: str) -> Path:
    """Return where this content is kept: under the name that it was uploaded with first, if it is there already."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()[:_HASH_DIGITS]  # type: ignore[arg-type]
    folder = subfolder(UPLOADS)
    made = sorted(folder.glob(f"*-{digest}{suffix}"))
    stem = PurePosixPath(name.replace("\\", "/")).stem
    return made[0] if made else folder / f"{slug(stem, 'upload')}-{digest}{suffix}"


def _is_kept(target: Path) -> bool:
    """Tell whether the content is there, and note that it was used."""
    if not target.exists():
        return False
    os.utime(target)
    return True


def _require_room(folder: Path, name: str, sizes: Sequence[int]) -> None:
    needed, free = 2 * sum(size + _BLOCK for size in sizes), shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{name[:80]!r} needs {needed / MB:,.0f} MB of free disk on the server, there are {free / MB:,.0f} MB. "
            "Use less data, or ask the server's owner to make room."
        )


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Give a path that is moved to `target` when the block ends well, and removed otherwise."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_UNFINISHED) as temporary:
        made = Path(temporary) / target.name
        yield made
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # else the same content was uploaded twice at once, and the other came first
                raise


def _write_image(file: BinaryIO, name: str, image: Chosen, folder: Path) -> None:
    member, parts = image
    path = folder.joinpath(*parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            for piece in read_content(file, name, member):
                out.write(piece)
    except OSError as error:
        raise refusal(name, member.name, f"cannot be written: {error.strerror}. Check the server's disk.") from error


def _require_readable(folder: Path, name: str) -> None:
    """Raise what the reader of image folders would say, without the path of the temporary folder."""
    try:
        list_folder(folder)
    except DataError as error:
        raise DataError(str(error).replace(str(folder), repr(name[:80]))) from None


def _remove(path: Path) -> None:
    """Remove a folder or a table; a folder loses its name first, so that half of it is never found again."""
    if path.is_file():
        path.unlink()
        return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_UNFINISHED) as temporary:
        path.rename(Path(temporary) / path.name)
