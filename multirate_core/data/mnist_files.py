"""The files of MNIST and Fashion-MNIST: found packed or unpacked, checked, and read into memory."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from multirate_core.data.downloads import RemoteFile
from multirate_core.data.known_files import KnownFiles
from multirate_core.data.raw_files import RawSplit, md5_of
from multirate_core.errors import DataError

_NUM_CLASSES: Final = 10


def mnist_files(official: Any) -> KnownFiles:
    """Return how MNIST or a set in its form lies on disk.

    Args:
        official: torchvision's class of the set: `MNIST` or `FashionMNIST`.
    """
    name, packed = official.__name__, dict(official.resources)
    remote = [RemoteFile(tuple(place + file for place in official.mirrors), md5, "raw") for file, md5 in packed.items()]
    return KnownFiles(
        folders=(f"{name}/raw", "raw", ""),
        wanted=f"{', '.join(packed)}, packed or not,",
        made=name,
        remote=tuple(remote),
        holds=lambda folder: all(_file(folder, name) for part in ("train", "t10k") for name in _names(part)),
        read=lambda raw: RawSplit(*_read_part(raw, "train", packed), *_read_part(raw, "t10k", packed), (), ()),
    )


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


def _file(raw: Path, name: str) -> Path | None:
    return next((path for path in (raw / name, raw / f"{name}.gz") if path.is_file()), None)


def _read_part(raw: Path, part: str, packed: Mapping[str, str]) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, H, W) and labels (N,) of the training or test part."""
    tensors = []
    for name in _names(part):
        path = _file(raw, name)
        assert path is not None  # `holds` has seen it
        _require_official(path, packed)
        tensors.append(read_idx(path))
    images, labels = tensors
    if images.dim() != 3 or labels.shape != images.shape[:1] or labels.max() >= _NUM_CLASSES:
        raise DataError(
            f"the {part} files in {raw} do not belong together: images {tuple(images.shape)}, labels "
            f"{tuple(labels.shape)} up to {int(labels.max())}. Get the official files."
        )
    return images.unsqueeze(1), labels.long()


def _require_official(path: Path, packed: Mapping[str, str]) -> None:
    """Check a packed file against its published MD5; none is published for unpacked ones."""
    if path.name in packed and (found := md5_of(path)) != packed[path.name]:
        raise DataError(
            f"{path} is damaged or not the official file: its MD5 is {found}, must be {packed[path.name]}. "
            "Delete it and get it again."
        )
