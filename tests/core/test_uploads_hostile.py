"""Every kind of zip that is refused: with the reason, and the data folder left exactly as it was."""

from __future__ import annotations

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from zip_cases import (
    CLASSES,
    FIT,
    content_of,
    entry_at,
    header_at,
    listing,
    patched,
    renamed,
    unpack,
    with_mode,
    zip_of,
    zip_of_entries,
)

from multirate_core.data import zip_images
from multirate_core.errors import DataError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

BLANK = bytes(3 << 20)


def flagged(bit: int) -> bytes:
    data = patched(FIT, entry_at(FIT, "cat/1.png") + 8, "<H", bit)
    return patched(data, header_at(data, "cat/1.png") + 6, "<H", bit)


def packed_by(method: int) -> bytes:
    data = patched(FIT, entry_at(FIT, "cat/1.png") + 10, "<H", method)
    return patched(data, header_at(data, "cat/1.png") + 8, "<H", method)


def declares(size: int, data: bytes = FIT) -> bytes:
    return patched(data, entry_at(data, "cat/1.png") + 24, "<I", size)


def overlapping() -> bytes:
    """Two entries of the table of contents that share the bytes of one member."""
    return patched(FIT, entry_at(FIT, "cat/2.png") + 42, "<I", 0).replace(b"cat/2.png", b"cat/1.png")


def nested_bytes() -> bytes:
    """A member whose packed bytes reach over the headers of the next one, as in the zip bombs of David Fifield."""
    stored = zip_of(CLASSES, zipfile.ZIP_STORED)
    length = len(content_of("cat/1.png")) + 60
    return patched(stored, entry_at(stored, "cat/1.png") + 20, "<2I", length, length)


def with_wrong_sum(method: int) -> bytes:
    data = zip_of(CLASSES, method)
    return patched(data, entry_at(data, "cat/1.png") + 16, "<I", 1)


def with_bytes_between() -> bytes:
    """Eight bytes after the first member that belong to none; all that points behind them is moved."""
    second, table = header_at(FIT, "cat/2.png"), FIT.index(b"PK\1\2")
    data = FIT[:second] + b"hidden!!" + FIT[second:]
    for name in CLASSES[1:]:
        data = patched(data, entry_at(data, name) + 42, "<I", header_at(FIT, name) + 8)
    return patched(data, len(data) - 6, "<I", table + 8)


def with_bytes_before() -> bytes:
    """Four bytes before the first member; all that points behind them is moved."""
    data = b"MZ.." + FIT
    for name in CLASSES:
        data = patched(data, entry_at(data, name) + 42, "<I", header_at(data, name))
    return patched(data, len(data) - 6, "<I", data.index(b"PK\1\2"))


def deflated(packed: bytes) -> bytes:
    """A zip with a member that says to be `content_of("cat/1.png")`, packed like this."""
    data, content = (
        zip_of({**dict.fromkeys(CLASSES, b"x"), "cat/1.png": packed}, zipfile.ZIP_STORED),
        content_of("cat/1.png"),
    )
    entry, header = entry_at(data, "cat/1.png"), header_at(data, "cat/1.png")
    data = patched(patched(data, entry + 10, "<H", 8), header + 8, "<H", 8)
    return patched(patched(data, entry + 16, "<I", zlib.crc32(content)), entry + 24, "<I", len(content))


def packed_content(end: int) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content_of("cat/1.png")) + packer.flush(end)


def without_name() -> bytes:
    """The letters of one name are declared to be an extra field."""
    data = patched(FIT, entry_at(FIT, "cat/1.png") + 28, "<2H", 0, len("cat/1.png"))
    return patched(data, header_at(data, "cat/1.png") + 26, "<2H", 0, len("cat/1.png"))


def bent(name: str, at: int, content: bytes) -> bytes:
    """The fit zip with some packed bytes of a member written over."""
    return patched(FIT, header_at(FIT, name) + 30 + len(name) + at, f"{len(content)}s", content)


WAYS_OUT = {
    "one folder up": ("../out.png", r"has the part '\.\.'"),
    "up in the middle": ("cat/../../out.png", r"has the part '\.\.'"),
    "up at the end": ("cat/..", r"has the part '\.\.'"),
    "absolute": ("/tmp/out.png", "has an absolute name"),
    "a drive": ("C:/out.png", "has a drive letter"),
    "a drive below": ("cat/c:out.png", "has a drive letter"),
    "a backslash": ("cat\\..\\out.png", "has a backslash"),
    "an empty part": ("cat//out.png", "has the part ''"),
    "a dot": ("cat/./out.png", r"has the part '\.'"),
    "dots and spaces": ("cat/.. /out.png", r"has the part '\.\. '"),
    "a line break": ("cat/out\n.png", "has a control character"),
    "a device": ("cat/nul.png", "keeps for a device"),
    "a device as a folder": ("Com1/out.png", "keeps for a device"),
    "a hidden way out": ("__MACOSX/../../out.png", r"has the part '\.\.'"),
    "a long name": (f"cat/{'é' * 130}.png", "has a name of 264 bytes; file systems take at most 255"),
    "a long path": ("/".join(["c" * 200] * 6), "has a name of 1,205 bytes, at most 512"),
    "deep": ("c/" * 17 + "1.png", "lies 17 folders deep; at most 16"),
}
SAME = {
    "twice": ("cat/1.png", "cat/1.png"),
    "in capitals": ("cat/1.png", "cat/1.PNG"),
    "a folder in capitals": ("cat/1.png", "Cat/7.png"),
    "an accent": (unicodedata.normalize("NFC", "cat/é.png"), unicodedata.normalize("NFD", "cat/é.png")),
    "a sharp s": ("cat/straße.png", "cat/STRASSE.png"),
    "a dot at the end": ("cat/7.png", "cat/7.png."),
    "a file and a folder": ("cat/7.png", "cat/7.png/1.png"),
}
HOSTILE: dict[str, tuple[Callable[[], bytes] | bytes, str]] = {
    **{why: (zip_of([*CLASSES, name]), error) for why, (name, error) in WAYS_OUT.items()},
    "no name": (without_name, "has the part ''"),
    "a null byte": (renamed(b"cat/1.png", b"cat/\x00.png"), "has a control character"),
    "a link": (with_mode("cat/link.png", stat.S_IFLNK | 0o777), "'cat/link.png' is a link or another special"),
    "a link as a folder": (with_mode("cat/", stat.S_IFLNK | 0o777), "is a link or another special"),
    "a device file": (with_mode("cat/d.png", stat.S_IFBLK | 0o600), "is a link or another special"),
    "a pipe": (with_mode("cat/d.png", stat.S_IFIFO | 0o600), "is a link or another special"),
    "a volume label": (patched(FIT, entry_at(FIT, "cat/1.png") + 38, "<I", 8), "is a link or another special"),
    "encrypted": (flagged(1), "'cat/1.png' is encrypted"),
    "strongly encrypted": (flagged(0x40), "is encrypted"),
    "encrypted in its own header": (patched(FIT, 6, "<H", 1), "header that differs"),
    "a patch": (flagged(0x20), "is packed by method"),
    "not UTF-8": (
        patched(FIT, entry_at(FIT, "cat/1.png") + 8, "<H", 0x800).replace(b"cat/1", b"ca\xff/1"),
        "not UTF-8",
    ),
    "bzip2": (zip_of(CLASSES, zipfile.ZIP_BZIP2), "is packed by method 12; allowed: 0"),
    "lzma": (zip_of(CLASSES, zipfile.ZIP_LZMA), "is packed by method 14"),
    "unknown packing": (packed_by(77), "is packed by method 77"),
    "a zip in it": (zip_of([*CLASSES, "cat/more.ZIP"]), "'cat/more.ZIP' is an archive itself"),
    "text": (b"hello" * 100, "is not a zip file"),
    "nothing": (b"", "is not a zip file"),
    "one byte": (b"P", "is not a zip file"),
    "bytes before": (b"MZ junk" + FIT, "has other bytes before"),
    "bytes before that nothing points to": (with_bytes_before, "has 4 bytes before its first member"),
    "bytes after": (FIT + b"junk", "is cut off, or other bytes follow"),
    "another zip after": (FIT + zip_of(["cat/9.png", "dog/9.png"]), "has other bytes before"),
    "bytes between": (with_bytes_between, "is followed by 8 bytes that belong to no member"),
    "a record that claims more": (patched(FIT, len(FIT) - 12, "<2H", 9, 9), "has other bytes before|is damaged"),
    "fewer members than listed": (patched(FIT, len(FIT) - 14, "<2H", 3, 3), "is damaged or cut off"),
    "more members than listed": (patched(FIT, len(FIT) - 14, "<2H", 5, 5), "is damaged or cut off"),
    "several parts": (patched(FIT, len(FIT) - 18, "<H", 1), "one of several parts"),
    "cut": (FIT[:-30], "is cut off"),
    "one member for two": (overlapping, "shares its bytes"),
    "one member around another": (nested_bytes, "shares its bytes"),
    "a header far away": (patched(FIT, entry_at(FIT, "cat/2.png") + 42, "<I", 0xFFFFFFF0), "is damaged or cut off"),
    "zip64 without its field": (declares(0xFFFFFFFF), "its sizes are missing"),
    "two names": (FIT.replace(b"cat/1.png", b"cat/7.png", 1), "header that differs from the table"),
    "more than declared": (declares(100), "holds more than the 100 bytes it declares"),
    "less than declared": (declares(5000), "its length or its check sum is wrong"),
    "stored with two sizes": (declares(7, zip_of(CLASSES, zipfile.ZIP_STORED)), "sizes that contradict"),
    "a folder with content": (zip_of_entries([(n, b"1") for n in ("a/", *CLASSES)], 0), "sizes that contradict"),
    "a wrong sum": (with_wrong_sum(zipfile.ZIP_DEFLATED), "its length or its check sum is wrong"),
    "a wrong sum, stored": (with_wrong_sum(zipfile.ZIP_STORED), "its length or its check sum is wrong"),
    "bent bytes": (bent("dog/2.jpg", 0, b"\xff" * 9), "'dog/2.jpg' is damaged"),
    "bytes after the packed form": (deflated(packed_content(zlib.Z_FINISH) + b"junk"), "'cat/1.png' is damaged"),
    "a packed form without end": (deflated(packed_content(zlib.Z_SYNC_FLUSH)), "'cat/1.png' is damaged"),
    "an early end": (bent("dog/2.jpg", 0, b"\x03\x00"), "'dog/2.jpg' is damaged"),
    "a bomb": (
        zip_of({**dict.fromkeys(CLASSES, b"x"), "cat/b.png": BLANK}),
        r"'cat/b.png' is packed [\d,]+ : 1, at most",
    ),
    "a bomb of many": (zip_of({f"{name}/1.png": BLANK[:600_000] for name in "abcd"}), r"'pets\.zip' is packed [\d,]+"),
    "no image": (zip_of(["cat/1.txt", "dog/1.gif"]), "holds no image; allowed suffixes"),
    "no member": (zip_of([]), "holds no image"),
    "one class": (zip_of(["cat/1.png", "cat/2.png"]), r"has 1 class folder\(s\) with images \(cat\)"),
    "one class in a folder": (zip_of(["pets/cat/1.png", "pets/2.png"]), r"has 1 class folder\(s\) with images \(cat\)"),
    "no class": (zip_of(["1.png", "2.png"]), r"has 0 class folder\(s\)"),
    "one class to train": (zip_of(["train/cat/1.png", *CLASSES]), r"has 1 class folder\(s\) with images \(cat\)"),
    "a class without images": (zip_of([*CLASSES, "fox/1.heic"]), "the class folder 'fox' holds no image"),
    "an empty class": (zip_of([*CLASSES, "fox/"]), "the class folder 'fox' holds no image"),
    "one image": (zip_of(["cat/1.png", "dog/1.png", "dog/2.png"]), r"'pets\.zip'/cat holds 1 image"),
    "other test classes": (
        zip_of([f"train/{name}" for name in CLASSES] + ["val/cat/1.png", "val/fox/1.png"]),
        r"'pets\.zip'/val and 'pets\.zip'/train have different classes",
    ),
}


@pytest.mark.parametrize("why", HOSTILE)
def test_a_hostile_zip_is_refused_with_the_reason_and_leaves_everything_as_it_was(
    why: str, data_folder: Path, tmp_path: Path
) -> None:
    data, error = HOSTILE[why]
    before = {path: listing(path) for path in (data_folder / "data" / "uploads", tmp_path)}
    with pytest.raises(DataError, match=error) as raised:
        unpack(data() if callable(data) else data)
    assert "pets.zip" in str(raised.value) and "unpacking" not in str(raised.value)
    uploads_folder = data_folder / "data" / "uploads"
    after = {path: listing(path) for path in before}
    assert after[uploads_folder] == before[uploads_folder]
    assert after[tmp_path].keys() == before[tmp_path].keys()


@pytest.mark.parametrize("why", SAME)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_one_file_on_some_systems_are_refused(why: str, data_folder: Path) -> None:
    before = listing(data_folder)
    with pytest.raises(DataError, match="has the same name as"):
        unpack(zip_of_entries([(name, b"x") for name in (*CLASSES[2:], *SAME[why])]))
    assert listing(data_folder) == before


def test_more_folders_than_any_data_set_has_are_refused(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_images, "_MOST_FOLDERS", 2)
    before = listing(data_folder)
    with pytest.raises(DataError, match=r"'pets\.zip' holds 3 folders, at most 2 are allowed"):
        unpack(zip_of([*CLASSES, "cat/more/3.png"]))
    assert listing(data_folder) == before
    assert unpack(FIT)


def test_the_packed_form_that_is_damaged_in_these_tests_is_fit_by_itself() -> None:
    folder = unpack(deflated(packed_content(zlib.Z_FINISH)))
    assert (folder / "cat" / "1.png").read_bytes() == content_of("cat/1.png")
