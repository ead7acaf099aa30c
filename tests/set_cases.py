"""Tiny sets of noise with a colour for every class, written in the forms in which the published sets lie on disk."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from image_cases import write_idx
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Imagenette

from multirate_core.data.sets import DATASETS

FOLDERS = {
    "mnist": "MNIST/raw",
    "svhn": "",
    "stl10": "stl10_binary",
    "eurosat": "eurosat/2750",
    "flowers102": "flowers-102",
    "pets": "oxford-iiit-pet",
    "food101": "food-101",
    "imagenette160": "imagenette2-160",
    "imagenette320": "imagenette2-320",
}


def write_set(name: str, root: Path) -> Path:
    """Write a tiny form of a set where torchvision looks for it below a root; return the root."""
    folder = root / FOLDERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    {
        "mnist": write_mnist,
        "svhn": write_svhn,
        "stl10": write_stl10,
        "eurosat": write_eurosat,
        "flowers102": write_flowers,
        "pets": write_pets,
        "food101": write_food,
        "imagenette160": write_imagenette,
        "imagenette320": write_imagenette,
    }[name](folder)
    return root


def write_mnist(folder: Path) -> None:
    for part, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count) % 10
        write_idx(folder / f"{part}-images-idx3-ubyte", coloured(labels, (28, 28, 1), count)[..., 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels.astype(np.uint8))


def write_svhn(folder: Path) -> None:
    for part, count in (("train", 60), ("test", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        pixels = coloured(labels, (32, 32, 3), count).transpose(1, 2, 3, 0)
        savemat(folder / f"{part}_32x32.mat", {"X": pixels, "y": labels[:, None] + 1}, do_compression=True)


def write_stl10(folder: Path) -> None:
    for part, count in (("train", 40), ("test", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        coloured(labels, (96, 96, 3), count).transpose(0, 3, 2, 1).tofile(folder / f"{part}_X.bin")
        (labels + 1).tofile(folder / f"{part}_y.bin")


def write_eurosat(folder: Path) -> None:
    for place, label in enumerate(DATASETS["eurosat"].class_names):
        paths = [folder / label / f"{label}_{number}.jpg" for number in range(1, 8)]
        write_images(paths, [place] * len(paths), 100 * place)


def write_flowers(folder: Path) -> None:
    """Write four photos of each flower: one of train, one of val, two of test, in a mixed order."""
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(1, 103, dtype=np.uint8), 4))
    seen = np.array([(labels[:place] == label).sum() for place, label in enumerate(labels)])
    ids = np.arange(1, len(labels) + 1, dtype=np.uint16)
    savemat(folder / "imagelabels.mat", {"labels": labels[None]})
    parts = {"trnid": ids[seen == 0], "valid": ids[seen == 1], "tstid": ids[seen > 1]}
    savemat(folder / "setid.mat", {name: part[None] for name, part in parts.items()})
    write_images([folder / "jpg" / f"image_{number:05d}.jpg" for number in ids], labels)


def write_pets(folder: Path) -> None:
    (folder / "annotations").mkdir(exist_ok=True)
    breeds = ["Abyssinian", "american_bulldog", *(f"Breed_{letter}" for letter in range(35))]
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, breed in enumerate(breeds, 1):
        for number in range(4):
            lines["trainval" if number < 2 else "test"].append(f"{breed}_{number} {label} {1 + label % 2} 1")
    for part, listed in lines.items():
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(listed) + "\n")
    rows = [line.split() for listed in lines.values() for line in listed]
    write_images([folder / "images" / f"{row[0]}.jpg" for row in rows], [int(row[1]) for row in rows])


def write_food(folder: Path) -> None:
    (folder / "meta").mkdir(exist_ok=True)
    classes = [f"dish_{number:03}" for number in range(101)]
    for part, numbers in (("train", (1, 2)), ("test", (3,))):
        listed = {name: [f"{name}/{number}" for number in numbers] for name in classes}
        (folder / "meta" / f"{part}.json").write_text(json.dumps(listed))
    names = [f"{name}/{number}.jpg" for name in classes for number in (1, 2, 3)]
    write_images([folder / "images" / name for name in names], [place // 3 for place in range(len(names))])


def write_imagenette(folder: Path) -> None:
    for part, count in (("train", 4), ("val", 2)):
        for place, label in enumerate(Imagenette._WNID_TO_CLASS):
            paths = [folder / part / label / f"{label}_{number}.JPEG" for number in range(count)]
            write_images(paths, [place] * count, 1000 * count + 100 * place)


def write_images(paths: Sequence[Path], labels: Sequence[int] | np.ndarray, seed: int = 0) -> None:
    for path, pixels in zip(paths, coloured(labels, (12, 14, 3), seed), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, "JPEG")


def coloured(labels: Sequence[int] | np.ndarray, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return an image of noise for every label, in the colour of its class: uint8 (N, H, W, C)."""
    noise = np.random.default_rng(seed).integers(0, 80, (len(labels), *shape), dtype=np.uint8)
    colours = [np.random.default_rng(int(label)).integers(0, 176, (1, 1, shape[2]), dtype=np.uint8) for label in labels]
    return noise + np.stack(colours)


def write_cifar10(root: Path, **changes: Any) -> Path:
    """Write one training file and the test file in CIFAR-10's format; `changes` replace entries of both."""
    folder, labels = root / "cifar-10-batches-py", np.arange(20) % 10
    folder.mkdir(parents=True)
    for seed, name in enumerate(("data_batch_1", "test_batch")):
        content = {"data": _cifar_rows(labels, seed), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps({**content, **changes}))
    return root


def write_cifar100(root: Path) -> Path:
    """Write files in CIFAR-100's format: 100 classes, three training images of each."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 300), ("test", 100)):
        labels = np.arange(count) % 100
        content = {b"data": _cifar_rows(labels, count), b"fine_labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {i}" for i in range(100)]}))
    return root


def _cifar_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    return coloured(labels, (32, 32, 3), seed).transpose(0, 3, 1, 2).reshape(len(labels), -1)
