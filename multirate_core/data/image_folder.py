"""Any folder of class folders: listed, decoded in parallel, resized and cropped into memory.

Every image is converted as torchvision's ImageFolder does (no rotation by EXIF; only a TIFF is turned, by Pillow
itself), then its shorter edge is scaled to the size with antialiasing and the middle is cut out. Of an animation the
first frame counts.
"""

from __future__ import annotations

import itertools
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from multirate_core.config import DataConfig
from multirate_core.data.catalog import path_of
from multirate_core.data.folder_scan import FolderListing, list_folder
from multirate_core.data.image_file import Decoded, images_in_file
from multirate_core.data.room import fits_memory
from multirate_core.data.split import DataSplit, limited_rows
from multirate_core.errors import DataError
from multirate_core.machine import default_threads

# What Pillow raises on damaged files, besides the OSError that it documents.
_DAMAGED: Final = (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, zlib.error)
# What the allowed suffixes stand for, and GIF, which collections hold under other names. Pillow tells a file by its
# first bytes and would start Ghostscript for a PostScript file named .png.
_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MOST_PIXELS: Final = (
    1 << 26
)  # 268 MB in Pillow's memory, of which each thread needs some; a JPEG counts as it is drafted
_CHUNK: Final = 64  # images handed to the threads at once: what is still decoded after a stop
_NAMED: Final = 5  # unreadable images named in a note

Row = tuple[Path, int]
T = TypeVar("T")


def load_folder(config: DataConfig, seed: int, image_size: int, channels: int, say: Callable[[str], None]) -> DataSplit:
    """Read an image folder; arguments and errors as in `registry.load`."""
    return load_listing(
        list_folder(path_of(config), seed, config.random_share), config, seed, image_size, channels, say
    )


def load_listing(
    listing: FolderListing, config: DataConfig, seed: int, image_size: int, channels: int, say: Callable[[str], None]
) -> DataSplit:
    """Decode the images of a listing; arguments and errors as in `registry.load`."""
    train = [listing.train[i] for i in limited_rows([label for _, label in listing.train], config.train_images, seed)]
    tested = limited_rows([label for _, label in listing.test], config.test_images, seed, "test_images")
    test = [listing.test[i] for i in tested]
    rows = (*train, *test)
    images, bad, notes = _decoded([path for path, _ in rows], image_size, channels, config, say)
    train_labels = _readable_labels(train, bad, listing.class_names)
    test_labels = _readable_labels(test, bad, listing.class_names)
    count = len(train_labels)
    notes = (*listing.notes, *notes, *_bad_note(bad))
    return DataSplit(images[:count], train_labels, images[count:], test_labels, listing.class_names, notes)


def _decoded(
    paths: Sequence[Path], image_size: int, channels: int, config: DataConfig, say: Callable[[str], None]
) -> tuple[Tensor, dict[Path, str], tuple[str, ...]]:
    """Return the images that can be read, in memory or in a file, the reasons for the others, and a note."""
    if not fits_memory(len(paths), channels, image_size):
        shape = (channels, image_size, image_size)
        decode = partial(_checked, paths, image_size, channels, config, say)
        images, bad = images_in_file(paths, shape, config.bad_images, decode)
        size = f"{images.nbytes / 2**30:.1f} GiB"
        return images, bad, (f"The images, {size}, are read from a file: the memory does not hold them.",)
    images, bad = decode_all(paths, image_size, channels, config, say)
    if bad:
        images = images[[row for row, path in enumerate(paths) if path not in bad]]
    return images, bad, ()


def decode_all(
    paths: Sequence[Path], image_size: int, channels: int, config: DataConfig, say: Callable[[str], None]
) -> tuple[Tensor, dict[Path, str]]:
    """Decode images in as many threads as a worker may take.

    Returns:
        uint8 images (N, C, image_size, image_size), and the reason for each path that could not be read; its image is
        black.

    Raises:
        DataError: at the first unreadable image, unless `config.bad_images` is "skip".
    """
    images = torch.zeros(len(paths), channels, image_size, image_size, dtype=torch.uint8)
    bad: dict[Path, str] = {}
    for row, result in enumerate(_checked(paths, image_size, channels, config, say)):
        if isinstance(result, str):
            bad[paths[row]] = result
        else:
            images[row] = torch.from_numpy(result)
    return images, bad


def _checked(
    paths: Sequence[Path], image_size: int, channels: int, config: DataConfig, say: Callable[[str], None]
) -> Iterator[Decoded]:
    """Yield what `decode` returns, in order, and tell the progress; a reason ends it unless such images are skipped."""
    decoded = _decode_in_threads(paths, image_size, channels)
    for row, (path, result) in enumerate(zip(paths, decoded, strict=True)):
        if isinstance(result, str) and config.bad_images == "refuse":
            raise DataError(f"{path} cannot be read: {result}. Remove it, or choose to skip unreadable images.")
        yield result
        if row % _CHUNK == 0:
            say(f"Reading images: {row:,} of {len(paths):,}")


def decode(path: Path, image_size: int, channels: int) -> Decoded:
    """Return one image, uint8 (C, image_size, image_size), or the reason why it cannot be read."""
    square = read_image(path, lambda image: _square(image, image_size, channels), 2 * image_size)
    if isinstance(square, str):
        return square
    return np.array(square).reshape(image_size, image_size, channels).transpose(2, 0, 1)


def read_image(path: Path, use: Callable[[Image.Image], T], edge: int | None = None) -> T | str:
    """Open an image as the race does and return what `use` makes of it, or the reason why it cannot be read.

    Args:
        path: of the file.
        use: gets the image before its pixels are decoded.
        edge: a large JPEG is decoded at a half, quarter or eighth, as long as both edges stay above this; None decodes
            all of it.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if edge is not None:
                image.draft(None, (edge, edge))
            if image.width * image.height > _MOST_PIXELS:
                return f"it has {image.width} × {image.height} pixels, more than {_MOST_PIXELS:,}"
            return use(image)
    except Image.DecompressionBombError:
        return "it has more pixels than Pillow takes from files that may be hostile"
    except MemoryError:
        return "there is not enough memory to decode it"
    except _DAMAGED as error:
        return str(error).replace(str(path), path.name) or type(error).__name__


def _square(image: Image.Image, image_size: int, channels: int) -> Image.Image:
    return ImageOps.fit(plain(image, channels), (image_size, image_size), Image.Resampling.BILINEAR)


def _decode_in_threads(paths: Sequence[Path], image_size: int, channels: int) -> Iterator[Decoded]:
    """Yield what `decode` returns, in order; Pillow decodes outside Python's lock."""
    rest = iter(paths)
    with warnings.catch_warnings(), ThreadPoolExecutor(default_threads(), "decode") as pool:
        warnings.simplefilter("ignore")  # odd metadata, and large photos that are still below Pillow's hard limit
        while chunk := list(itertools.islice(rest, _CHUNK)):
            yield from pool.map(lambda path: decode(path, image_size, channels), chunk)


def plain(image: Image.Image, channels: int) -> Image.Image:
    """Convert any mode to 8-bit grey or RGB; transparency is dropped."""
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of which the range is unknown")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB" if channels == 3 else "L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion would cut everything above 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray((values // 257).astype(np.uint8))


def _readable_labels(rows: Sequence[Row], bad: dict[Path, str], class_names: tuple[str, ...]) -> Tensor:
    """Return the labels of the images that can be read; DataError if a class has none left."""
    labels = torch.tensor([label for path, label in rows if path not in bad], dtype=torch.int64)
    left = Counter(labels.tolist())
    for label in sorted({label for _, label in rows}):
        if not left[label]:
            raise DataError(
                f"no image of the class {class_names[label]!r} can be read; all were skipped. {_bad_note(bad)[0]}"
            )
    return labels


def _bad_note(bad: dict[Path, str]) -> tuple[str, ...]:
    if not bad:
        return ()
    named = ", ".join(f"{path.parent.name}/{path.name} ({reason})" for path, reason in list(bad.items())[:_NAMED])
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return (f"{len(bad)} unreadable image(s) left out: {named}{more}.",)
