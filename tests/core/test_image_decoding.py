"""Image files from strangers: what decodes, what is refused with a reason, and that nothing else happens."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_cases import noise_image
from PIL import EpsImagePlugin, Image

from multirate_core.config import DataConfig
from multirate_core.data import image_folder
from multirate_core.data.image_folder import decode, decode_all

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

GREY = b"\0" + bytes([100] * 27)  # one line of 9 pixels
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
TIFF_TAGS = {256: 9, 257: 9, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 9, 279: 81}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*extra: bytes, width: int = 9, height: int = 9, lines: bytes = GREY * 9) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def tiff(**changes: int) -> bytes:
    """Return a grey TIFF of 9 × 9 pixels with tags replaced or added, `t256=…`, and counts, `c256=…`."""
    tags = TIFF_TAGS | {int(name[1:]): value for name, value in changes.items() if name[0] == "t"}
    rows = [struct.pack("<HHII", tag, 4, changes.get(f"c{tag}", 1), value) for tag, value in sorted(tags.items())]
    head = b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + struct.pack("<I", 0)
    return head.ljust(200, b"\0") + bytes([100] * 81)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


NOISE = noise_image(0)
REFUSED: dict[str, tuple[bytes, str]] = {
    "50,000 × 50,000 pixels.png": (png(width=50_000, height=50_000), "more pixels than Pillow takes"),
    "9,000 × 9,000 pixels.png": (png(width=9_000, height=9_000), "9000 × 9000 pixels, more than 67,108,864"),
    "cut.jpg": (half(saved(NOISE, "JPEG")), "truncated"),
    "cut.png": (half(saved(NOISE, "PNG")), "truncated"),
    "cut.webp": (half(saved(NOISE, "WEBP")), "decoder"),
    "cut.bmp": (half(saved(NOISE, "BMP")), "truncated"),
    "cut.ppm": (half(saved(NOISE, "PPM")), "truncated"),
    "cut.tiff": (half(saved(NOISE, "TIFF")), "truncated"),
    "nothing.jpg": (b"", "cannot identify"),
    "text.jpg": (b"not an image\n" * 9, "cannot identify"),
    "svg.png": (SVG, "cannot identify"),
    "pdf.png": (b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF", "cannot identify"),
    "a long text.png": (png(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(9_000_000)))), "Decompressed data too large"),
    "many texts.png": (
        png(*(chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(1_000_000))) for i in range(70))),
        "Too much memory used in text chunks",
    ),
    "a long profile.png": (png(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(9_000_000)))), "Decompressed data too"),
    "4,294,967,295 wide.tif": (tiff(t256=0xFFFFFFFF), "more pixels than Pillow takes"),
    "no width.tif": (tiff(t256=0), ""),
    "unknown compression.tif": (tiff(t259=777), "cannot identify"),
    "not compressed as it says.tif": (tiff(t259=5), "decoder error"),
    "data behind the end.tif": (tiff(t273=0xFFFFFFF0), "truncated"),
    "65,535 samples.tif": (tiff(t277=65_535), "cannot identify"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_fit_image_gets_a_reason(name: str, tmp_path: Path) -> None:
    content, reason = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    found = decode(tmp_path / name, 16, 3)
    assert isinstance(found, str) and found and reason in found
    assert str(tmp_path) not in found


@pytest.mark.parametrize("form", ["EPS", "ICO", "PCX", "TGA", "JPEG2000", "PDF", "SGI", "MPEG"])
def test_formats_of_other_suffixes_are_refused_under_any_name(form: str, tmp_path: Path) -> None:
    contents = {"EPS": EPS, "MPEG": b"\0\0\1\xb3" + bytes(50)}
    path = tmp_path / "image.png"
    path.write_bytes(contents.get(form) or saved(NOISE, form))
    assert decode(path, 16, 3) == "cannot identify image file 'image.png'"


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for Ghostscript is a shell script")
def test_a_postscript_file_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, program, path = tmp_path / "started", tmp_path / "gs", tmp_path / "a.png"
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for it once
    path.write_bytes(EPS)
    with Image.open(path) as image, pytest.raises(OSError):
        image.load()
    assert started.exists()  # what happens without the list of formats
    started.unlink()
    assert decode(path, 16, 3) == "cannot identify image file 'a.png'" and not started.exists()


@pytest.mark.parametrize("form", image_folder._FORMATS)
def test_each_format_is_known_by_its_content_whatever_its_name(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("RGB", (9, 9), "white"), form))
    found = decode(tmp_path / "a.jpg", 8, 3)
    assert isinstance(found, np.ndarray) and found.min() > 250


@pytest.mark.parametrize(
    ("form", "suffix"), [("GIF", "png"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif"), ("MPO", "jpg")]
)
def test_of_several_frames_the_first_counts(form: str, suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("white", "black")]
    (tmp_path / f"a.{suffix}").write_bytes(saved(frames[0], form, save_all=True, append_images=frames[1:]))
    found = decode(tmp_path / f"a.{suffix}", 8, 3)
    assert isinstance(found, np.ndarray) and found.min() > 250


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_in_the_metadata_is_not_applied_as_in_torchvisions_image_folder(
    form: str, tmp_path: Path
) -> None:
    image, exif = Image.new("RGB", (16, 16), "black"), Image.Exif()
    image.paste("white", (0, 0, 16, 8))
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(saved(image, form, exif=exif))
    found = decode(tmp_path / "a.jpg", 16, 1)
    assert isinstance(found, np.ndarray)
    upright = found[0] if form != "TIFF" else found[0, :, ::-1].T  # a TIFF is turned by Pillow, there as here
    assert upright[1].min() > 240 and upright[-2].max() < 15


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_print_colours_become_screen_colours(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), form))
    found = decode(tmp_path / "a.jpg", 8, 3)
    assert isinstance(found, np.ndarray) and found[0].min() > 225 and found[1:].max() < 60


def sixteen_bit_colour() -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    lines = (b"\0" + b"\x80\x80\x40\x40\x20\x20" * 2) * 2
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("make", "colour"),
    [
        (sixteen_bit_colour, (0x80, 0x40, 0x20)),
        (lambda: saved(Image.new("I;16", (9, 9), 0x8080), "TIFF"), (0x80,) * 3),
        (lambda: b"P5 2 2 65535\n" + b"\x80\x80" * 4, (0x80,) * 3),
        (lambda: b"P2 2 2 255\n128 128 128 128\n", (128,) * 3),
        (tiff, (100,) * 3),
        (png, (100,) * 3),
    ],
)
def test_deep_and_plain_images_keep_their_colour(
    make: Callable[[], bytes], colour: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(make())
    found = decode(tmp_path / "a.png", 2, 3)
    assert isinstance(found, np.ndarray) and found[:, 0, 0].tolist() == list(colour)


def test_odd_tags_warn_nobody_and_cost_no_memory(tmp_path: Path) -> None:
    odd = {
        "a comment of 4 GB.tif": tiff(t270=100, c270=0xFFFFFFF0),
        "a profile of 2 GB.tif": tiff(t34675=100, c34675=0x7FFFFFFF),
        "exif in a circle.tif": tiff(t34665=8),
    }
    for name, content in odd.items():
        (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        images, bad = decode_all([tmp_path / name for name in odd], 8, 3, DataConfig("folder"), lambda _: None)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert not bad and (images == 100).all()


def test_a_jpeg_of_more_pixels_is_read_at_an_eighth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "_MOST_PIXELS", 10_000)
    wide = Image.new("RGB", (640, 640), "white")
    wide.save(tmp_path / "a.jpg")
    wide.save(tmp_path / "a.png")
    assert isinstance(decode(tmp_path / "a.jpg", 32, 3), np.ndarray)
    assert decode(tmp_path / "a.png", 32, 3) == "it has 640 × 640 pixels, more than 10,000"
