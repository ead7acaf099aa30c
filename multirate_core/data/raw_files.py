"""What the readers of known files share: the split as it is stored, and check sums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class RawSplit:
    """A data set as its files hold it.

    Args:
        train_images, test_images: uint8 (N, C, H, W), in the set's own size and channels.
        train_labels, test_labels: int64 (N,).
        class_names: () if the files do not tell.
        notes: what is special about these files.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def md5_of(path: Path) -> str:
    """Return the MD5 of a file as hex digits: what the publishers of these sets give, no proof against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def other_files_note(folder: Path, official: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on the files of a folder whose MD5 is not the published one; () if there is none."""
    other = [name for name, md5 in official.items() if md5_of(folder / name) != md5]
    return (f"Not the official files (their MD5 differs): {', '.join(other)}.",) if other else ()
