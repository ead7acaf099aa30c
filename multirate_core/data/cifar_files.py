"""The files of CIFAR-10 and CIFAR-100 in their Python form: found, read without running code, compared with MD5."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import download_and_extract_archive

from multirate_core.data.raw_files import RawSplit, md5_of
from multirate_core.data.safe_pickle import read_pickle
from multirate_core.errors import DataError, DownloadError
from multirate_core.network import FAILURES, patience


def read_cifar(num_classes: int, folder: Path | None, download: bool, home: Path) -> RawSplit:
    """Read whichever training files are present, and the test file; nothing is written but what is downloaded.

    Args:
        num_classes: 10 or 100.
        folder: holds `cifar-10-batches-py` (`cifar-100-python`), or is that folder. None looks in `home`.
        download: fetch the official files to `home` if there are none.
        home: where this project may write.

    Raises:
        DataError: files are missing, damaged, or pickles that hold more than data.
        DownloadError: the network does not give them.
    """
    official: Any = CIFAR10 if num_classes == 10 else CIFAR100
    found = _find(official, folder or home)
    if found is None and download:
        found = _download(official, home)
    if found is None:
        raise DataError(
            f"CIFAR-{num_classes} is not in {folder or home}: looked for {official.base_folder} with "
            f"{official.train_list[0][0]} and {official.test_list[0][0]}. Give the folder that holds them, or allow "
            "the download."
        )
    present = [name for name, _ in official.train_list if (found / name).is_file()]
    parts = [_read_batch(found / name, num_classes) for name in present]
    test_images, test_labels = _read_batch(found / official.test_list[0][0], num_classes)
    images, labels = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    return RawSplit(images, labels, test_images, test_labels, _class_names(official, found), _notes(official, found))


def _find(official: Any, folder: Path) -> Path | None:
    """Return the folder with the test file and at least one training file."""
    for place in (folder / official.base_folder, folder):
        some_training = any((place / name).is_file() for name, _ in official.train_list)
        if some_training and (place / official.test_list[0][0]).is_file():
            return place
    return None


def _download(official: Any, home: Path) -> Path:
    """Fetch and unpack the official files; a set unpacked in part never stands where it would be found."""
    place, draft = home / str(official.base_folder), home / f"{official.base_folder}.unpacking"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with patience():
            download_and_extract_archive(
                official.url, str(home), str(draft), filename=official.filename, md5=official.tgz_md5
            )
    except (*FAILURES, EOFError, tarfile.TarError) as error:
        raise DownloadError(
            f"{official.filename} cannot be downloaded: {error}. Unpack it from another machine into {home}, or give "
            "the folder that holds it."
        ) from error
    place.mkdir(exist_ok=True)
    without_it = official.test_list[0][0]  # no set is found without this file, so it goes last
    for file in sorted((draft / place.name).iterdir(), key=lambda file: file.name == without_it):
        file.replace(place / file.name)
    shutil.rmtree(draft, ignore_errors=True)
    return place


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
    other = [name for name, md5 in listed if name not in missing and md5_of(folder / name) != md5]
    notes = [f"Not all training files are there; missing: {', '.join(missing)}."] if missing else []
    if other:
        notes.append(f"Not the official files (their MD5 differs): {', '.join(other)}.")
    return tuple(notes)
