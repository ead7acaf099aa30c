"""Which members of an uploaded zip are the images of a data set: all names, sizes and classes, nothing unpacked yet."""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import splitext
from typing import BinaryIO, Final

from multirate_core.data.folder_scan import IMAGE_SUFFIXES
from multirate_core.data.safe_names import twins, why_unsafe
from multirate_core.data.zip_members import Member, read_members, refusal
from multirate_core.errors import DataError

_MOST_RATIO: Final = 200  # deflate reaches 1,032; photographs stay near 1, drawings below 100
_RATIO_FROM: Final = 1 << 20  # bytes of content from which the ratio counts: below, it can do no harm
_MOST_FOLDERS: Final = 20_000
_ARCHIVES: Final = frozenset({".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
_ADDED: Final = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})

Chosen = tuple[Member, tuple[str, ...]]


def choose_images(file: BinaryIO, archive: str, most_files: int, most_bytes: int) -> list[Chosen]:
    """Return the images of a zip of class folders, each with the parts of its path below the folder to be made.

    Images must have a suffix that the reader of folders knows. A single folder around the classes is taken off.
    Hidden files, what macOS and Windows add (`__MACOSX`, `Thumbs.db`), other files, and images outside class folders
    are passed over.

    Args:
        file: seekable.
        archive: what the user calls it.
        most_files: members allowed.
        most_bytes: bytes allowed that all members declare together.

    Raises:
        DataError: the zip or one of its members is not fit (see `zip_members` and `safe_names`), two names are one
            file on some systems, it is too large or packed too tightly, holds another archive, no image, fewer than
            two classes, or a class without images.
    """
    members = read_members(file, archive, most_files)
    _require_safe_names(archive, members)
    _require_sizes(archive, members, most_bytes)
    shown = [(member, parts) for member in members if not _is_hidden(parts := _parts(member))]
    for member, _ in shown:
        if not member.is_folder and _suffix(member) in _ARCHIVES:
            raise refusal(archive, member.name, "is an archive itself. Unpack it and pack its images with the others.")
    images = [(member, parts) for member, parts in shown if _is_image(member)]
    if not images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{archive[:80]!r} holds no image; allowed suffixes: {suffixes}. Add images, a folder a class.")
    wrapper = _wrapper(images)
    below = [(member, parts[len(wrapper) :]) for member, parts in shown if parts[: len(wrapper)] == wrapper]
    depth = _require_classes(archive, below)
    return [(member, parts) for member, parts in below if _is_image(member) and len(parts) > depth]


def _require_safe_names(archive: str, members: Sequence[Member]) -> None:
    for member in members:
        why = why_unsafe(member.name)
        if why:
            raise refusal(archive, member.name, why)
    folders = {member.name.rpartition("/")[0] for member in members}
    if len(folders) > _MOST_FOLDERS:
        raise DataError(
            f"{archive[:80]!r} holds {len(folders):,} folders, at most {_MOST_FOLDERS:,} are allowed. Put the images "
            "of a class into one folder."
        )
    same = twins([member.name for member in members])
    if same is not None:
        raise refusal(archive, same[0], f"has the same name as {same[1][:120]!r} on some systems. Rename one of them.")


def _require_sizes(archive: str, members: Sequence[Member], most_bytes: int) -> None:
    total, packed = sum(member.size for member in members), sum(member.packed for member in members)
    if total > most_bytes:
        raise DataError(
            f"{archive[:80]!r} holds {total / 2**20:,.0f} MB unpacked, at most {most_bytes / 2**20:,.0f} MB are "
            "allowed. Use fewer or smaller images."
        )
    for member in members:
        if _is_too_tight(member.size, member.packed):
            ratio = f"{member.size / max(1, member.packed):,.0f}"
            raise refusal(
                archive, member.name, f"is packed {ratio} : 1, at most {_MOST_RATIO} : 1 is allowed. Leave it out."
            )
    if _is_too_tight(total, packed):
        raise DataError(
            f"{archive[:80]!r} is packed {total / max(1, packed):,.0f} : 1, at most {_MOST_RATIO} : 1 is allowed. "
            "Use photographs or drawings, not blank images."
        )


def _is_too_tight(size: int, packed: int) -> bool:
    return size > _RATIO_FROM and size > _MOST_RATIO * packed


def _parts(member: Member) -> tuple[str, ...]:
    return tuple(member.name.removesuffix("/").split("/"))


def _suffix(member: Member) -> str:
    return splitext(member.name)[1].lower()


def _is_hidden(parts: tuple[str, ...]) -> bool:
    """Tell what systems add by themselves: macOS its forks, Windows its previews."""
    return any(part.startswith(".") or part in _ADDED for part in parts)


def _is_image(member: Member) -> bool:
    return not member.is_folder and _suffix(member) in IMAGE_SUFFIXES


def _wrapper(images: Sequence[Chosen]) -> tuple[str, ...]:
    """Return the one folder that all images lie in, if there are folders in it, else ()."""
    tops = {parts[0] for _, parts in images}
    return tuple(tops) if len(tops) == 1 and any(len(parts) > 2 for _, parts in images) else ()


def _require_classes(archive: str, below: Sequence[Chosen]) -> int:
    """Return how many folders are above an image at least: 1, or 2 with `train` and `val` above the classes."""
    has_train = any(parts[:1] == ("train",) and (len(parts) > 1 or member.is_folder) for member, parts in below)
    depth = 2 if has_train else 1
    training = [(member, parts) for member, parts in below if not has_train or parts[:1] == ("train",)]
    folders = {
        parts[depth - 1]
        for member, parts in training
        if len(parts) > depth or (len(parts) == depth and member.is_folder)
    }
    classes = {parts[depth - 1] for member, parts in training if len(parts) > depth and _is_image(member)}
    if len(classes) < 2:
        raise DataError(
            f"{archive[:80]!r} has {len(classes)} class folder(s) with images"
            f"{''.join(f' ({name[:40]})' for name in classes)}; training needs at least 2. Put the images of each "
            "class into a folder of its own."
        )
    if folders > classes:
        raise DataError(
            f"{archive[:80]!r}: the class folder {min(folders - classes)[:80]!r} holds no image; allowed suffixes: "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}. Add images or leave the folder out."
        )
    return depth
