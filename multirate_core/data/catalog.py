"""The shape of a data set's samples as a network will see them: told without importing torch or reading an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from multirate_core.config import BadImages, DataConfig
from multirate_core.data import folder_scan, hub_facts
from multirate_core.data.sets import DATASETS as DATASETS  # "as": for everybody who imports them from here
from multirate_core.data.sets import DataInfo as DataInfo
from multirate_core.data.sets import data_info as data_info
from multirate_core.errors import ConfigError, ModelError
from multirate_core.models.catalog import ModelInfo, require_image_size

DEFAULT_TOKENS: Final = 128  # of a text
USUAL_EDGE: Final = 224  # of photos, where no network says how large they should be


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


def data_shape(config: DataConfig, model: ModelInfo | None) -> DataShape:
    """Tell the shape of the data as the network will see it, without reading an image.

    The edge is `config.image_size`. Without it: the network's own size for photos of many sizes, or if the network has
    to be asked for it (0), and the data's own size otherwise, raised to the smallest one that the network takes. Texts
    have `config.max_tokens`, or 128, or what the network takes at most.

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
    if config.test_images is not None and test:
        test = min(test, config.test_images)
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


def path_of(config: DataConfig) -> Path:
    """Return the path of data that needs one; ConfigError if the configuration gives none."""
    if not config.path:
        raise ConfigError(f"the data set {config.name!r} needs a path: {_NEEDED_PATHS[config.name]}.")
    return Path(config.path).expanduser()


def _contents(info: DataInfo, config: DataConfig) -> tuple[tuple[str, ...], int, int]:
    if info.source == "hub":
        found = hub_facts.facts_of(config)
        return found.class_names, found.train_texts, found.test_texts
    if info.source not in ("folder", "table"):
        if info.source != "shipped" and config.path and not config.download:
            folder_scan.require_folder(Path(config.path).expanduser())
        return info.class_names, *_part_sizes(info, config.random_share)
    if info.source == "table":
        path = path_of(config)
        columns = config.text_column, config.label_column
        return _table_contents(path, modified_ns(path), *columns, config.bad_images, config.random_share)
    listing = folder_scan.list_folder(path_of(config), share=config.random_share)
    return listing.class_names, len(listing.train), len(listing.test)


def _part_sizes(info: DataInfo, share: float | None) -> tuple[int, int]:
    """Return about how many training and test images the complete set has: each class is rounded by itself."""
    if share is None:
        return info.train_images, info.test_images
    pool = info.train_images + (0 if info.own_test else info.test_images)
    return pool - round(share * pool), round(share * pool)


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
    share: float | None,
) -> tuple[tuple[str, ...], int, int]:
    """Return the classes of a table and the sizes of its parts, which do not depend on the seed."""
    from multirate_core.data import tables

    columns = {"text_column": text_column, "label_column": label_column}
    rows = tables.read_table(path, **columns, seed=0, share=share, bad_rows=bad_rows)  # type: ignore[arg-type]
    return rows.class_names, len(rows.train_texts), len(rows.test_texts)


def _image_size(info: DataInfo, config: DataConfig, model: ModelInfo | None) -> int:
    if model is None:
        return config.image_size or info.image_size or USUAL_EDGE
    if config.image_size is not None:
        require_image_size(model, config.image_size)
        return config.image_size
    if model.fixed_size or model.image_size == 0 or not info.image_size:
        return model.image_size
    return max(info.image_size, model.smallest_size)
