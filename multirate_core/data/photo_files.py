"""The known sets with a file for each image: EuroSAT, Flowers-102, Oxford-IIIT Pets, Food-101 and Imagenette.

Only names are read here, from the files in which the sets list them; `image_folder` decodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from torchvision.datasets import Flowers102, Food101, Imagenette, OxfordIIITPet

from multirate_core.data.downloads import RemoteFile
from multirate_core.data.folder_scan import FolderListing, list_classes, list_folder
from multirate_core.data.known_files import KnownFiles, all_there
from multirate_core.data.matlab_files import read_matrices
from multirate_core.data.raw_files import other_files_note
from multirate_core.data.safe_names import why_unsafe
from multirate_core.data.sets import DATASETS
from multirate_core.errors import DataError

Rows = tuple[tuple[Path, int], ...]

# torchvision keeps these two inside a method.
_EUROSAT: Final = RemoteFile(
    ("https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",),
    "c8fa014336c82ac7804f0398fcb19387",
)


def eurosat_files() -> KnownFiles:
    """Return how EuroSAT lies on disk: class folders in `2750`, all for training."""
    names = DATASETS["eurosat"].class_names
    return KnownFiles(
        folders=("eurosat/2750", "2750", ""),
        wanted=f"the folders {', '.join(names)}",
        made="eurosat",
        remote=(_EUROSAT,),
        holds=all_there(*names),
        read=_read_eurosat,
    )


def flowers_files() -> KnownFiles:
    """Return how Flowers-102 lies on disk: `jpg`, and two .mat files with labels and parts."""
    files = Flowers102._file_dict
    remote = [RemoteFile((Flowers102._download_url_prefix + name,), md5) for name, md5 in files.values()]
    needed = ("jpg", files["label"][0], files["setid"][0])
    return KnownFiles(
        ("flowers-102", ""), ", ".join(needed), "flowers-102", tuple(remote), all_there(*needed), _read_flowers
    )


def pets_files() -> KnownFiles:
    """Return how Oxford-IIIT Pets lies on disk: `images`, and `annotations` with a list for each part."""
    remote = tuple(RemoteFile((url,), md5) for url, md5 in OxfordIIITPet._RESOURCES)
    needed = ("images", "annotations/trainval.txt", "annotations/test.txt")
    return KnownFiles(
        ("oxford-iiit-pet", ""), ", ".join(needed), "oxford-iiit-pet", remote, all_there(*needed), _read_pets
    )


def food_files() -> KnownFiles:
    """Return how Food-101 lies on disk: `images`, and `meta` with a list for each part."""
    remote = (RemoteFile((Food101._URL,), Food101._MD5),)
    needed = ("images", "meta/train.json", "meta/test.json")
    return KnownFiles(("food-101", ""), ", ".join(needed), "food-101", remote, all_there(*needed), _read_food)


def imagenette_files(edge: int) -> KnownFiles:
    """Return how Imagenette lies on disk: class folders in `train` and `val`.

    Args:
        edge: the shorter one of every image, 160 or 320.
    """
    url, md5 = Imagenette._ARCHIVES[f"{edge}px"]
    made = Path(url).stem
    needed = tuple(f"{part}/{first}" for part in ("train", "val") for first in sorted(Imagenette._WNID_TO_CLASS)[:1])
    return KnownFiles(
        (made, ""), ", ".join(needed), made, (RemoteFile((url,), md5),), all_there(*needed), _read_imagenette
    )


def _read_eurosat(folder: Path) -> FolderListing:
    names, rows = list_classes(folder)
    return FolderListing(names, tuple(rows), (), ())


def _read_flowers(folder: Path) -> FolderListing:
    """List the flowers; the published parts train and val, ten photos of each kind, are both for training."""
    label_file, part_file = (Flowers102._file_dict[what][0] for what in ("label", "setid"))
    labels = read_matrices(folder / label_file, "labels")["labels"].reshape(-1)
    parts = {
        name: ids.reshape(-1) for name, ids in read_matrices(folder / part_file, "trnid", "valid", "tstid").items()
    }
    names: tuple[str, ...] = tuple(getattr(Flowers102, "classes", ())) or tuple(map(str, range(1, 103)))
    if not np.isin(labels, range(1, len(names) + 1)).all():
        raise DataError(f"{folder / label_file} holds labels that are none of 1 to 102. Get the official file.")
    for ids in parts.values():
        if not np.isin(ids, range(1, len(labels) + 1)).all():
            raise DataError(f"{folder / part_file} names images without a label. Get the official files.")

    def rows(ids: Iterable[int]) -> Rows:
        return tuple((folder / "jpg" / f"image_{int(i):05d}.jpg", int(labels[int(i) - 1]) - 1) for i in ids)

    official = {name: md5 for name, md5 in Flowers102._file_dict.values() if name.endswith(".mat")}
    notes = ("The published parts train and val are both for training.", *other_files_note(folder, official))
    return FolderListing(names, rows(np.concatenate((parts["trnid"], parts["valid"]))), rows(parts["tstid"]), notes)


def _read_pets(folder: Path) -> FolderListing:
    """List the pets; the name of an image begins with its breed."""
    parts = [_pet_lines(folder / "annotations" / f"{part}.txt") for part in ("trainval", "test")]
    breeds = {label: name.rsplit("_", 1)[0].replace("_", " ") for lines in parts for name, label in lines}
    if sorted(breeds) != list(range(len(breeds))):
        raise DataError(f"{folder / 'annotations'} leaves out some of the classes. Get the official files.")
    train, test = (tuple((folder / "images" / f"{name}.jpg", label) for name, label in lines) for lines in parts)
    return FolderListing(tuple(breeds[label] for label in sorted(breeds)), train, test, ())


def _pet_lines(path: Path) -> list[tuple[str, int]]:
    """Return the names and labels of a part; a line is a name and three numbers, the first of them the class from 1."""
    lines = _text(path).splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        name, *numbers = line.split() or [""]
        if len(numbers) != 3 or not numbers[0].isdecimal() or "/" in name or why_unsafe(name):
            raise DataError(f"{path}, line {number}: a name and three numbers are needed. Get the official file.")
        found.append((name, int(numbers[0]) - 1))
    return found


def _read_food(folder: Path) -> FolderListing:
    """List the dishes; a part's file names the images of every class, as `class/number`."""
    train, test = (_food_part(folder / "meta" / f"{part}.json") for part in ("train", "test"))
    if sorted(train) != sorted(test):
        raise DataError(f"{folder / 'meta'}: train.json and test.json have different classes. Get the official files.")
    classes = sorted(train)
    train_rows, test_rows = (
        tuple((folder / "images" / f"{name}.jpg", label) for label, key in enumerate(classes) for name in part[key])
        for part in (train, test)
    )
    return FolderListing(tuple(key.replace("_", " ") for key in classes), train_rows, test_rows, ())


def _food_part(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}. Get the official file.") from error
    names = [name for listed in found.values() for name in listed] if _is_lists(found) else [None]
    if not all(isinstance(name, str) and not why_unsafe(name) for name in names):
        raise DataError(f"{path} holds something else than lists of names by class. Get the official file.")
    return dict(found)


def _is_lists(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(listed, list) and listed for listed in found.values())


def _read_imagenette(folder: Path) -> FolderListing:
    listing = list_folder(folder)
    titles = {key: words[0] for key, words in Imagenette._WNID_TO_CLASS.items()}
    return replace(listing, class_names=tuple(titles.get(name, name) for name in listing.class_names))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: {error}. Get the official file.") from error
