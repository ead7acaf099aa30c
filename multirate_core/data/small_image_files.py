"""The files of SVHN and STL-10: whole sets of small images in a few files, read into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import STL10, SVHN

from multirate_core.data.downloads import RemoteFile
from multirate_core.data.known_files import KnownFiles, all_there
from multirate_core.data.matlab_files import read_matrices
from multirate_core.data.raw_files import RawSplit, other_files_note
from multirate_core.errors import DataError


def svhn_files() -> KnownFiles:
    """Return how SVHN lies on disk: single digits, without the "extra" part."""
    parts = [SVHN.split_list[part] for part in ("train", "test")]
    names = [name for _, name, _ in parts]
    return KnownFiles(
        folders=("SVHN", "svhn", ""),
        wanted=" and ".join(names),
        made="SVHN",
        remote=tuple(RemoteFile((url,), md5) for url, _, md5 in parts),
        holds=all_there(*names),
        read=lambda folder: RawSplit(
            *_read_svhn(folder / names[0]),
            *_read_svhn(folder / names[1]),
            (),
            other_files_note(folder, {name: md5 for _, name, md5 in parts}),
        ),
    )


def stl10_files() -> KnownFiles:
    """Return how STL-10 lies on disk, without its unlabelled part."""
    listed = {name: md5 for name, md5 in (*STL10.train_list, *STL10.test_list) if not name.startswith("unlabeled")}
    return KnownFiles(
        folders=(STL10.base_folder, ""),
        wanted=", ".join(listed),
        made=STL10.base_folder,
        remote=(RemoteFile((STL10.url,), STL10.tgz_md5),),
        holds=all_there(*listed),
        read=lambda folder: RawSplit(
            *_read_stl10(folder, "train"), *_read_stl10(folder, "test"), (), other_files_note(folder, listed)
        ),
    )


def _read_svhn(path: Path) -> tuple[Tensor, Tensor]:
    """Return images uint8 (N, 3, 32, 32) and labels int64 (N,); the files write the digit 0 as 10."""
    found = read_matrices(path, "X", "y")
    images, labels = found["X"], found["y"].reshape(-1)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(
            f"{path} holds images of the type {images.dtype} and shape {images.shape}; bytes of the shape "
            "(32, 32, 3, images) are needed. Get the official file."
        )
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
    return pixels, _labels(path, labels, len(pixels)) % 10


def _read_stl10(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images uint8 (N, 3, 96, 96), which the file holds column by column, and labels int64 (N,)."""
    path = folder / f"{part}_X.bin"
    pixels = np.fromfile(path, dtype=np.uint8)
    if len(pixels) % (3 * 96 * 96) or not len(pixels):
        raise DataError(f"{path} has {len(pixels)} bytes, no whole number of images of 3×96×96. Get the official file.")
    images = torch.from_numpy(pixels).view(-1, 3, 96, 96).transpose(2, 3).contiguous()
    labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8)
    return images, _labels(folder / f"{part}_y.bin", labels, len(images)) - 1


def _labels(path: Path, labels: np.ndarray, count: int) -> Tensor:
    """Return labels from 1 to 10, as the file has them, or raise DataError."""
    if labels.dtype.kind not in "iuf" or len(labels) != count or not count or not np.isin(labels, range(1, 11)).all():
        raise DataError(
            f"{path} holds {count} images and {len(labels)} labels of the type {labels.dtype}; as many labels from 1 "
            "to 10 are needed. Get the official file."
        )
    return torch.from_numpy(labels.astype(np.int64))
