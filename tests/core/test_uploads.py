"""Zips and tables from strangers: what is kept, and that every hostile zip leaves the data folder as it was."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import shutil
import stat
import subprocess
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from image_cases import draw_folder, shared, silent
from zip_cases import (
    CLASSES,
    content_of,
    entry_at,
    header_at,
    patched,
    renamed,
    with_mode,
    zip_of,
    zip_of_entries,
)

from multirate_core.config import DataConfig
from multirate_core.data import uploads
from multirate_core.data.folder_scan import list_folder
from multirate_core.data.registry import load
from multirate_core.data.uploads import (
    UploadLimits,
    forget_old_uploads,
    keep_table,
    limits_from_environment,
    unpack_images,
)
from multirate_core.errors import ConfigError, DataError
from multirate_core.home import subfolder

LIMITS = UploadLimits()
DAY = 86_400
FIT = zip_of(CLASSES)
BLANK = bytes(3 << 20)


def unpack(data: bytes, limits: UploadLimits = LIMITS, name: str = "pets.zip") -> Path:
    return unpack_images(io.BytesIO(data), name, limits)


def listing(folder: Path) -> dict[str, int]:
    """Every file and folder below a folder, with the time of its last change."""
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def data_folder(own_home: Path) -> Path:
    """The user's data folder with an upload of somebody else."""
    unpack(zip_of([f"other/{name}" for name in CLASSES]))
    (own_home / "races.sqlite3").write_bytes(b"races")
    return own_home


def test_the_images_of_class_folders_are_kept_byte_for_byte_under_the_check_sum_of_the_zip() -> None:
    folder = unpack(FIT, name="../My Pets (1).zip")
    assert names_below(folder) == set(CLASSES)
    assert all((folder / name).read_bytes() == content_of(name) for name in CLASSES)
    assert folder.parent == subfolder("data") / "uploads"
    assert folder.name.startswith("my-pets-1-") and len(folder.name) == len("my-pets-1-") + 16
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("above", ["", "photos/"])
def test_train_and_val_and_a_folder_around_them_are_understood(above: str) -> None:
    names = [f"{above}{part}/{name}" for part in ("train", "val") for name in CLASSES]
    found = list_folder(unpack(zip_of([above, *names] if above else names)))
    assert found.class_names == ("cat", "dog") and (len(found.train), len(found.test)) == (4, 4)


def test_what_systems_add_and_other_files_are_passed_over() -> None:
    added = ["__MACOSX/pets/cat/._1.png", "pets/.DS_Store", "pets/cat/Thumbs.db", "pets/.git/a.png", "pets/cat/.x.png"]
    others = ["pets/README.txt", "pets/preview.png", "pets/cat/1.xml", "notes.md"]
    folder = unpack(zip_of(["pets/", "pets/cat/", *(f"pets/{name}" for name in CLASSES), *added, *others]))
    assert names_below(folder) == set(CLASSES)


def test_folders_in_classes_and_names_in_any_letters_are_kept() -> None:
    names = ("кот/a/1.png", "кот/b/1.png", "犬/été.jpg", "犬/Screenshot at 3.01\u202fPM.PNG")
    assert names_below(unpack(zip_of(names))) == set(names)
    unmarked = zip_of(CLASSES).replace(b"cat/", b"c\xc3\xa9/")  # UTF-8 without its mark, as the Finder writes it
    assert "cé/1.png" in names_below(unpack(unmarked))
    dos = zip_of(CLASSES).replace(b"cat/", b"ca\x82/")
    assert "caé/1.png" in names_below(unpack(dos))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_that_were_streamed_or_are_in_zip64_or_have_a_comment_are_read(method: int) -> None:
    class Stream(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, piece: bytes) -> int:  # type: ignore[override]
            self.data += piece
            return len(piece)

    stream, whole = Stream(), io.BytesIO()
    for file, wide in ((stream, True), (whole, False)):
        with zipfile.ZipFile(file, "w", method) as archive:
            for name in CLASSES:
                with archive.open(name, "w", force_zip64=wide) as member:
                    member.write(content_of(name))
            archive.comment = b"from me"
    assert names_below(unpack(stream.data)) == names_below(unpack(whole.getvalue())) == set(CLASSES)


def test_a_table_of_contents_in_zip64_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    data = zip_of(CLASSES)
    assert b"PK\6\6" in data and b"PK\6\7" in data
    assert names_below(unpack(data)) == set(CLASSES)
    with pytest.raises(DataError, match="table of contents cannot be read"):
        unpack(patched(data, data.index(b"PK\6\6") + 48, "<Q", 5))


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not installed")
def test_what_the_program_zip_makes_is_read(tmp_path: Path) -> None:
    draw_folder(tmp_path / "pets", {"red": 3, "green": 3})
    subprocess.run(["zip", "-qr", "pets.zip", "pets"], cwd=tmp_path, check=True)
    split = load(
        DataConfig("folder", path=str(unpack_images(tmp_path / "pets.zip", "pets.zip", LIMITS))), 0, 16, 3, silent
    )
    assert split.class_names == ("green", "red") and len(split.train_images) == 4


@pytest.mark.slow
def test_a_real_zip_of_photos_is_read() -> None:
    found = list_folder(unpack_images(shared("data/flowers5_128.zip"), "flowers.zip", LIMITS))
    assert len(found.class_names) >= 2 and len(found.train) > 100


def test_the_same_content_gives_the_same_folder_without_unpacking_again() -> None:
    folder = unpack(FIT)
    os.utime(folder, (1, 1))
    before = listing(folder)
    assert unpack(FIT, name="another name.zip") == folder
    assert listing(folder) == before and folder.stat().st_mtime > time.time() - DAY
    assert unpack(zip_of(CLASSES, zipfile.ZIP_STORED)) != folder


def test_of_two_uploads_at_once_the_first_to_end_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    first, made = uploads._require_readable, []

    def overtaken(folder: Path, name: str) -> None:
        monkeypatch.setattr(uploads, "_require_readable", first)
        made.append(unpack(FIT))

    monkeypatch.setattr(uploads, "_require_readable", overtaken)
    assert [unpack(FIT)] == made == list((subfolder("data") / "uploads").iterdir())
    assert names_below(made[0]) == set(CLASSES)


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
    "a long path": ("/".join(["c" * 200] * 6), "has a name of 1,205 bytes, at most 1,024"),
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
    "an early end": (bent("dog/2.jpg", 0, b"\x03\x00"), "'dog/2.jpg' is damaged"),
    "a bomb": (
        zip_of({**dict.fromkeys(CLASSES, b"x"), "cat/b.png": BLANK}),
        r"'cat/b.png' is packed [\d,]+ : 1, at most",
    ),
    "a bomb of many": (zip_of({f"{n}{i}.png": BLANK[:600_000] for n in ("a/", "b/") for i in range(4)}), "is packed"),
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


def test_limits_of_size_and_number_are_kept_and_told(data_folder: Path) -> None:
    before = listing(data_folder)
    for limits, error in (
        (UploadLimits(upload_bytes=len(FIT) - 1), "has 0 MB, at most 0 MB are taken.*MULTIRATE_UPLOAD_MB"),
        (UploadLimits(unpacked_bytes=sum(len(content_of(name)) for name in CLASSES) - 1), "0 MB unpacked, at most 0"),
        (UploadLimits(files=3), "holds 4 members, at most 3 are allowed"),
    ):
        with pytest.raises(DataError, match=error):
            unpack(FIT, limits)
        assert listing(data_folder) == before
    assert unpack(FIT, UploadLimits(len(FIT), sum(len(content_of(name)) for name in CLASSES), 4))


def test_more_members_than_allowed_are_counted_before_any_is_read(data_folder: Path) -> None:
    record = b"PK\5\6" + bytes(4) + (65_000).to_bytes(2, "little") * 2 + bytes(4) + bytes(6)
    with pytest.raises(DataError, match="before or after"):
        unpack(b"x" + record)
    with pytest.raises(DataError, match="holds 65,000 members, at most 10 are allowed"):
        unpack(record, dataclasses.replace(LIMITS, files=10))


def test_a_member_that_is_empty_may_have_no_packed_bytes() -> None:
    data = zip_of({**{name: content_of(name) for name in CLASSES}, "cat/0.png": b""}, zipfile.ZIP_STORED)
    at, head = entry_at(data, "cat/0.png"), header_at(data, "cat/0.png")
    folder = unpack(patched(patched(data, at + 10, "<H", 8), head + 8, "<H", 8))
    assert (folder / "cat" / "0.png").read_bytes() == b""


def test_a_large_member_is_unpacked_in_pieces_and_checked() -> None:
    noise = random.Random(0).randbytes(1 << 20)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        folder = unpack(zip_of({**dict.fromkeys(CLASSES, b"x"), "cat/b.png": noise + bytes(5 << 20)}, method))
        assert zlib.crc32((folder / "cat" / "b.png").read_bytes()) == zlib.crc32(noise + bytes(5 << 20))


def test_a_full_disk_is_told_before_anything_is_written(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need = 2 * sum(len(content_of(name)) + 4096 for name in CLASSES)
    before = listing(data_folder)
    usage = shutil.disk_usage(data_folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need - 1))
    with pytest.raises(DataError, match=r"'pets\.zip' needs 0 MB of free disk on the server"):
        unpack(FIT)
    with pytest.raises(DataError, match=r"'a\.csv' needs 0 MB"):
        keep_table(io.BytesIO(bytes(need)), "a.csv", LIMITS)
    assert listing(data_folder) == before
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need))
    assert unpack(FIT)


def test_a_disk_that_refuses_to_write_leaves_nothing(data_folder: Path) -> None:
    resource = pytest.importorskip("resource")
    names, limits = names_below(data_folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DataError, match=r"the member 'cat/1\.png' cannot be written: File too large"):
            unpack(FIT)
        with pytest.raises(DataError, match=r"'a\.csv' cannot be read or kept: File too large"):
            keep_table(io.BytesIO(bytes(101)), "a.csv", LIMITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names_below(data_folder) == names


def test_an_interruption_leaves_nothing(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    names = names_below(data_folder)
    monkeypatch.setattr(uploads, "_require_readable", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unpack(FIT)
    assert names_below(data_folder) == names


def test_a_source_that_is_missing_or_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a\.zip' cannot be read or kept: No such file"):
        unpack_images(tmp_path / "a.zip", "a.zip", LIMITS)
    with pytest.raises(DataError, match="Is a directory"):
        unpack_images(tmp_path, "a.zip", LIMITS)


@pytest.mark.parametrize("suffix", [".csv", ".TSV", ".txt", ".jsonl", ".ndjson"])
def test_a_table_is_kept_as_it_is(suffix: str, tmp_path: Path) -> None:
    content = b"text,label\r\nhello,1\r\n"
    path = keep_table(io.BytesIO(content), f"C:\\me\\..\\Films {suffix}.{suffix}{suffix}", LIMITS)
    assert path.read_bytes() == content and path.suffix == suffix.lower()
    assert path.parent == subfolder("data") / "uploads" and path.name.startswith("films-")
    os.utime(path, (1, 1))
    (tmp_path / "again").write_bytes(content)
    assert keep_table(tmp_path / "again", f"again{suffix}", LIMITS) == path and path.stat().st_mtime > 1
    assert list(path.parent.iterdir()) == [path]


def test_the_same_content_under_two_suffixes_is_two_tables_and_never_a_folder() -> None:
    paths = {keep_table(io.BytesIO(FIT), f"a{suffix}", LIMITS) for suffix in (".csv", ".txt")} | {unpack(FIT)}
    assert len(paths) == 3 and len([path for path in paths if path.is_dir()]) == 1


def test_unfit_tables_are_refused(data_folder: Path) -> None:
    before = listing(data_folder)
    with pytest.raises(DataError, match=r"'a\.xlsx' is no text table; allowed suffixes: \.csv, "):
        keep_table(io.BytesIO(b"x"), "a.xlsx", LIMITS)
    with pytest.raises(DataError, match="is no text table"):
        keep_table(io.BytesIO(b"x"), "csv", LIMITS)
    with pytest.raises(DataError, match="has 0 MB, at most 0 MB"):
        keep_table(io.BytesIO(b"xxx"), "a.csv", UploadLimits(upload_bytes=2))
    assert listing(data_folder) == before


def test_a_name_without_latin_letters_still_gives_a_folder() -> None:
    assert unpack(FIT, name="котики.zip").name.startswith("upload-")
    assert len(unpack(zip_of([*CLASSES, "cat/3.png"]), name="x" * 500 + ".zip").name) == 40 + 1 + 16


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits_from_environment() == UploadLimits() == UploadLimits(1 << 30, 5 << 30, 200_000)
    monkeypatch.setenv("MULTIRATE_UPLOAD_MB", "3")
    monkeypatch.setenv("MULTIRATE_UNPACKED_MB", "7")
    monkeypatch.setenv("MULTIRATE_UPLOAD_FILES", "11")
    assert limits_from_environment() == UploadLimits(3 << 20, 7 << 20, 11)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "²", "٣", "9" * 5000])
@pytest.mark.parametrize("variable", ["MULTIRATE_UPLOAD_MB", "MULTIRATE_UNPACKED_MB", "MULTIRATE_UPLOAD_FILES"])
def test_limits_that_are_no_whole_number_are_refused_by_name(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=f"{variable} must be a whole number from 1 to 999999999, got '{text[:9]}"):
        limits_from_environment()


def test_old_uploads_are_forgotten_and_nothing_else(data_folder: Path) -> None:
    folder = data_folder / "data" / "uploads"
    old = [unpack(FIT), keep_table(io.BytesIO(b"x"), "a.csv", LIMITS)]
    (folder / ".unpacking-killed").mkdir()
    (folder / ".unpacking-killed" / "1.png").write_bytes(b"x")
    old.append(folder / ".unpacking-killed")
    kept = [unpack(zip_of([*CLASSES, "cat/3.png"]))]
    for name in ("mine.csv", "pets", "pets-0123456789abcdeg", "pets-0123456789abcdef.png", "Pets-0123456789abcdef"):
        (folder / name).write_bytes(b"x")
        kept.append(folder / name)
    outside = data_folder / "data" / "pets-0123456789abcdef"
    outside.mkdir()
    (folder / "link-0123456789abcdef").symlink_to(outside)
    kept += [outside, folder / "link-0123456789abcdef"]
    for path in [*old, *kept[1:-1]]:
        os.utime(path, (time.time() - 8 * DAY,) * 2)
    os.utime(kept[0], (time.time() - 6 * DAY,) * 2)
    os.utime(kept[-1], (1, 1), follow_symlinks=False)
    assert forget_old_uploads(9) == 0 and all(path.exists() for path in [*old, *kept])
    assert forget_old_uploads(7) == 3
    assert not any(path.exists() for path in old) and all(path.exists() for path in kept)
    assert not list(folder.glob(".unpacking-*"))
    assert forget_old_uploads(7) == 0


def test_uploads_used_again_are_not_forgotten() -> None:
    folder = unpack(FIT)
    os.utime(folder, (1, 1))
    unpack(FIT)
    assert forget_old_uploads(1) == 0 and folder.exists()
    with pytest.raises(ConfigError, match="keep_days must be ≥ 1, got 0"):
        forget_old_uploads(0)
