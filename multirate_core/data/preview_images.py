"""A look at images: counts, thumbnails, sizes, duplicates; of a folder even where a race would refuse it."""

from __future__ import annotations

import base64
import hashlib
import io
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from PIL import Image
from torch import Tensor

from multirate_core.config import DataConfig
from multirate_core.data import registry
from multirate_core.data.catalog import DataInfo, data_shape, path_of
from multirate_core.data.folder_scan import parts_of, require_folder, scan_classes, split_rows
from multirate_core.data.image_folder import plain, read_image
from multirate_core.data.preview_findings import (
    chosen_rows,
    count_classes,
    find_duplicates,
    named,
    problems_of,
    spread_rows,
)
from multirate_core.data.preview_form import DataPreview, Edges, Sample
from multirate_core.data.split import limited_rows
from multirate_core.machine import default_threads

THUMBNAIL_PX: Final = 96
MEASURED_FILES: Final = 200
DECODE_S: Final = 10.0  # seconds after which no more files are decoded
_CHUNK: Final = 32  # files handed to the threads at once

Row = tuple[Path, int]


@dataclass(frozen=True)
class FolderRows:
    """The files of an image folder with their labels, as a race would split them if it took them.

    Args:
        class_names: of both parts, sorted.
        train, test: paths with labels.
        notes: how the split came about.
    """

    class_names: tuple[str, ...]
    train: Sequence[Row]
    test: Sequence[Row]
    notes: tuple[str, ...]


def look_at_images(info: DataInfo, config: DataConfig) -> DataPreview:
    """Return the preview of a set of images that is not a folder of class folders; errors as in `registry.load`."""
    channels, _, edge = data_shape(config, None).input_shape
    split = registry.load(config, seed=0, image_size=edge, channels=channels, say=lambda _: None)
    labels, tested = split.train_labels.tolist(), split.test_labels.tolist()
    looked = chosen_rows(len(labels) + len(tested))
    duplicates = find_duplicates(
        [(_mark(split.train_images[row]), labels[row]) for row in looked if row < len(labels)],
        [_mark(split.test_images[row - len(labels)]) for row in looked if row >= len(labels)],
    )
    classes = count_classes(split.class_names, labels, tested)
    shown = [(split.class_names[labels[row]], _picture(split.train_images[row])) for row in spread_rows(labels)]
    return DataPreview(
        title=info.title,
        holds="images",
        train_samples=len(labels),
        test_samples=len(tested),
        classes=classes,
        samples=tuple(Sample(label, _png(picture)) for label, picture in shown),
        edges=None,
        lengths=None,
        duplicates=duplicates,
        problems=tuple(problems_of(classes, duplicates)),
        notes=(*split.notes, *_part_note(len(looked), len(labels) + len(tested))),
    )


def look_at_folder(info: DataInfo, config: DataConfig) -> DataPreview:
    """Return the preview of an image folder, with its problems in words; DataError if the folder cannot be listed."""
    rows = _folder_rows(path_of(config), config)
    both = [*rows.train, *rows.test]
    looked = chosen_rows(len(both))
    marks, bad = _read_marks([both[row][0] for row in looked])
    known = [(row, mark) for row, mark in zip(looked, marks, strict=False) if mark is not None]
    first_test = len(rows.train)
    duplicates = find_duplicates(
        [(mark, both[row][1]) for row, mark in known if row < first_test],
        [mark for row, mark in known if row >= first_test],
    )
    labels = [label for _, label in rows.train]
    classes = count_classes(rows.class_names, labels, [label for _, label in rows.test])
    return DataPreview(
        title=info.title,
        holds="images",
        train_samples=len(rows.train),
        test_samples=len(rows.test),
        classes=classes,
        samples=tuple(_folder_samples(rows.class_names, [row for row in rows.train if row[0] not in bad])),
        edges=_edges([both[row][0] for row in looked[:MEASURED_FILES]]),
        lengths=None,
        duplicates=duplicates,
        problems=(*_bad_problem(bad, len(marks)), *problems_of(classes, duplicates)),
        notes=(*rows.notes, *_part_note(len(marks), len(both))),
    )


def _folder_rows(folder: Path, config: DataConfig) -> FolderRows:
    """List a folder as `folder_scan.list_folder` does, but whatever it holds."""
    require_folder(folder)
    train_folder, test_folders = parts_of(folder)
    trained = scan_classes(train_folder)
    tested = scan_classes(test_folders[0]) if test_folders else {}
    names = tuple(sorted({*trained, *tested}))
    train = [(path, label) for label, name in enumerate(names) for path in trained.get(name, [])]
    if test_folders:
        test = [(path, label) for label, name in enumerate(names) for path in tested.get(name, [])]
        notes = (f"Training images from {train_folder.name}, test images from {test_folders[0].name}.",)
    else:
        kept, split_off = split_rows([label for _, label in train], 0)
        train, test = [train[row] for row in kept], [train[row] for row in split_off]
        notes = ("No test folder: a fifth of every class is for testing.",)
    train, test = _limited(train, config.train_images, len(names)), _limited(test, config.test_images, len(names))
    return FolderRows(names, train, test, notes)


def _limited(rows: list[Row], count: int | None, classes: int) -> list[Row]:
    if count is None or count < classes:  # too few are refused by the race; here everything is shown
        return rows
    return [rows[row] for row in limited_rows([label for _, label in rows], count, 0)]


def _read_marks(paths: Sequence[Path]) -> tuple[list[bytes | None], dict[Path, str]]:
    """Return a fingerprint of every image's pixels until the time is over, None of those that cannot be read."""
    end = time.monotonic() + DECODE_S
    marks: list[bytes | None] = []
    bad: dict[Path, str] = {}
    for path, mark in _decoded(paths, end):
        marks.append(None if isinstance(mark, str) else mark)
        if isinstance(mark, str):
            bad[path] = mark
    return marks, bad


def _decoded(paths: Sequence[Path], end: float) -> Iterator[tuple[Path, bytes | str]]:
    rest = iter(paths)
    with warnings.catch_warnings(), ThreadPoolExecutor(default_threads(), "preview") as pool:
        warnings.simplefilter("ignore")  # odd metadata, and large photos that are still below Pillow's hard limit
        while time.monotonic() < end and (chunk := list(islice(rest, _CHUNK))):
            yield from zip(chunk, pool.map(_mark_of_file, chunk), strict=True)


def _mark_of_file(path: Path) -> bytes | str:
    # A large JPEG is read smaller: equal ones stay equal, and a thousand photos take seconds instead of minutes.
    return read_image(path, lambda image: _mark_of(plain(image, 3)), 2 * THUMBNAIL_PX)


def _mark_of(image: Image.Image) -> bytes:
    return hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=16).digest()


def _mark(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def _edges(paths: Sequence[Path]) -> Edges | None:
    """Return the sizes that the files' headers tell; None if no file can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = [size for path in paths if not isinstance(size := read_image(path, lambda image: image.size), str)]
    if not sizes:
        return None
    shorter = sorted(min(size) for size in sizes)
    return Edges(shorter[0], shorter[(len(shorter) - 1) // 2], max(max(size) for size in sizes), len(sizes))


def _folder_samples(class_names: Sequence[str], rows: Sequence[Row]) -> Iterator[Sample]:
    for row in spread_rows([label for _, label in rows]):
        path, label = rows[row]
        png = read_image(path, lambda image: (_png(plain(image, 3)),), 2 * THUMBNAIL_PX)
        if not isinstance(png, str):
            yield Sample(class_names[label], png[0])


def _picture(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).contiguous().numpy()  # (H, W, C)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _png(image: Image.Image) -> str:
    """Return a picture of at most THUMBNAIL_PX pixels; the pixels of a tiny image stay visible."""
    if max(image.size) <= THUMBNAIL_PX // 2:
        times = THUMBNAIL_PX // max(image.size)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    else:
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")


def _part_note(looked: int, count: int) -> list[str]:
    return [f"Looked at {looked:,} of {count:,} images, drawn at random."] if looked < count else []


def _bad_problem(bad: dict[Path, str], looked: int) -> list[str]:
    if not bad:
        return []
    reasons = [f"{path.parent.name}/{path.name} ({reason})" for path, reason in bad.items()]
    return [f"{len(bad):,} of {looked:,} images cannot be read: {named(reasons)}."]
