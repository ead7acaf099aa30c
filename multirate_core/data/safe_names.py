"""Names of files that a stranger chose: which may be written on any system, and which would be the same file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

_LONGEST_PART: Final = 255  # bytes, on all usual file systems
_DEEPEST: Final = 16  # folders above a file
_DEVICES: Final = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def why_unsafe(name: str) -> str:
    """Return why the name of a member may not be written below a folder, or "" if it may.

    Args:
        name: with "/" between folders, and at the end of a folder.

    Returns:
        What is wrong and what to do, to stand after the name; refused are all ways out of the folder (an absolute
        name, "..", a drive letter, a backslash), control characters, names of Windows devices, and parts that are
        empty or longer than file systems take.
    """
    if "\\" in name:
        return 'has a backslash in its name; "/" is what parts folders. Pack the folder with an ordinary zip program.'
    if _CONTROL.search(name):
        return "has a control character in its name. Rename it."
    if name.startswith("/"):
        return "has an absolute name; only names below the archive's own folder are allowed. Pack the folder again."
    if name.count("/") > _DEEPEST:
        return f"lies {name.count('/')} folders deep; at most {_DEEPEST} are allowed. Put it higher up."
    return next(filter(None, map(_why_unsafe_part, name.removesuffix("/").split("/"))), "")


def twins(names: Sequence[str]) -> tuple[str, str] | None:
    """Return two names that some file systems cannot hold side by side, or None.

    Names are twins when they or folders above them differ only in upper and lower case, in how Unicode writes an
    accent, or in dots and spaces at the end; when two files are equal; and when one is a file and the other a folder.
    """
    folded = {"": ""}  # the path of a folder: what is left of it when such differences are taken away
    written: dict[str, str] = {}  # the same of files and folders: how it was written, with "/" at the end of folders
    for name in names:
        parent, _, last = name.rpartition("/")
        for folder in _not_yet_in(folded, parent):
            above, _, part = folder.rpartition("/")
            key = folded[folder] = f"{folded[above]}/{_folded(part)}"
            if key in written:
                return written[key], f"{folder}/"
            written[key] = f"{folder}/"
        if last:
            key = f"{folded[parent]}/{_folded(last)}"
            if key in written:
                return written[key], name
            written[key] = name
    return None


def slug(name: str, otherwise: str) -> str:
    """Return a short name of a-z, 0-9 and "-" made from what a user calls something; `otherwise` if none is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or otherwise


def _why_unsafe_part(part: str) -> str:
    if not part.strip(". "):
        return f'has the part {part!r} in its name; empty parts, "." and ".." are not allowed. Pack the folder again.'
    if _DRIVE.match(part):
        return "has a drive letter in its name; only names below the archive's own folder are allowed. Rename it."
    if _DEVICES.fullmatch(part):
        return f"has the part {part[:40]!r} in its name, which Windows keeps for a device. Rename it."
    if len(part.encode()) > _LONGEST_PART:
        return f"has a name of {len(part.encode())} bytes; file systems take at most {_LONGEST_PART}. Rename it."
    return ""


def _not_yet_in(known: Mapping[str, str], folder: str) -> list[str]:
    """Return a folder and those above it that are not known, the highest first."""
    new: list[str] = []
    while folder not in known:
        new.insert(0, folder)
        folder = folder.rpartition("/")[0]
    return new


def _folded(part: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())
    return folded.rstrip(". ")
