"""Tiny sets with random pixels, written in the forms in which the published sets lie on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from image_cases import noise_image, write_idx
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
    draw = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte", draw.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))


def write_svhn(folder: Path) -> None:
    draw = np.random.default_rng(1)
    for part, count in (("train", 60), ("test", 20)):
        pixels = draw.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count, dtype=np.uint8)[:, None] % 10) + 1
        savemat(folder / f"{part}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)


def write_stl10(folder: Path) -> None:
    draw = np.random.default_rng(2)
    for part, count in (("train", 40), ("test", 20)):
        draw.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{part}_X.bin")
        (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(folder / f"{part}_y.bin")


def write_eurosat(folder: Path) -> None:
    for place, label in enumerate(DATASETS["eurosat"].class_names):
        write_images([folder / label / f"{label}_{number}.jpg" for number in range(1, 8)], 100 * place)


def write_flowers(folder: Path) -> None:
    """Write four photos of each flower: one of train, one of val, two of test, in a mixed order."""
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(1, 103, dtype=np.uint8), 4))
    seen = np.array([(labels[:place] == label).sum() for place, label in enumerate(labels)])
    ids = np.arange(1, len(labels) + 1, dtype=np.uint16)
    savemat(folder / "imagelabels.mat", {"labels": labels[None]})
    parts = {"trnid": ids[seen == 0], "valid": ids[seen == 1], "tstid": ids[seen > 1]}
    savemat(folder / "setid.mat", {name: part[None] for name, part in parts.items()})
    write_images([folder / "jpg" / f"image_{number:05d}.jpg" for number in ids], 0)


def write_pets(folder: Path) -> None:
    (folder / "annotations").mkdir(exist_ok=True)
    breeds = ["Abyssinian", "american_bulldog", *(f"Breed_{letter}" for letter in range(35))]
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, breed in enumerate(breeds, 1):
        for number in range(4):
            lines["trainval" if number < 2 else "test"].append(f"{breed}_{number} {label} {1 + label % 2} 1")
    for part, listed in lines.items():
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(listed) + "\n")
    names = [line.split()[0] for listed in lines.values() for line in listed]
    write_images([folder / "images" / f"{name}.jpg" for name in names], 0)


def write_food(folder: Path) -> None:
    (folder / "meta").mkdir(exist_ok=True)
    classes = [f"dish_{number:03}" for number in range(101)]
    for part, numbers in (("train", (1, 2)), ("test", (3,))):
        listed = {name: [f"{name}/{number}" for number in numbers] for name in classes}
        (folder / "meta" / f"{part}.json").write_text(json.dumps(listed))
    write_images([folder / "images" / name / f"{number}.jpg" for name in classes for number in (1, 2, 3)], 0)


def write_imagenette(folder: Path) -> None:
    for part, count in (("train", 4), ("val", 2)):
        for place, label in enumerate(Imagenette._WNID_TO_CLASS):
            names = [folder / part / label / f"{label}_{number}.JPEG" for number in range(count)]
            write_images(names, 1000 * count + 100 * place)


def write_images(paths: Iterable[Path], seed: int) -> None:
    for place, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        noise_image(seed + place, (14, 12)).save(path, "JPEG")
