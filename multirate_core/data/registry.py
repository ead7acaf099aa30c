"""A data set by name, decoded into memory in the size and with the channels that the network takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from multirate_core.config import DataConfig
from multirate_core.data import tokens
from multirate_core.data.catalog import DataInfo, data_info, path_of, require_num_classes
from multirate_core.data.split import DataSplit, limited_rows, require_memory, with_channels
from multirate_core.data.texts import TextRows, TextSplit
from multirate_core.errors import DataError
from multirate_core.models.tokenizer import TextTokenizer

__all__ = ["DataSplit", "TextSplit", "load", "load_texts", "text_rows"]


def load(config: DataConfig, *, seed: int, image_size: int, channels: int, say: Callable[[str], None]) -> DataSplit:
    """Read a data set; the same arguments and files give the same tensors.

    Args:
        config: which set, where it lies, and how many training images.
        seed: of the split where the data has none, and of the choice of training images.
        image_size: edge in pixels, as `data_shape` tells it.
        channels: 1 or 3, as `data_shape` tells them.
        say: called now and then with a line about the progress; what it raises ends the loading.

    Raises:
        DataError: unknown name, files missing, damaged or unfit, or more images than the memory holds.
        ConfigError: fewer classes asked for than the data has.
        DownloadError: the files have to be downloaded and the network does not give them.
    """
    try:
        return _load(config, seed, image_size, channels, say)
    except OSError as error:  # what the readers did not expect: a file that may not be opened, a disk that failed
        raise DataError(f"{error.filename or config.name} cannot be read: {error.strerror or error}.") from error


def load_texts(
    config: DataConfig, *, seed: int, max_tokens: int, tokenizer: TextTokenizer, say: Callable[[str], None]
) -> TextSplit:
    """Read a text data set and turn it into token numbers; these are kept for the next race.

    Args:
        config: which set, where it lies, and how many training texts.
        seed: of the split where the data has none, and of the choice of training texts.
        max_tokens: texts are cut after so many.
        tokenizer: the network's.
        say: called now and then with a line about the progress; what it raises ends the loading.

    Raises:
        DataError: unknown name, files missing, damaged or unfit.
        ConfigError: fewer classes asked for than the data has.
        DownloadError: the files have to be downloaded and the network does not give them.
    """
    info = data_info(config.name)
    say(f"Reading {info.title}")
    try:
        rows = text_rows(info, config, seed, say)
    except OSError as error:
        raise DataError(f"{error.filename or config.name} cannot be read: {error.strerror or error}.") from error
    require_num_classes(config, len(rows.class_names))
    return tokens.tokenized(limited_texts(rows, config, seed), tokenizer, max_tokens, say)


def limited_texts(rows: TextRows, config: DataConfig, seed: int) -> TextRows:
    """Return only so many training and test texts as the configuration asks for; errors as in `limited_rows`."""
    train = limited_rows(rows.train_labels, config.train_images, seed)
    test = limited_rows(rows.test_labels, config.test_images, seed, "test_images")
    return replace(
        rows,
        train_texts=[rows.train_texts[row] for row in train],
        train_labels=[rows.train_labels[row] for row in train],
        test_texts=[rows.test_texts[row] for row in test],
        test_labels=[rows.test_labels[row] for row in test],
    )


def text_rows(info: DataInfo, config: DataConfig, seed: int, say: Callable[[str], None]) -> TextRows:
    """Read a text data set as its files hold it, all rows; arguments and errors as in `load_texts`."""
    if info.source == "shipped":
        from multirate_core.data import docstrings

        return docstrings.load_docstrings(seed, config.random_share)
    if info.source == "table":
        from multirate_core.data import tables

        return tables.read_table(
            path_of(config),
            text_column=config.text_column,
            label_column=config.label_column,
            seed=seed,
            share=config.random_share,
            bad_rows=config.bad_images,
        )
    if info.source == "hub":
        return _hub_rows(config, seed)
    from multirate_core.data import known_texts

    folder = Path(config.path).expanduser() if config.path else None
    return known_texts.read_known(info.name, folder, seed, config.random_share, config.download, say)


def _hub_rows(config: DataConfig, seed: int) -> TextRows:
    from multirate_core.data import hub_facts, hub_texts

    request = hub_facts.request_of(config)
    rows = hub_texts.read_hub(
        request.path,
        text_column=config.text_column,
        label_column=config.label_column,
        seed=seed,
        share=config.random_share,
        bad_rows=config.bad_images,
        download=config.download or isinstance(hub_facts.read(request), hub_facts.HubFacts),  # it is here already
    )
    hub_facts.require_same(request, rows)
    return rows


def _load(config: DataConfig, seed: int, image_size: int, channels: int, say: Callable[[str], None]) -> DataSplit:
    info = data_info(config.name)
    # Each reader is loaded when it is needed: what they import takes seconds, and a race should start at once.
    if info.source == "folder":
        from multirate_core.data import image_folder

        split = image_folder.load_folder(config, seed, image_size, channels, say)
    elif info.source == "shipped":
        split = _load_digits(config, seed, image_size, channels)
    else:
        from multirate_core.data import torchvision_sets

        split = torchvision_sets.load_files(config, seed, image_size, channels, say)
    require_num_classes(config, len(split.class_names))
    return split


def _load_digits(config: DataConfig, seed: int, image_size: int, channels: int) -> DataSplit:
    from multirate_core.data import digits

    share, count = config.random_share, 1797
    require_memory(count, channels, image_size)
    test_count = digits.TEST_COUNT if share is None else round(share * count)
    whole = digits.load_digits_split(seed, image_size, test_count)
    rows = limited_rows(whole.train_labels.tolist(), config.train_images, seed)
    tested = limited_rows(whole.test_labels.tolist(), config.test_images, seed, "test_images")
    return DataSplit(
        with_channels(whole.train_images[rows], channels),
        whole.train_labels[rows],
        with_channels(whole.test_images[tested], channels),
        whole.test_labels[tested],
        whole.class_names,
        (f"Handwritten digits of scikit-learn, {test_count} of {count} for testing, split with seed {seed}.",),
    )
