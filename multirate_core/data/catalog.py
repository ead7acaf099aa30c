"""Every data set that can be raced on, by name, and the shape of its images: known without importing torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from multirate_core.config import BadImages, DataConfig
from multirate_core.data import folder_scan
from multirate_core.data.docstrings import PACKAGES, TEST_PER_CLASS, TRAIN_PER_CLASS
from multirate_core.errors import ConfigError, DataError, ModelError
from multirate_core.models.catalog import ModelInfo, Takes, require_image_size

Source = Literal["shipped", "files", "folder", "table"]
DEFAULT_TOKENS: Final = 128  # of a text


@dataclass(frozen=True)
class DataInfo:
    """What a picker and the loaders need to know about a data set.

    Args:
        name: as in `DataConfig.name`.
        title: the name as people write it.
        num_classes: None if the files decide.
        channels: of the stored images: 1 grey, 3 colour; 0 for texts.
        image_size: edge in pixels at which the set is offered to a network that takes any size; 0 for texts.
        source: "shipped" (comes with a dependency), "files" (a folder of known files, or a download), "folder"
            (class folders with images), "table" (a table of texts).
        note: what it is, in words.
        class_names: () if the files decide.
        train_images, test_images: how many images or texts the complete set has; 0 if the files decide.
        holds: what a sample is.
        downloads: the files can be fetched.
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
    holds: Takes = "images"
    downloads: bool = False


@dataclass(frozen=True)
class DataShape:
    """What the network will see.

    Args:
        num_classes: size of the head: the data's own number of classes, or the larger one asked for.
        input_shape: of one sample: (C, H, W) of an image, (L,) of a text of the most tokens allowed. Edges of 0 are the
            network's own size, which it has to be asked for: `models.registry.sample_shape`.
        class_names: in the order of the labels; () if only the loaded files tell.
        train_images, test_images: how many, of the complete set where the files are not listed; 0 if unknown.
    """

    num_classes: int
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    train_images: int
    test_images: int


_FASHION_CLASSES = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot"
_TREC_CLASSES = "abbreviation entity description human location number"
_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"


def _words(names: str) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names.split())


def _known(name: str, title: str, classes: int, channels: int, note: str, names: str, train: int) -> DataInfo:
    """Return one of the small sets that torchvision fetches: 10,000 test images, offered at 32 pixels."""
    return DataInfo(name, title, classes, channels, 32, "files", note, _words(names), train, 10_000, downloads=True)


def _texts(
    name: str, title: str, note: str, source: Source, classes: str = "", train: int = 0, test: int = 0
) -> DataInfo:
    names = _words(classes)
    return DataInfo(name, title, len(names) or None, 0, 0, source, note, names, train, test, holds="texts")


def _catalog() -> dict[str, DataInfo]:
    digits = "Handwritten digits that ship with scikit-learn, 8×8 pixels, shown at 32×32."
    fashion = "Pictures of clothes, 28×28 pixels, with a black border of 2 pixels at 32×32; 31 MB to download."
    cifar10 = "Small photos, 32×32 pixels; 170 MB to download."
    cifar100 = "Small photos, 32×32 pixels, 100 classes; 169 MB to download."
    folder = "Any folder with one folder of images per class, with or without train and val above them."
    docstrings = "Which package does this docstring come from? Read from the packages that are installed here."
    sms_spam = "Short messages; a folder with sms.tsv, or SMSSpamCollection as published."
    sst2 = "Sentences of film reviews; a folder with train.tsv and dev.tsv."
    trec = "Questions and what they ask for; a folder with TREC.train and TREC.test, or the files as published."
    ag_news = "Titles and first sentences of news; a folder with train.csv and test.csv, or only one of them."
    table = "A .csv, .tsv or .jsonl file with a text and a label in every row, or a folder with train and test files."
    rows = (
        DataInfo("digits", "Handwritten digits", 10, 1, 32, "shipped", digits, tuple("0123456789"), 1197, 600),
        _known("fashion_mnist", "Fashion-MNIST", 10, 1, fashion, _FASHION_CLASSES, 60_000),
        _known("cifar10", "CIFAR-10", 10, 3, cifar10, _CIFAR10_CLASSES, 50_000),
        _known("cifar100", "CIFAR-100", 100, 3, cifar100, "", 50_000),
        DataInfo("folder", "Image folder", None, 3, 224, "folder", folder),
        _texts(
            "docstrings",
            "Docstrings",
            docstrings,
            "shipped",
            " ".join(PACKAGES),
            TRAIN_PER_CLASS * len(PACKAGES),
            TEST_PER_CLASS * len(PACKAGES),
        ),
        _texts("sms_spam", "SMS spam", sms_spam, "files", "ham spam"),
        _texts("sst2", "SST-2 (film reviews)", sst2, "files", "negative positive", 6_920, 872),
        _texts("trec", "TREC (kinds of questions)", trec, "files", _TREC_CLASSES, 5_452, 500),
        _texts("ag_news", "AG News", ag_news, "files", "World Sports Business Sci/Tech", 120_000, 7_600),
        _texts("table", "Table of texts", table, "table"),
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

    The edge is `config.image_size`. Without it: the network's own size for an image folder, or if the network has to be
    asked for it (0), and the data's own size otherwise, raised to the smallest one that the network takes. Texts have
    `config.max_tokens`, or 128, or what the network takes at most.

    Args:
        config: of the data.
        model: the network, or None for the data as it is stored.

    Raises:
        DataError: the name is unknown, or the folder is unfit (see `folder_scan`).
        ModelError: the network cannot take images of the size asked for, or so long texts, or takes texts where the
            data has images.
        ConfigError: fewer classes asked for than the data has.
    """
    info = data_info(config.name)
    require_same_kind(info, model)
    names, train, test = _contents(info, config)
    if info.holds == "texts":
        shape: tuple[int, ...] = (_most_tokens(config, model),)
    else:
        size = _image_size(info, config, model)
        shape = (model.channels if model is not None and model.channels else info.channels, size, size)
    known = len(names) or info.num_classes or 0
    if config.train_images is not None and train:
        train = min(train, config.train_images)
    return DataShape(require_num_classes(config, known), shape, names, train, test)


def usual_shape(model: ModelInfo) -> tuple[int, ...]:
    """Return the shape of a sample that a network was made for."""
    if model.takes == "texts":
        return (min(DEFAULT_TOKENS, model.most_tokens),)
    return (model.channels or 3, model.image_size, model.image_size)


def require_same_kind(info: DataInfo, model: ModelInfo | None) -> None:
    """Raise ModelError if the network takes images and the data holds texts, or the other way round."""
    if model is not None and model.takes != info.holds:
        raise ModelError(
            f"{model.title} takes {model.takes}, and the data set {info.title} holds {info.holds}. "
            f"Choose a network for {info.holds}, or other data."
        )


def _most_tokens(config: DataConfig, model: ModelInfo | None) -> int:
    most = model.most_tokens if model is not None else DEFAULT_TOKENS
    if config.max_tokens is not None and config.max_tokens > most and model is not None:
        raise ModelError(f"{model.name} takes texts of at most {most} tokens, got max_tokens {config.max_tokens}.")
    return config.max_tokens or min(DEFAULT_TOKENS, most)


def require_num_classes(config: DataConfig, known: int) -> int:
    """Return the size of the head: what `config` asks for, at least the data's own `known` classes."""
    if config.num_classes is not None and config.num_classes < known:
        raise ConfigError(
            f"num_classes must be at least {known}, the number of classes in the data, got {config.num_classes}. "
            "Leave it out to take the data's own number."
        )
    return config.num_classes or known


_NEEDED_PATHS: Final = {
    "folder": "a folder with one folder of images per class",
    "table": "a .csv, .tsv or .jsonl file, or a folder with such files for training and testing",
}
_TEXT_PATH: Final = "the folder in which its files lie"


def path_of(config: DataConfig) -> Path:
    """Return the path of data that needs one; ConfigError if the configuration gives none."""
    if not config.path:
        raise ConfigError(f"the data set {config.name!r} needs a path: {_NEEDED_PATHS.get(config.name, _TEXT_PATH)}.")
    return Path(config.path).expanduser()


def _contents(info: DataInfo, config: DataConfig) -> tuple[tuple[str, ...], int, int]:
    if info.source in ("shipped", "files"):
        if info.holds == "texts" and info.source == "files":
            path_of(config)
        if info.source == "files" and config.path and not config.download:
            folder_scan.require_folder(Path(config.path).expanduser())
        return info.class_names, info.train_images, info.test_images
    if info.source == "table":
        path = path_of(config)
        return _table_contents(path, modified_ns(path), config.text_column, config.label_column, config.bad_images)
    listing = folder_scan.list_folder(path_of(config))
    return listing.class_names, len(listing.train), len(listing.test)


def modified_ns(path: Path) -> int:
    """Return when a file was written, or the newest file in a folder; 0 if that cannot be told."""
    try:
        files = [path, *path.iterdir()] if path.is_dir() else [path]
        return max(file.stat().st_mtime_ns for file in files)
    except OSError:
        return 0


@lru_cache(maxsize=32)
def _table_contents(
    path: Path,
    modified: int,  # noqa: ARG001 - a file that was written again is read again
    text_column: str | None,
    label_column: str | None,
    bad_rows: BadImages,
) -> tuple[tuple[str, ...], int, int]:
    """Return the classes of a table and the sizes of its parts, which do not depend on the seed."""
    from multirate_core.data import tables

    rows = tables.read_table(path, text_column=text_column, label_column=label_column, seed=0, bad_rows=bad_rows)
    return rows.class_names, len(rows.train_texts), len(rows.test_texts)


def _image_size(info: DataInfo, config: DataConfig, model: ModelInfo | None) -> int:
    if model is None:
        return config.image_size or info.image_size
    if config.image_size is not None:
        require_image_size(model, config.image_size)
        return config.image_size
    if model.fixed_size or model.image_size == 0 or info.source == "folder":
        return model.image_size
    return max(info.image_size, model.smallest_size)
