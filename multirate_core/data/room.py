"""Whether decoded images find room: in memory, or in a file on the disk of the user data folder. No torch."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

from multirate_core.home import subfolder
from multirate_core.machine import available_memory

MEMORY_SHARE: Final = 0.6  # of the available memory: what a data set may take
KEPT_FILES: Final = 2  # of images, the newest ones; each may be as large as a disk
SPARE: Final = 1.05  # of a file's size must be free on the disk


def fits_memory(images: int, channels: int, image_size: int) -> bool:
    """Return whether so many uint8 images take at most MEMORY_SHARE of the available memory."""
    return images * channels * image_size**2 <= MEMORY_SHARE * available_memory()


def fits_disk(needed: int) -> bool:
    """Return whether a file of so many bytes can be written, or is there already, as its size suggests."""
    sizes = []
    for file in image_files(image_folder()):
        with contextlib.suppress(FileNotFoundError):  # a worker takes old ones away
            sizes.append(file.stat().st_size)
    return needed in sizes or needed * SPARE <= disk_room() + sum(sizes[KEPT_FILES - 1 :])


def disk_room() -> int:
    """Return the free bytes of the disk on which images are kept."""
    return shutil.disk_usage(image_folder()).free


def image_folder() -> Path:
    """Return where files of images are kept."""
    return subfolder("data")


def image_files(folder: Path) -> list[Path]:
    """Return the files of images in a folder, the newest first."""
    found = []
    for file in folder.glob("images-*.bytes"):
        with contextlib.suppress(FileNotFoundError):
            found.append((file.stat().st_mtime, file))
    return [file for _, file in sorted(found, reverse=True)]
