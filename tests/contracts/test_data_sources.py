"""One suite over all data sets: types, ranges, sizes, seeds, limits, and nothing written beside the user's files."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from pathlib import Path

import pytest
import torch
from image_cases import draw_folder, shared, silent, small_fashion
from set_cases import write_cifar100, write_set

from multirate_core.config import DataConfig
from multirate_core.data.catalog import DATASETS, data_shape
from multirate_core.data.registry import DataSplit, load
from multirate_core.errors import ConfigError, DataError
from multirate_core.models.catalog import model_info

pytestmark = pytest.mark.slow  # they read and write thousands of images

KNOWN = {
    **{"mnist": 50, "svhn": 50, "stl10": 30, "eurosat": 40, "flowers102": 150, "pets": 50, "food101": 150},
    **{"imagenette160": 25, "imagenette320": 25},
}  # with training images
SOURCES = ("digits", "fashion_mnist", "cifar10", "cifar100", "folder", "split_folder", "real_folder", *KNOWN)


@pytest.fixture(params=SOURCES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DataConfig:
    """A configuration whose files exist, small enough to be read many times."""
    name = request.param
    if name == "digits":
        return DataConfig(name, train_images=100)
    if name == "fashion_mnist":
        return DataConfig(name, path=str(small_fashion(tmp_path / "files", 300, 50)), train_images=100)
    if name == "cifar10":
        return DataConfig(name, path=str(shared("data")), train_images=100)
    if name == "cifar100":
        return DataConfig(name, path=str(write_cifar100(tmp_path / "files")), train_images=200)
    if name in KNOWN:
        return DataConfig(name, path=str(write_set(name, tmp_path / "files")), train_images=KNOWN[name])
    if name == "real_folder":
        return DataConfig("folder", path=str(shared("data/hymenoptera_data")), train_images=20)
    folder = draw_folder(tmp_path / "images", {"red": 9, "green": 12})
    if name == "split_folder":
        folder = draw_folder(tmp_path / "images" / "val", {"red": 3, "green": 3}).parent
        for label in ("red", "green"):
            (folder / "train").mkdir(exist_ok=True)
            (folder / label).rename(folder / "train" / label)
    return DataConfig("folder", path=str(folder), train_images=10)


@functools.lru_cache(maxsize=12)
def read(config: DataConfig, seed: int = 0, image_size: int = 32, channels: int = 3) -> DataSplit:
    return load(config, seed=seed, image_size=image_size, channels=channels, say=silent)


def test_images_and_labels_have_the_promised_types_shapes_and_ranges(config: DataConfig) -> None:
    split = read(config)
    assert len(split.train_images) == config.train_images
    for images, labels in ((split.train_images, split.train_labels), (split.test_images, split.test_labels)):
        assert images.dtype == torch.uint8 and images.is_contiguous() and images.shape[1:] == (3, 32, 32)
        assert labels.dtype == torch.int64 and labels.shape == (len(images),)
        assert int(images.max()) > int(images.min())
        assert set(labels.tolist()) == set(range(len(split.class_names)))


def test_the_shape_told_beforehand_is_what_is_loaded(config: DataConfig) -> None:
    for model in ("glyph_net", "squeezenet1_1"):
        shape = data_shape(dataclasses.replace(config, image_size=24), model_info(model))
        split = read(config, image_size=24, channels=shape.input_shape[0])
        assert split.train_images.shape == (shape.train_images, *shape.input_shape)
        assert shape.num_classes == len(split.class_names)
        assert shape.class_names in ((), split.class_names)


def test_the_same_seed_gives_the_same_data_and_another_seed_another_choice(config: DataConfig) -> None:
    first, again, other = read(config), read.__wrapped__(config), read(config, seed=1)
    assert torch.equal(first.train_images, again.train_images) and torch.equal(first.test_images, again.test_images)
    assert torch.equal(first.train_labels, again.train_labels) and first.notes == again.notes
    if DATASETS[config.name].source != "folder" or "hymenoptera" in str(config.path):  # drawn images are all alike
        assert not torch.equal(first.train_images, other.train_images)


def test_a_limit_keeps_the_proportion_of_the_classes(config: DataConfig) -> None:
    whole = read(dataclasses.replace(config, train_images=None)).train_labels.bincount()
    limited = read(config).train_labels.bincount()
    expected = whole * limited.sum() / whole.sum()
    assert int(limited.sum()) == config.train_images
    assert (limited - expected).abs().max() < 1 + 1e-6


def test_the_test_part_is_limited_in_the_same_way_and_leaves_the_training_part_alone(config: DataConfig) -> None:
    whole = read(config)
    count = max(len(whole.class_names), len(whole.test_labels) // 2)
    found, shape = read(limited := dataclasses.replace(config, test_images=count)), data_shape(config, None)
    expected = whole.test_labels.bincount() * count / len(whole.test_labels)
    assert len(found.test_images) == len(found.test_labels) == count
    assert (found.test_labels.bincount() - expected).abs().max() < 1 + 1e-6
    assert counted(found.test_images) <= counted(whole.test_images)
    assert torch.equal(found.train_images, whole.train_images)
    assert data_shape(limited, None).test_images == min(count, shape.test_images)
    if len(whole.class_names) > 2:
        with pytest.raises(DataError, match="test_images must be at least"):
            read(dataclasses.replace(config, test_images=2))


def test_grey_and_colour_hold_the_same_pictures(config: DataConfig) -> None:
    grey, colour = read(config, channels=1).train_images, read(config, channels=3).train_images
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert grey.shape[1] == 1
    assert ((colour * weights).sum(1, keepdim=True) - grey).abs().max() <= 2


def test_a_smaller_head_than_the_data_needs_is_refused_and_a_larger_one_allowed(config: DataConfig) -> None:
    classes = len(read(config).class_names)
    larger = dataclasses.replace(config, num_classes=classes + 5)
    assert data_shape(larger, None).num_classes == classes + 5 and len(read(larger).class_names) == classes
    if classes > 2:
        smaller = dataclasses.replace(config, num_classes=classes - 1)
        with pytest.raises(ConfigError, match=f"at least {classes}"):
            data_shape(smaller, None)
        with pytest.raises(ConfigError, match=f"at least {classes}"):
            read(smaller)


def test_a_random_split_tests_on_training_images_and_leaves_the_own_test_part_out(config: DataConfig) -> None:
    whole = dataclasses.replace(config, train_images=None)
    own = read(whole)
    half, same, other = (
        read.__wrapped__(dataclasses.replace(whole, split="random", validation_share=0.5), seed=seed)
        for seed in (3, 3, 4)
    )
    has_own = DATASETS[config.name].own_test and (config.name != "folder" or "val" in str(own.notes))
    pool, found = counted(own.train_images), counted(half.train_images) + counted(half.test_images)
    assert found == (pool if has_own else pool + counted(own.test_images))
    labels = half.train_labels.bincount() + half.test_labels.bincount()
    assert ((half.test_labels.bincount() - labels / 2).abs() <= 0.5).all()
    assert torch.equal(half.test_images, same.test_images) and half.notes == same.notes
    assert "random split" in half.notes[-1].lower() or config.name == "digits"
    assert config.name == "folder" or not torch.equal(half.test_images, other.test_images)


def counted(images: torch.Tensor) -> Counter[bytes]:
    return Counter(image.numpy().tobytes() for image in images)


def test_the_sizes_of_a_random_split_are_told_beforehand(config: DataConfig) -> None:
    random = dataclasses.replace(config, train_images=None, split="random", validation_share=0.25)
    shape, split = data_shape(random, None), read(random)
    if DATASETS[config.name].source == "folder":
        assert (shape.train_images, shape.test_images) == (len(split.train_labels), len(split.test_labels))
    else:  # of the complete set
        assert shape.test_images == round(0.25 * (shape.train_images + shape.test_images))


def test_fewer_images_than_classes_are_refused(config: DataConfig) -> None:
    classes = len(read(config).class_names)
    if classes > 2:
        with pytest.raises(DataError, match=f"at least {classes}, one per class"):
            read(dataclasses.replace(config, train_images=classes - 1))


def test_more_images_than_the_memory_holds_are_refused_with_numbers(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    if DATASETS[config.name].source in ("folder", "photos"):
        pytest.skip("images with files of their own are put into one file")
    monkeypatch.setattr("multirate_core.data.room.MEMORY_SHARE", 1e-9)  # as if nearly all memory were taken
    with pytest.raises(DataError, match=r"images of 3×32×32 need .* GiB, more than .* available"):
        read.__wrapped__(config)


def test_reading_writes_no_file_but_the_digits_that_it_keeps(config: DataConfig, own_home: Path) -> None:
    folders = [Path(config.path)] if config.path else []
    before = [sorted(folder.rglob("*")) for folder in folders]
    read.__wrapped__(config)
    assert [sorted(folder.rglob("*")) for folder in folders] == before
    assert not [path for path in own_home.rglob("*") if path.is_file() and not path.match("data/digits-*.npz")]
