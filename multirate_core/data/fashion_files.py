"""The files of Fashion-MNIST: found packed or unpacked, checked, and read into memory."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST
from torchvision.datasets.utils import download_url

from multirate_core.data.raw_files import RawSplit, md5_of
from multirate_core.errors import DataError, DownloadError
from multirate_core.network import FAILURES, patience

_PACKED: Final[dict[str, str]] = dict(FashionMNIST.resources)  # file name: MD5
_NUM_CLASSES: Final = 10


def read_fashion(folder: Path | None, download: bool, home: Path) -> RawSplit:
    """Read Fashion-MNIST; nothing is written but what is downloaded.

    Args:
        folder: holds `FashionMNIST/raw`, or is one of these two; files may be packed (.gz). None looks in `home`.
        download: fetch the files to `home` if they are missing.
        home: where this project may write.

    Raises:
        DataError: files are missing or damaged.
        DownloadError: the network does not give them.
    """
    raw = _find(folder or home)
    if raw is None and download:
        raw = home / "FashionMNIST" / "raw"
        _download(raw)
    if raw is None:
        raise DataError(
            f"Fashion-MNIST is not in {folder or home}: looked for {', '.join(_PACKED)}, packed or not, there and in "
            "FashionMNIST/raw below. Give the folder that holds them, or allow the download."
        )
    train_images, train_labels = _read_part(raw, "train")
    test_images, test_labels = _read_part(raw, "t10k")
    return RawSplit(train_images, train_labels, test_images, test_labels, (), ())


def read_idx(path: Path) -> Tensor:
    """Read a file of unsigned bytes in the format of MNIST, packed (.gz) or not.

    Returns:
        uint8, in the shape that the file's header tells.

    Raises:
        DataError: the file is damaged or of another format.

    Source: https://yann.lecun.com/exdb/mnist, "The IDX file format".
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, dimensions = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Get the official file.") from error
    start = 4 + 4 * dimensions
    if (zeros, kind) != (0, 8) or len(content) - start != math.prod(shape):
        raise DataError(
            f"{path} is no whole file of unsigned bytes: its header promises the shape {shape}, and "
            f"{len(content) - start} bytes follow. Get the official file."
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _find(folder: Path) -> Path | None:
    """Return the first folder that holds all four files, each packed or not."""
    for place in (folder / "FashionMNIST" / "raw", folder / "raw", folder):
        if all(_file(place, name) for part in ("train", "t10k") for name in _names(part)):
            return place
    return None


def _file(raw: Path, name: str) -> Path | None:
    return next((path for path in (raw / name, raw / f"{name}.gz") if path.is_file()), None)


def _download(raw: Path) -> None:
    for name, md5 in _PACKED.items():
        try:
            with patience():
                download_url(FashionMNIST.mirrors[0] + name, raw, name, md5)
        except FAILURES as error:
            raise DownloadError(
                f"{name} of Fashion-MNIST cannot be downloaded: {error}. Put the four .gz files into {raw}, or give "
                "the folder that holds them."
            ) from error


def _read_part(raw: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, H, W) and labels (N,) of the training or test part."""
    tensors = []
    for name in _names(part):
        path = _file(raw, name)
        assert path is not None  # _find has seen it
        _require_official(path)
        tensors.append(read_idx(path))
    images, labels = tensors
    if images.dim() != 3 or labels.shape != images.shape[:1] or labels.max() >= _NUM_CLASSES:
        raise DataError(
            f"the {part} files in {raw} do not belong together: images {tuple(images.shape)}, labels "
            f"{tuple(labels.shape)} up to {int(labels.max())}. Get the official files."
        )
    return images.unsqueeze(1), labels.long()


def _require_official(path: Path) -> None:
    """Check a packed file against its published MD5; none is published for unpacked ones."""
    if path.name in _PACKED and (found := md5_of(path)) != _PACKED[path.name]:
        raise DataError(
            f"{path} is damaged or not the official file: its MD5 is {found}, must be {_PACKED[path.name]}. "
            "Delete it and get it again."
        )
