"""Real image files for tests: drawn folders, awkward formats, and the shared real data."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (20, 40, 210)}


def shared(relative: str) -> Path:
    """Return a file or folder of the shared real data, or skip the test with the reason."""
    root = os.environ.get("MULTIRATE_SHARED")
    if not root:
        pytest.skip("MULTIRATE_SHARED does not name the folder with real data and weights")
    return Path(root) / relative


def draw_folder(folder: Path, counts: dict[str, int], size: tuple[int, int] = (24, 20)) -> Path:
    """Fill a folder with class folders of JPEG images, each of its class's colour; return the folder."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", size, COLOURS.get(name, (90, 90, 90))).save(folder / name / f"{number:03}.jpg")
    return folder


def noise_image(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def small_fashion(root: Path, train: int = 30, test: int = 20) -> Path:
    """Write unpacked files in Fashion-MNIST's format; return the folder that holds FashionMNIST/raw."""
    raw, draw = root / "FashionMNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        write_idx(raw / f"{part}-images-idx3-ubyte", draw.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return root


def silent(_: str) -> None:
    """Take a line about the progress and drop it."""
