"""What lies in a folder of class folders, found by listing names only: no image is opened, no torch is needed."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multirate_core.errors import DataError

# The suffixes that torchvision's ImageFolder reads; .gif is not one of them.
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
TEST_FOLDERS: Final = ("val", "valid", "validation", "test")  # the first one that exists is used
TEST_SHARE: Final = 0.2  # of each class, where the folder has no test images of its own


@dataclass(frozen=True)
class FolderListing:
    """The images of a folder, split into training and test images.

    Args:
        class_names: sorted; a label is a place in it.
        train, test: paths with their labels.
        notes: how the split came about.
    """

    class_names: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    notes: tuple[str, ...]


def list_folder(folder: Path, seed: int = 0, share: float | None = None) -> FolderListing:
    """List a folder of class folders, with `train` and `val` (or `valid`, `validation`, `test`) above them or without.

    Args:
        folder: may be read-only; nothing is written.
        seed: of the split when the folder has none of its own: a fifth of every class becomes test images.
        share: of every class's training images that become test images; the folder's own are left out. None takes its
            own.

    Raises:
        DataError: the folder is missing, unreadable, has fewer than two classes, an empty class, or its test classes
            differ from its training classes.
    """
    require_folder(folder)
    try:
        return _list_folder(folder, seed, share)
    except OSError as error:
        raise _unreadable(Path(error.filename or folder), error) from error


def _list_folder(folder: Path, seed: int, share: float | None) -> FolderListing:
    train_folder, test_folders = parts_of(folder)
    class_names, rows = list_classes(train_folder)
    if not test_folders or share is not None:
        unused = tuple(f"The folder {extra.name} was not used." for extra in test_folders)
        return split_listing(FolderListing(class_names, tuple(rows), (), unused), seed, share)
    test_names, test_rows = list_classes(test_folders[0])
    _require_same_classes(train_folder, class_names, test_folders[0], test_names)
    notes = [f"Training images from {train_folder.name}, test images from {test_folders[0].name}."]
    notes += [f"The folder {extra.name} was not used." for extra in test_folders[1:]]
    return FolderListing(class_names, tuple(rows), tuple(test_rows), tuple(notes))


def parts_of(folder: Path) -> tuple[Path, list[Path]]:
    """Return the folder of the training classes and those with test classes, of which the first one is used."""
    if not (folder / "train").is_dir():
        return folder, []
    return folder / "train", [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]


def scan_classes(folder: Path) -> dict[str, list[Path]]:
    """Return every class folder with its images, both sorted; hidden files and folders are passed over."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {name: sorted(_images_below(folder / name)) for name in names}


def split_listing(listing: FolderListing, seed: int, share: float | None = None) -> FolderListing:
    """Cut test images out of the training images; what the listing has for testing is left out.

    Args:
        listing: of all images.
        seed: the same seed gives the same parts.
        share: of test images in every class; None takes a fifth, since there are no test images.

    Raises:
        DataError: a class has one image only.
    """
    labels = [label for _, label in listing.train]
    for label, count in sorted(Counter(labels).items()):
        if count < 2:
            path = next(path for path, own in listing.train if own == label)
            raise DataError(
                f"the class folder {path.parent} holds 1 image; without test folders at least 2 are needed, one to "
                f"train and one to test. Add images, or a test folder ({', '.join(TEST_FOLDERS)})."
            )
    train, test = split_rows(labels, seed, share or TEST_SHARE)
    why, part = ("No test folder", "a fifth") if share is None else ("A random split", f"{share:.0%}")
    note = f"{why}: {len(test)} of {len(labels)} images, {part} of every class, are for testing (seed {seed})."
    rows = tuple(listing.train[i] for i in train), tuple(listing.train[i] for i in test)
    return FolderListing(listing.class_names, *rows, (*listing.notes, note))


def split_rows(labels: Sequence[int], seed: int, share: float = TEST_SHARE) -> tuple[list[int], list[int]]:
    """Split row numbers into training and test rows, every class in the same proportion.

    Args:
        labels: one per row.
        seed: the same seed gives the same split.
        share: of test rows in every class; at least one row of a class goes to each side.

    Returns:
        Row numbers for training and for testing, each in rising order.
    """
    shuffled = random.Random(seed)
    test: set[int] = set()
    for _, rows in sorted(rows_by_label(labels).items()):
        test.update(shuffled.sample(rows, max(1, round(share * len(rows)))))
    return [row for row in range(len(labels)) if row not in test], sorted(test)


def rows_by_label(labels: Sequence[int]) -> dict[int, list[int]]:
    """Return the row numbers of every label, in rising order."""
    rows: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return rows


def require_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is a folder that can be listed."""
    try:
        with os.scandir(folder):
            return
    except FileNotFoundError as error:
        raise DataError(f"the folder {folder} does not exist. Check the path.") from error
    except NotADirectoryError as error:
        raise DataError(f"{folder} is a file; a folder with one folder of images per class is needed.") from error
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"the folder {folder} cannot be read: {error.strerror}. Check the path and its permissions.")


def list_classes(folder: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Return the class names and every image with its label; hidden files and folders are passed over.

    Raises:
        DataError: fewer than two classes, or an empty one.
    """
    classes = scan_classes(folder)
    names = list(classes)
    if len(names) < 2:
        raise DataError(
            f"{folder} has {len(names)} class folder(s){f' ({names[0]})' if names else ''}; training needs at least 2. "
            "Put the images of each class into a folder of its own."
        )
    rows: list[tuple[Path, int]] = []
    for label, (name, images) in enumerate(classes.items()):
        if not images:
            raise DataError(
                f"the class folder {folder / name} holds no image. Allowed suffixes: "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}. Add images or remove the folder."
            )
        rows += [(image, label) for image in images]
    return tuple(names), rows


def _images_below(folder: Path) -> Iterator[Path]:
    """Yield every image below a folder; linked folders are followed, each real folder once."""
    seen: set[Path] = set()
    for parent, subfolders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = Path(parent).resolve()
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent) / name


def _raise(error: OSError) -> None:
    raise error


def _require_same_classes(train: Path, train_names: tuple[str, ...], test: Path, test_names: tuple[str, ...]) -> None:
    if train_names != test_names:
        missing, extra = sorted(set(train_names) - set(test_names)), sorted(set(test_names) - set(train_names))
        raise DataError(
            f"{test} and {train} have different classes: missing in {test.name}: {missing[:5]} ({len(missing)}), "
            f"only in {test.name}: {extra[:5]} ({len(extra)}). Give both the same class folders."
        )
