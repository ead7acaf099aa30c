"""The shape of the data as a network will see it, told without reading an image."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_cases import draw_folder, shared
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

from multirate_core.config import DataConfig
from multirate_core.data import docstrings
from multirate_core.data.catalog import DATASETS, data_info, data_shape
from multirate_core.data.split import limited_rows
from multirate_core.errors import DataError, ModelError
from multirate_core.models.catalog import model_info


def test_the_catalog_knows_what_torchvision_knows() -> None:
    assert DATASETS["fashion_mnist"].class_names == tuple(FashionMNIST.classes)
    for name, theirs in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        assert theirs.base_folder.startswith(f"cifar-{DATASETS[name].num_classes}-")

    assert DATASETS["docstrings"].class_names == tuple(docstrings.PACKAGES)


def test_an_unknown_set_gets_the_known_names() -> None:
    with pytest.raises(DataError, match=r"unknown data set 'cifar'; allowed: digits, .*did you mean cifar10"):
        data_info("cifar")


@pytest.mark.parametrize(
    ("data", "model", "image_size", "channels"),
    [
        ("digits", "glyph_net", 32, 1),
        ("digits", "resnet18", 32, 3),
        ("fashion_mnist", "alexnet", 63, 3),
        ("cifar10", "glyph_net", 32, 1),
        ("cifar10", "inception_v3", 75, 3),
        ("cifar100", "vit_b_16", 224, 3),
        ("cifar100", "vit_h_14", 518, 3),
    ],
)
def test_sizes_follow_the_data_and_rise_to_what_the_model_needs(
    data: str, model: str, image_size: int, channels: int
) -> None:
    shape = data_shape(DataConfig(data), model_info(model))
    assert shape.input_shape == (channels, image_size, image_size)


def test_an_image_folder_takes_the_size_of_the_model(tmp_path: Path) -> None:
    config = DataConfig("folder", path=str(draw_folder(tmp_path, {"red": 5, "green": 5})))
    assert data_shape(config, model_info("efficientnet_b3")).input_shape == (3, 300, 300)
    assert data_shape(config, model_info("glyph_net")).input_shape == (1, 32, 32)
    assert data_shape(config, None).input_shape == (3, 224, 224)


def test_a_size_that_was_asked_for_is_kept_or_refused() -> None:
    assert data_shape(DataConfig("cifar10", image_size=96), model_info("resnet18")).input_shape == (3, 96, 96)
    with pytest.raises(ModelError, match="at least 75"):
        data_shape(DataConfig("cifar10", image_size=64), model_info("inception_v3"))


def test_counts_respect_the_limit(tmp_path: Path) -> None:
    shape = data_shape(DataConfig("folder", path=str(shared("data/hymenoptera_data")), train_images=50), None)
    assert (shape.train_images, shape.test_images, shape.class_names) == (50, 153, ("ants", "bees"))
    assert data_shape(DataConfig("digits", train_images=5000), None).train_images == 1197


def test_a_rare_class_keeps_a_row_when_rows_are_limited() -> None:
    labels = [0] * 900 + [1] * 98 + [2] * 2
    rows = limited_rows(labels, 20, seed=0)
    counts = [[labels[row] for row in rows].count(label) for label in range(3)]
    assert sum(counts) == 20 and min(counts) == 1 and counts[0] >= 17


@pytest.mark.parametrize("count", [3, 7, 50, 99, 100, 101, None])
def test_as_many_rows_are_chosen_as_were_asked_for(count: int | None) -> None:
    labels = [row * row % 3 for row in range(100)]
    rows = limited_rows(labels, count, seed=1)
    assert len(rows) == len(set(rows)) == min(100, count or 100)
    assert rows == sorted(rows)


def test_a_folder_that_does_not_exist_is_named_before_the_race(tmp_path: Path) -> None:
    for name in ("folder", "fashion_mnist", "cifar10"):
        with pytest.raises(DataError, match=r"nowhere does not exist"):
            data_shape(DataConfig(name, path=str(tmp_path / "nowhere")), None)
    assert data_shape(DataConfig("cifar10", path=str(tmp_path / "nowhere"), download=True), None).num_classes == 10
