"""The files of CIFAR-10 and CIFAR-100 in their Python form: found, read without running code, compared with MD5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from multirate_core.data.downloads import RemoteFile
from multirate_core.data.known_files import KnownFiles
from multirate_core.data.raw_files import RawSplit, other_files_note
from multirate_core.data.safe_pickle import read_pickle
from multirate_core.errors import DataError


def cifar_files(num_classes: int) -> KnownFiles:
    """Return how CIFAR-10 or CIFAR-100 lies on disk: the test file and at least one training file.

    Args:
        num_classes: 10 or 100.
    """
    official: Any = CIFAR10 if num_classes == 10 else CIFAR100
    train, test = [name for name, _ in official.train_list], official.test_list[0][0]
    return KnownFiles(
        folders=(official.base_folder, ""),
        wanted=f"{train[0]} and {test}",
        made=official.base_folder,
        remote=(RemoteFile((official.url,), official.tgz_md5),),
        holds=lambda folder: (folder / test).is_file() and any((folder / name).is_file() for name in train),
        read=lambda folder: _read(official, folder, num_classes),
    )


def _read(official: Any, folder: Path, num_classes: int) -> RawSplit:
    """Read whichever training files are present, and the test file."""
    present = [name for name, _ in official.train_list if (folder / name).is_file()]
    parts = [_read_batch(folder / name, num_classes) for name in present]
    images, labels = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    test = _read_batch(folder / official.test_list[0][0], num_classes)
    return RawSplit(images, labels, *test, _class_names(official, folder), _notes(official, folder))


def _read_batch(path: Path, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return images uint8 (N, 3, 32, 32) and labels int64 (N,) of one file."""
    content = read_pickle(path)
    rows, labels = content.get("data"), content.get("labels", content.get("fine_labels"))
    try:
        images = torch.from_numpy(rows.copy()).reshape(-1, 3, 32, 32)  # type: ignore[union-attr]
        targets = torch.tensor(labels, dtype=torch.int64)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} holds no CIFAR images and labels: {error}. Get the official file.") from error
    if targets.shape != images.shape[:1] or not len(targets) or not 0 <= targets.min() <= targets.max() < num_classes:
        raise DataError(
            f"{path} holds {len(images)} images and labels of the shape {tuple(targets.shape)}; as many labels from 0 "
            f"to {num_classes - 1} are needed. Get the official file."
        )
    return images, targets


def _class_names(official: Any, folder: Path) -> tuple[str, ...]:
    path = folder / official.meta["filename"]
    if not path.is_file():
        return ()
    names = read_pickle(path).get(official.meta["key"])
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _notes(official: Any, folder: Path) -> tuple[str, ...]:
    """Say which files are missing, and which are not the official ones."""
    listed = [*official.train_list, *official.test_list]
    missing = [name for name, _ in listed if not (folder / name).is_file()]
    notes = (f"Not all training files are there; missing: {', '.join(missing)}.",) if missing else ()
    return (*notes, *other_files_note(folder, {name: md5 for name, md5 in listed if name not in missing}))
