"""The sets that torchvision knows: read as its own loaders read them, and refused when the files are no such set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_cases import silent
from scipy.io import savemat
from set_cases import FOLDERS, write_set
from torchvision.datasets import MNIST, STL10, SVHN, EuroSAT, Flowers102, Food101, Imagenette, OxfordIIITPet

from multirate_core.config import DataConfig
from multirate_core.data.catalog import DATASETS, data_shape
from multirate_core.data.folder_scan import FolderListing
from multirate_core.data.matlab_files import read_matrices
from multirate_core.data.raw_files import RawSplit
from multirate_core.data.registry import load
from multirate_core.data.torchvision_sets import FILES, read_files
from multirate_core.errors import DataError
from multirate_core.models.catalog import model_info

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def raw(name: str, root: Path) -> RawSplit:
    found = read_files(DATASETS[name], root, False, silent)
    assert isinstance(found, RawSplit)
    return found


def listing(name: str, root: Path) -> FolderListing:
    found = read_files(DATASETS[name], root, False, silent)
    assert isinstance(found, FolderListing)
    return found


def test_every_known_set_has_its_files_and_every_row_its_reader() -> None:
    assert set(FILES) == {name for name, info in DATASETS.items() if info.holds == "images" and info.downloads}
    assert set(FOLDERS) | {"fashion_mnist", "cifar10", "cifar100"} == set(FILES)


def test_mnist_is_what_torchvision_reads(tmp_path: Path) -> None:
    own = raw("mnist", write_set("mnist", tmp_path))
    for images, labels, train in (
        (own.train_images, own.train_labels, True),
        (own.test_images, own.test_labels, False),
    ):
        theirs = MNIST(tmp_path, train=train)
        assert torch.equal(images[:, 0], theirs.data) and torch.equal(labels, theirs.targets)


def test_svhn_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = raw("svhn", write_set("svhn", tmp_path))
    without_md5 = {part: [url, name, None] for part, (url, name, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", without_md5)
    for images, labels, part in (
        (own.train_images, own.train_labels, "train"),
        (own.test_images, own.test_labels, "test"),
    ):
        theirs = SVHN(str(tmp_path), part)
        assert np.array_equal(images.numpy(), theirs.data) and labels.tolist() == theirs.labels.tolist()
    assert own.notes == ("Not the official files (their MD5 differs): train_32x32.mat, test_32x32.mat.",)


def test_stl10_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = raw("stl10", write_set("stl10", tmp_path))
    monkeypatch.setattr(STL10, "_check_integrity", lambda _: True)  # it wants the check sums of the real files
    for images, labels, part in (
        (own.train_images, own.train_labels, "train"),
        (own.test_images, own.test_labels, "test"),
    ):
        theirs = STL10(str(tmp_path), part)
        assert np.array_equal(images.numpy(), theirs.data) and labels.tolist() == theirs.labels.tolist()


def test_eurosat_is_what_torchvision_lists(tmp_path: Path) -> None:
    own = listing("eurosat", write_set("eurosat", tmp_path))
    theirs = EuroSAT(str(tmp_path))
    assert own.class_names == tuple(theirs.classes) and own.test == ()
    assert {(str(path), label) for path, label in own.train} == set(theirs.samples)


def test_eurosat_gets_a_test_part_from_every_class_by_the_seed(tmp_path: Path) -> None:
    config = DataConfig("eurosat", path=str(write_set("eurosat", tmp_path)))
    first, again, other = (load(config, seed=seed, image_size=16, channels=3, say=silent) for seed in (1, 1, 2))
    assert first.test_labels.bincount().tolist() == [1] * 10 and first.train_labels.bincount().tolist() == [6] * 10
    assert torch.equal(first.test_images, again.test_images) and not torch.equal(first.test_images, other.test_images)
    assert first.notes[-1].endswith("are for testing (seed 1).")


def test_flowers_are_what_torchvision_lists_with_val_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = listing("flowers102", write_set("flowers102", tmp_path))
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda _: True)
    parts = {part: Flowers102(tmp_path, part) for part in ("train", "val", "test")}
    rows = {name: list(zip(part._image_files, part._labels, strict=True)) for name, part in parts.items()}
    assert list(own.train) == rows["train"] + rows["val"] and list(own.test) == rows["test"]
    assert len(own.class_names) == 102 and "val are both for training" in own.notes[0]


def test_pets_and_food_are_what_torchvision_lists(tmp_path: Path) -> None:
    pets = listing("pets", write_set("pets", tmp_path))
    for rows, part in ((pets.train, "trainval"), (pets.test, "test")):
        theirs = OxfordIIITPet(tmp_path, part)
        assert list(rows) == list(zip(theirs._images, theirs._labels, strict=True))
    assert pets.class_names[:2] == ("Abyssinian", "american bulldog")
    food = listing("food101", write_set("food101", tmp_path))
    for rows, part in ((food.train, "train"), (food.test, "test")):
        dishes = Food101(tmp_path, part)
        assert list(rows) == list(zip(dishes._image_files, dishes._labels, strict=True))
    assert food.class_names[7] == "dish 007"


@pytest.mark.parametrize("edge", [160, 320])
def test_imagenette_is_what_torchvision_lists(tmp_path: Path, edge: int) -> None:
    name = f"imagenette{edge}"
    own = listing(name, write_set(name, tmp_path))
    for rows, part in ((own.train, "train"), (own.test, "val")):
        theirs = Imagenette(tmp_path, part, f"{edge}px")
        theirs_by_name = {path: theirs.wnids[label] for path, label in theirs._samples}
        wnids = sorted(Imagenette._WNID_TO_CLASS)
        assert {str(path): wnids[label] for path, label in rows} == theirs_by_name
    assert own.class_names == DATASETS[name].class_names


@pytest.mark.parametrize("name", FOLDERS)
def test_a_set_is_found_from_its_own_folder_too(tmp_path: Path, name: str) -> None:
    root = write_set(name, tmp_path)
    own, inner = (read_files(DATASETS[name], place, False, silent) for place in (root, root / FOLDERS[name]))
    if isinstance(own, RawSplit) and isinstance(inner, RawSplit):
        assert torch.equal(own.train_images, inner.train_images)
    else:
        assert own == inner


def test_photos_take_the_size_of_the_network_and_tiles_their_own() -> None:
    resnet = model_info("resnet18")
    assert data_shape(DataConfig("pets"), resnet).input_shape == (3, 224, 224)
    assert data_shape(DataConfig("eurosat"), resnet).input_shape == (3, 64, 64)
    assert data_shape(DataConfig("stl10"), model_info("glyph_net")).input_shape == (1, 96, 96)
    assert data_shape(DataConfig("food101"), None).input_shape == (3, 224, 224)
    assert data_shape(DataConfig("flowers102", train_images=500), None).train_images == 500


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_mat_file_is_named(tmp_path: Path, share: float) -> None:
    write_set("svhn", tmp_path)
    path = tmp_path / "train_32x32.mat"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"train_32x32\.mat (cannot be read|holds no array)"):
        raw("svhn", tmp_path)


def test_a_mat_file_with_changed_bytes_gives_arrays_or_a_data_error(tmp_path: Path) -> None:
    arrays = {"X": np.arange(40, dtype=np.uint8).reshape(2, 20), "y": np.arange(20.0)[None]}
    path, draw, refused = tmp_path / "changed.mat", np.random.default_rng(0), 0
    for compressed in (False, True):
        savemat(path, arrays, do_compression=compressed)
        whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        for _ in range(80):
            changed = whole.copy()
            changed[draw.integers(120, len(whole), 3)] = draw.integers(0, 256, 3)
            path.write_bytes(changed.tobytes())
            try:
                assert set(read_matrices(path, "X", "y")) == {"X", "y"}
            except DataError:
                refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.zeros((32, 32, 3, 60))},
        {"X": np.zeros((60, 32, 32, 3), dtype=np.uint8)},
        {"y": np.full((60, 1), 11, dtype=np.uint8)},
        {"y": np.ones((59, 1), dtype=np.uint8)},
        {"y": np.array([["a"] * 60], dtype=object)},
    ],
)
def test_an_svhn_file_with_other_contents_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    good = {"X": np.zeros((32, 32, 3, 60), dtype=np.uint8), "y": np.ones((60, 1), dtype=np.uint8)}
    savemat(write_set("svhn", tmp_path) / "train_32x32.mat", {**good, **changes})
    with pytest.raises(DataError, match=r"train_32x32\.mat holds .*official file"):
        raw("svhn", tmp_path)


def test_stl10_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    folder = write_set("stl10", tmp_path) / "stl10_binary"
    (folder / "test_y.bin").write_bytes(bytes([1] * 19))
    with pytest.raises(DataError, match=r"test_y\.bin holds 20 images and 19 labels"):
        raw("stl10", tmp_path)
    (folder / "test_y.bin").write_bytes(bytes([0] * 20))
    with pytest.raises(DataError, match="labels from 1 to 10"):
        raw("stl10", tmp_path)
    (folder / "train_X.bin").write_bytes(b"123")
    with pytest.raises(DataError, match=r"train_X\.bin has 3 bytes"):
        raw("stl10", tmp_path)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a\\b", "..", "dish_000/../../../x"])
def test_a_list_cannot_name_a_file_outside_the_set(tmp_path: Path, name: str) -> None:
    write_set("food101", tmp_path)
    path = tmp_path / "food-101" / "meta" / "train.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dish_000": [name]}))
    with pytest.raises(DataError, match=r"train\.json holds something else"):
        listing("food101", tmp_path)
    write_set("pets", tmp_path)
    (tmp_path / "oxford-iiit-pet" / "annotations" / "test.txt").write_text(f"{name.replace(' ', '')} 1 1 1\n")
    with pytest.raises(DataError, match=r"test\.txt, line 1"):
        listing("pets", tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": 1}', '{"a": []}', '{"a": [1]}', "[" * 100_000, '{"a'])
def test_a_damaged_list_of_food_is_named(tmp_path: Path, text: str) -> None:
    write_set("food101", tmp_path)
    (tmp_path / "food-101" / "meta" / "test.json").write_text(text)
    with pytest.raises(DataError, match=r"test\.json"):
        listing("food101", tmp_path)


@pytest.mark.parametrize("line", ["", "Abyssinian_1", "Abyssinian_1 a 1 1", "Abyssinian_1 -1 1 1", "x_1 99 1 1"])
def test_a_damaged_list_of_pets_is_named(tmp_path: Path, line: str) -> None:
    write_set("pets", tmp_path)
    path = tmp_path / "oxford-iiit-pet" / "annotations" / "trainval.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match="annotations"):
        listing("pets", tmp_path)


def test_flowers_with_labels_or_ids_out_of_range_are_refused(tmp_path: Path) -> None:
    folder = write_set("flowers102", tmp_path) / "flowers-102"
    savemat(folder / "imagelabels.mat", {"labels": np.full((1, 408), 103, dtype=np.uint8)})
    with pytest.raises(DataError, match=r"none of 1 to 102"):
        listing("flowers102", tmp_path)
    savemat(folder / "imagelabels.mat", {"labels": np.ones((1, 10), dtype=np.uint8)})
    with pytest.raises(DataError, match="without a label"):
        listing("flowers102", tmp_path)


def test_another_number_of_classes_than_the_heads_is_refused(tmp_path: Path) -> None:
    root = write_set("eurosat", tmp_path)
    (root / "eurosat" / "2750" / "Cloud").mkdir()
    (root / "eurosat" / "2750" / "Forest" / "Forest_1.jpg").rename(root / "eurosat" / "2750" / "Cloud" / "1.jpg")
    with pytest.raises(DataError, match=r"have 11 classes .* official 10 are needed"):
        listing("eurosat", root)


def test_an_unreadable_photo_is_refused_or_skipped_and_named(tmp_path: Path) -> None:
    root = write_set("pets", tmp_path)
    (root / "oxford-iiit-pet" / "images" / "Abyssinian_0.jpg").write_bytes(b"no picture")
    (root / "oxford-iiit-pet" / "images" / "Abyssinian_2.jpg").unlink()
    with pytest.raises(DataError, match=r"Abyssinian_0\.jpg cannot be read"):
        load(DataConfig("pets", path=str(root)), seed=0, image_size=16, channels=3, say=silent)
    skipping = DataConfig("pets", path=str(root), bad_images="skip")
    split = load(skipping, seed=0, image_size=16, channels=3, say=silent)
    assert (len(split.train_labels), len(split.test_labels)) == (73, 73)
    assert "2 unreadable" in split.notes[-1]
