"""Small fit zips and images, and the ways to damage them: the inputs of `fuzz_uploads`, the same for the same seed."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

from PIL import Image

Mutate = Callable[[random.Random, bytearray], None]

NAMES = ("cat/1.png", "cat/2.png", "dog/1.jpg", "dog/2.jpg", "dog/a/3.bmp")
NUMBERS = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
BAD_NAMES = (
    b"../../o.x",
    b"/tmp/o.pn",
    b"C:\\o.png",
    b"cat/..///",
    b"CAT/1.PNG",
    b"c\x00/1.png",
    b"nul/1.png",
    b"\xff" * 9,
)
MARKS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08")
ENTRY_FIELDS = ((4, "H"), (8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (30, "H"), (32, "H"))
ENTRY_ENDS = ((34, "H"), (38, "I"), (42, "I"))
HEADER_FIELDS = ((6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H"))
END_FIELDS = ((4, "H"), (6, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H"))
FIELDS = {b"PK\1\2": ENTRY_FIELDS + ENTRY_ENDS, b"PK\3\4": HEADER_FIELDS, b"PK\5\6": END_FIELDS}


class _Stream(io.RawIOBase):
    """Takes bytes and cannot go back, so that zipfile writes sizes behind the members."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        """Keep the bytes."""
        self.data += piece
        return len(piece)


def fit_zips() -> list[bytes]:
    """Return zips that are taken: stored and deflated, whole and streamed, with and without zip64, comment, folders."""
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for wide in (False, True):
            for file in (io.BytesIO(), _Stream()):
                _write_zip(file, method, wide)
                made.append(file.getvalue() if isinstance(file, io.BytesIO) else bytes(file.data))
    return made


def fit_images() -> list[tuple[str, bytes]]:
    """Return tiny images of each kind that the reader of folders takes, as suffix and content."""
    draw = random.Random(0)
    colour = Image.frombytes("RGB", (16, 12), draw.randbytes(16 * 12 * 3))
    modes = {each: colour.convert(each) for each in ("L", "P", "1", "RGBA", "CMYK", "LA", "I;16")}
    modes["RGB"] = colour
    kinds: list[tuple[str, str, dict[str, object]]] = [
        *((".jpg", mode, {"format": "JPEG"}) for mode in ("RGB", "L", "CMYK")),
        (".jpg", "RGB", {"format": "JPEG", "progressive": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
        *((".png", mode, {"format": "PNG"}) for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "I;16")),
        (".png", "RGB", {"format": "PNG", "save_all": True, "append_images": [colour.rotate(90)]}),
        *((".webp", mode, {"format": "WEBP", "lossless": mode == "RGBA"}) for mode in ("RGB", "RGBA")),
        (".webp", "RGB", {"format": "WEBP", "save_all": True, "append_images": [colour.rotate(90)]}),
        *((".bmp", mode, {"format": "BMP"}) for mode in ("RGB", "P", "1", "RGBA")),
        *((".tif", "RGB", {"format": "TIFF", "compression": each}) for each in ("raw", "tiff_lzw", "packbits", "jpeg")),
        *((".tif", mode, {"format": "TIFF"}) for mode in ("1", "I;16", "CMYK")),
        (".tif", "1", {"format": "TIFF", "compression": "group4"}),
        (".ppm", "RGB", {"format": "PPM"}),
        (".pgm", "L", {"format": "PPM"}),
        (".gif", "P", {"format": "GIF"}),
    ]
    return [(suffix, _saved(modes[mode], options)) for suffix, mode, options in kinds]


def damaged(draw: random.Random, content: bytes, ways: Sequence[Mutate]) -> bytes:
    """Return the content with one to four damages."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        draw.choice(ways)(draw, data)
    return bytes(data)


def flip(draw: random.Random, data: bytearray) -> None:
    """Change single bits."""
    for _ in range(draw.choice((1, 1, 3, 20)) if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def cut(draw: random.Random, data: bytearray) -> None:
    """Take bytes away: at the end, or a piece in the middle."""
    start = draw.randrange(len(data) + 1)
    del data[start : draw.choice((len(data), start + draw.randrange(1, 40)))]


def put(draw: random.Random, data: bytearray) -> None:
    """Put bytes in: at the start, at the end or in the middle; random ones or a copy of some of its own."""
    at, own = draw.choice((0, len(data), draw.randrange(len(data) + 1))), draw.randrange(len(data) + 1)
    data[at:at] = draw.choice((draw.randbytes(draw.randrange(1, 30)), bytes(data[own : own + 60])))


def number(draw: random.Random, data: bytearray) -> None:
    """Write an extreme number anywhere, in one of four widths and both orders."""
    form = draw.choice("<>") + draw.choice("BHIQ")
    at = draw.randrange(len(data) + 1)
    if at + struct.calcsize(form) <= len(data):
        struct.pack_into(form, data, at, draw.choice(NUMBERS) & (256 ** struct.calcsize(form) - 1))


def field(draw: random.Random, data: bytearray) -> None:
    """Change one field of a zip: of a header, of an entry of the table of contents, or of the last record."""
    mark = draw.choice(list(FIELDS))
    places = _places(data, mark)
    if places:
        offset, form = draw.choice(FIELDS[mark])
        at, size = draw.choice(places) + offset, struct.calcsize(form)
        if at + size <= len(data):
            near = int.from_bytes(data[at : at + size], "little") + draw.choice((-1, 1, 2, 64))
            struct.pack_into(f"<{form}", data, at, draw.choice((near, *NUMBERS)) & (256**size - 1))


def swap(draw: random.Random, data: bytearray) -> None:
    """Let two entries of the table of contents change places, whole or from some field on."""
    places = _places(data, b"PK\1\2")
    if len(places) >= 2:
        first, second = draw.sample(places, 2)
        start = draw.choice((0, 0, 16, 28, 42))
        if max(first, second) + 55 <= len(data):
            piece = data[first + start : first + 55]
            data[first + start : first + 55] = data[second + start : second + 55]
            data[second + start : second + 55] = piece


def rename(draw: random.Random, data: bytearray) -> None:
    """Replace a name by another one or by a hostile one, in one or in both of its places."""
    name = draw.choice(NAMES).encode()
    other = draw.choice((*BAD_NAMES, *(each.encode() for each in NAMES)))
    data[:] = data.replace(name, other[: len(name)].ljust(len(name), b"x"), draw.choice((1, -1, -1)))


def resealed(png: bytes) -> bytes:
    """Return a PNG with fresh check sums, as far as its chunks can be followed: else most damages end there."""
    data, at = bytearray(png), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(data)


IMAGE_WAYS: tuple[Mutate, ...] = (flip, cut, put, number, number)
ZIP_WAYS: tuple[Mutate, ...] = (flip, cut, put, number, field, field, field, swap, rename)
ZIP_WAYS_IN_PLACE: tuple[Mutate, ...] = (flip, number, field, field, swap, rename)


def _write_zip(file: io.BytesIO | _Stream, method: int, wide: bool) -> None:
    with zipfile.ZipFile(file, "w", method) as archive:  # type: ignore[arg-type]
        if wide:
            archive.mkdir("dog")
            archive.comment = b"photos"
        for name in NAMES:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=wide) as member:
                member.write(b"pixels " * 9)


def _saved(image: Image.Image, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def _places(data: bytearray, mark: bytes) -> list[int]:
    places, at = [], data.find(mark)
    while at >= 0:
        places.append(at)
        at = data.find(mark, at + 1)
    return places
