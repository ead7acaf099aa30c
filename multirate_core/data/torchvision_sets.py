"""Fashion-MNIST, CIFAR-10 and CIFAR-100, from a data folder or by download, in the size the network takes.

Nothing is ever written into a folder that the user names: downloads go to `data` in the user data folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from multirate_core.config import DataConfig
from multirate_core.data.catalog import DataInfo, data_info
from multirate_core.data.cifar_files import read_cifar
from multirate_core.data.fashion_files import read_fashion
from multirate_core.data.folder_scan import require_folder
from multirate_core.data.raw_files import RawSplit
from multirate_core.data.split import DataSplit, limited_rows, require_memory, with_channels, with_size
from multirate_core.errors import DataError
from multirate_core.home import subfolder


def load_files(config: DataConfig, seed: int, image_size: int, channels: int, say: Callable[[str], None]) -> DataSplit:
    """Read one of the sets that torchvision knows; arguments and errors as in `registry.load`."""
    info = data_info(config.name)
    say(f"Reading {info.title}")
    raw = _read(info, config)
    rows = limited_rows(raw.train_labels.tolist(), config.train_images, seed)
    require_memory(len(rows) + len(raw.test_labels), channels, image_size)
    names = info.class_names or raw.class_names or tuple(str(label) for label in range(info.num_classes or 0))
    return DataSplit(
        _sized(raw.train_images[rows], image_size, channels),
        raw.train_labels[rows],
        _sized(raw.test_images, image_size, channels),
        raw.test_labels,
        names,
        raw.notes,
    )


def _read(info: DataInfo, config: DataConfig) -> RawSplit:
    folder = Path(config.path).expanduser() if config.path else None
    if folder is not None and not config.download:
        require_folder(folder)
    home = subfolder("data")
    if info.name == "fashion_mnist":
        return read_fashion(folder, config.download, home)
    if info.name in ("cifar10", "cifar100"):
        return read_cifar(info.num_classes or 0, folder, config.download, home)
    raise DataError(f"there is no reader for the files of {info.name}.")


def _sized(images: Tensor, image_size: int, channels: int) -> Tensor:
    """Mix or repeat channels on the smaller side of the resizing."""
    if channels < images.shape[1]:
        return with_size(with_channels(images, channels), image_size)
    return with_channels(with_size(images, image_size), channels)
