"""What the readers of known files share: the split as it is stored, and check sums."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from multirate_core.data.folder_scan import split_rows
from multirate_core.errors import DataError


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


def split_again(raw: RawSplit, seed: int, share: float) -> RawSplit:
    """Cut the test images out of the training images; the set's own are left out.

    Args:
        raw: as the files hold it.
        seed: the same seed gives the same parts.
        share: of test images in every class.

    Raises:
        DataError: a class has one image only.
    """
    labels = raw.train_labels.tolist()
    if min(Counter(labels).values()) < 2:
        raise DataError("a random split needs at least 2 training images of every class. Choose the set's own split.")
    train, test = split_rows(labels, seed, share)
    note = f"A random split: {len(test)} of {len(labels)} images, {share:.0%} of every class, are for testing"
    images, of = raw.train_images, raw.train_labels
    parts = (images[train], of[train], images[test], of[test])
    return RawSplit(*parts, raw.class_names, (*raw.notes, f"{note} (seed {seed})."))


def md5_of(path: Path) -> str:
    """Return the MD5 of a file as hex digits: what the publishers of these sets give, no proof against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def other_files_note(folder: Path, official: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on the files of a folder whose MD5 is not the published one; () if there is none."""
    other = [name for name, md5 in official.items() if md5_of(folder / name) != md5]
    return (f"Not the official files (their MD5 differs): {', '.join(other)}.",) if other else ()
