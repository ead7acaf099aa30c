"""Every data set that can be raced on, by name, and the shape of its images: known without importing torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from multirate_core.config import DataConfig
from multirate_core.data import folder_scan
from multirate_core.errors import ConfigError, DataError
from multirate_core.models.catalog import ModelInfo, require_image_size

Source = Literal["shipped", "files", "folder"]


@dataclass(frozen=True)
class DataInfo:
    """What a picker and the loaders need to know about a data set.

    Args:
        name: as in `DataConfig.name`.
        title: the name as people write it.
        num_classes: None if the files decide.
        channels: of the stored images: 1 grey, 3 colour.
        image_size: edge in pixels at which the set is offered to a network that takes any size.
        source: "shipped" (comes with a dependency), "files" (a folder of known files, or a download), "folder"
            (class folders with images).
        note: what it is, in words.
        class_names: () if the files decide.
        train_images, test_images: how many the complete set has; 0 if the files decide.
    """

    name: str
    title: str
    num_classes: int | None
    channels: int
    image_size: int
    source: Source
    note: str
    class_names: tuple[str, ...] = ()
    train_images: int = 0
    test_images: int = 0


@dataclass(frozen=True)
class DataShape:
    """What the network will see.

    Args:
        num_classes: size of the head: the data's own number of classes, or the larger one asked for.
        channels: of an image: the network's.
        image_size: edge of an image in pixels.
        class_names: in the order of the labels; () if only the loaded files tell.
        train_images, test_images: how many, of the complete set where the files are not listed; 0 if unknown.
    """

    num_classes: int
    channels: int
    image_size: int
    class_names: tuple[str, ...]
    train_images: int
    test_images: int


_FASHION_CLASSES = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot"
_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"


def _words(names: str) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names.split())


def _catalog() -> dict[str, DataInfo]:
    digits = "Handwritten digits that ship with scikit-learn, 8×8 pixels, shown at 32×32."
    fashion = "Pictures of clothes, 28×28 pixels, with a black border of 2 pixels at 32×32; 31 MB to download."
    cifar10 = "Small photos, 32×32 pixels; 170 MB to download."
    cifar100 = "Small photos, 32×32 pixels, 100 classes; 169 MB to download."
    folder = "Any folder with one folder of images per class, with or without train and val above them."
    rows = (
        DataInfo("digits", "Handwritten digits", 10, 1, 32, "shipped", digits, tuple("0123456789"), 1197, 600),
        DataInfo(
            "fashion_mnist", "Fashion-MNIST", 10, 1, 32, "files", fashion, _words(_FASHION_CLASSES), 60_000, 10_000
        ),
        DataInfo("cifar10", "CIFAR-10", 10, 3, 32, "files", cifar10, _words(_CIFAR10_CLASSES), 50_000, 10_000),
        DataInfo("cifar100", "CIFAR-100", 100, 3, 32, "files", cifar100, (), 50_000, 10_000),
        DataInfo("folder", "Image folder", None, 3, 224, "folder", folder),
    )
    return {row.name: row for row in rows}


DATASETS: Final = MappingProxyType(_catalog())


def data_info(name: str) -> DataInfo:
    """Return the facts about one data set; DataError offers the known names."""
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise DataError(f"unknown data set {name[:80]!r}; allowed: {', '.join(DATASETS)}{hint}")


def data_shape(config: DataConfig, model: ModelInfo | None) -> DataShape:
    """Tell the shape of the data as the network will see it, without reading an image.

    The edge is `config.image_size`; without it the network's own size for an image folder and the data's own size
    otherwise, raised to the smallest one that the network takes.

    Args:
        config: of the data.
        model: the network, or None for the data as it is stored.

    Raises:
        DataError: the name is unknown, or the folder is unfit (see `folder_scan`).
        ModelError: the network cannot take images of the size asked for.
        ConfigError: fewer classes asked for than the data has.
    """
    info = data_info(config.name)
    names, train, test = _contents(info, config)
    size = _image_size(info, config, model)
    channels = model.channels if model is not None else info.channels
    known = len(names) or info.num_classes or 0
    if config.train_images is not None and train:
        train = min(train, config.train_images)
    return DataShape(require_num_classes(config, known), channels, size, names, train, test)


def require_num_classes(config: DataConfig, known: int) -> int:
    """Return the size of the head: what `config` asks for, at least the data's own `known` classes."""
    if config.num_classes is not None and config.num_classes < known:
        raise ConfigError(
            f"num_classes must be at least {known}, the number of classes in the data, got {config.num_classes}. "
            "Leave it out to take the data's own number."
        )
    return config.num_classes or known


def folder_of(config: DataConfig) -> Path:
    """Return the path of an image folder; ConfigError if the configuration gives none."""
    if not config.path:
        raise ConfigError("the data set 'folder' needs a path to a folder with one folder of images per class.")
    return Path(config.path).expanduser()


def _contents(info: DataInfo, config: DataConfig) -> tuple[tuple[str, ...], int, int]:
    if info.source != "folder":
        if info.source == "files" and config.path and not config.download:
            folder_scan.require_folder(Path(config.path).expanduser())
        return info.class_names, info.train_images, info.test_images
    listing = folder_scan.list_folder(folder_of(config))
    return listing.class_names, len(listing.train), len(listing.test)


def _image_size(info: DataInfo, config: DataConfig, model: ModelInfo | None) -> int:
    if model is None:
        return config.image_size or info.image_size
    if config.image_size is not None:
        require_image_size(model, config.image_size)
        return config.image_size
    if model.fixed_size or info.source == "folder":
        return model.image_size
    return max(info.image_size, model.smallest_size)
