"""The sets that torchvision knows, from a data folder or by download, in the size the network takes.

Nothing is ever written into a folder that the user names: downloads go to `data` in the user data folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from torch import Tensor
from torchvision.datasets import MNIST, FashionMNIST

from multirate_core.config import DataConfig
from multirate_core.data import cifar_files, mnist_files, photo_files, small_image_files
from multirate_core.data.catalog import DataInfo, data_info
from multirate_core.data.folder_scan import FolderListing, require_folder, split_listing
from multirate_core.data.image_folder import load_listing
from multirate_core.data.known_files import locate
from multirate_core.data.raw_files import RawSplit, split_again
from multirate_core.data.split import DataSplit, limited_rows, require_memory, with_channels, with_size
from multirate_core.errors import DataError
from multirate_core.home import subfolder

FILES: Final = {
    "mnist": mnist_files.mnist_files(MNIST),
    "fashion_mnist": mnist_files.mnist_files(FashionMNIST),
    "cifar10": cifar_files.cifar_files(10),
    "cifar100": cifar_files.cifar_files(100),
    "svhn": small_image_files.svhn_files(),
    "stl10": small_image_files.stl10_files(),
    "eurosat": photo_files.eurosat_files(),
    "flowers102": photo_files.flowers_files(),
    "pets": photo_files.pets_files(),
    "food101": photo_files.food_files(),
    "imagenette160": photo_files.imagenette_files(160),
    "imagenette320": photo_files.imagenette_files(320),
}


def load_files(config: DataConfig, seed: int, image_size: int, channels: int, say: Callable[[str], None]) -> DataSplit:
    """Read one of the sets that torchvision knows; arguments and errors as in `registry.load`."""
    info = data_info(config.name)
    found = read_files(info, Path(config.path).expanduser() if config.path else None, config.download, say)
    if isinstance(found, FolderListing):
        own = found.test and config.random_share is None
        listing = found if own else split_listing(found, seed, config.random_share)
        return load_listing(listing, config, seed, image_size, channels, say)
    if config.random_share is not None:
        found = split_again(found, seed, config.random_share)
    return _sized_split(found, info, config, seed, image_size, channels)


def read_files(
    info: DataInfo, folder: Path | None, download: bool, say: Callable[[str], None]
) -> RawSplit | FolderListing:
    """Read a set as its files hold it: the images, or where they lie.

    Args:
        info: of the set.
        folder: in which its files lie, in the form in which torchvision's loader keeps them; None is `data` in the
            user data folder.
        download: fetch the files if they are missing.
        say: called with lines about the progress; what it raises ends the reading.

    Raises:
        DataError: files are missing or damaged.
        DownloadError: the network does not give them.
    """
    say(f"Reading {info.title}")
    if folder is not None and not download:
        require_folder(folder)
    files = FILES[info.name]
    found = files.read(locate(info.title, files, folder, download, subfolder("data"), say))
    if isinstance(found, FolderListing):
        _require_classes(info, found)
    return found


def _require_classes(info: DataInfo, listing: FolderListing) -> None:
    """Refuse other classes than the official ones: the head was made for these."""
    names = listing.class_names
    if len(names) != info.num_classes or (info.class_names and names != info.class_names):
        raise DataError(
            f"the files of {info.title} have {len(names)} classes ({', '.join(names[:12])}); the official "
            f"{info.num_classes} are needed. Get the official files, or read the folder as an image folder."
        )


def _sized_split(
    raw: RawSplit, info: DataInfo, config: DataConfig, seed: int, image_size: int, channels: int
) -> DataSplit:
    rows = limited_rows(raw.train_labels.tolist(), config.train_images, seed)
    tested = limited_rows(raw.test_labels.tolist(), config.test_images, seed, "test_images")
    require_memory(len(rows) + len(tested), channels, image_size)
    names = info.class_names or raw.class_names or tuple(str(label) for label in range(info.num_classes or 0))
    return DataSplit(
        _sized(raw.train_images[rows], image_size, channels),
        raw.train_labels[rows],
        _sized(raw.test_images[tested], image_size, channels),
        raw.test_labels[tested],
        names,
        raw.notes,
    )


def _sized(images: Tensor, image_size: int, channels: int) -> Tensor:
    """Mix or repeat channels on the smaller side of the resizing."""
    if channels < images.shape[1]:
        return with_size(with_channels(images, channels), image_size)
    return with_channels(with_size(images, image_size), channels)
