"""Decoded images in a file on disk, for sets that the memory does not hold: written once, then mapped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from multirate_core.data import room
from multirate_core.errors import DataError

_VERSION: Final = 1  # of how images are decoded and kept

Decoded = NDArray[np.uint8] | str


def images_in_file(
    paths: Sequence[Path], shape: tuple[int, int, int], bad_images: str, decode: Callable[[], Iterable[Decoded]]
) -> tuple[Tensor, dict[Path, str]]:
    """Return images from a file in the user data folder; it is written if it is not there.

    Args:
        paths: of the images. A file is used again for the same paths, sizes and times of writing.
        shape: (C, H, W) of the decoded images.
        bad_images: as in `DataConfig`; a set is kept for each way.
        decode: yields for each path the image, uint8 of that shape, or why it cannot be read.

    Returns:
        uint8 images (N, C, H, W) of all paths that could be read, in their order, mapped from the file; and the
        reasons for the others.

    Raises:
        DataError: the disk has no room; and what `decode` raises.
    """
    file = room.image_folder() / f"images-{_key(paths, shape, bad_images)}.bytes"
    bad = _bad_of(file, len(paths), shape)
    if bad is None:
        _let_go(file.parent)
        _require_room(file.parent, len(paths) * int(np.prod(shape)))
        bad = _write(file, decode())
    count = len(paths) - len(bad)
    if not count:
        return torch.empty(0, *shape, dtype=torch.uint8), {paths[row]: reason for row, reason in bad.items()}
    mapped = torch.from_file(str(file), shared=False, size=count * int(np.prod(shape)), dtype=torch.uint8)
    return mapped.view(count, *shape), {paths[row]: reason for row, reason in bad.items()}


def _key(paths: Sequence[Path], shape: tuple[int, int, int], bad_images: str) -> str:
    digest = hashlib.sha256(f"{_VERSION} {shape} {bad_images}".encode())
    for path in paths:
        with contextlib.suppress(OSError):  # one that is missing is told by `decode`
            facts = path.stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()[:32]


def _bad_of(file: Path, count: int, shape: tuple[int, int, int]) -> dict[int, str] | None:
    """Return which rows of a finished file could not be read; None if there is no such file."""
    try:
        kept: Any = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        bad = {int(row): str(reason) for row, reason in kept.items()}
        if file.stat().st_size != (count - len(bad)) * int(np.prod(shape)):
            return None
        file.touch()
    except (OSError, ValueError, AttributeError):  # not there, or damaged
        return None
    return bad


def _require_room(folder: Path, needed: int) -> None:
    free = room.disk_room()
    if needed * room.SPARE > free:
        raise DataError(
            f"the images need {needed / 2**30:.1f} GiB, more than the memory holds, and the disk of {folder} has "
            f"{free / 2**30:.1f} GiB left. Choose a smaller image size, or fewer images with train_images."
        )


def _write(file: Path, decoded: Iterable[Decoded]) -> dict[int, str]:
    """Write the images one after the other; the file has its name only when it is whole."""
    bad: dict[int, str] = {}
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            for row, image in enumerate(decoded):
                if isinstance(image, str):
                    bad[row] = image
                else:
                    out.write(image.tobytes())
        partial.replace(file)
        partial.write_text(json.dumps(bad), encoding="utf-8")
        partial.replace(file.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)
    return bad


def _let_go(folder: Path) -> None:
    """Make room for a new file: remove the oldest ones, and drafts of processes that have ended.

    A race that has mapped a file keeps it until it ends.
    """
    with contextlib.suppress(OSError):
        for old in room.image_files(folder)[room.KEPT_FILES - 1 :]:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)
        for draft in folder.glob("images-*.bytes.*.partial"):
            if not psutil.pid_exists(int(draft.name.split(".")[-2])):
                draft.unlink(missing_ok=True)
