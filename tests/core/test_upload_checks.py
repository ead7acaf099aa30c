"""Zips and tables from strangers: what is kept and under which name, limits, room, and what is forgotten."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from image_cases import draw_folder, shared, silent
from zip_cases import (
    CLASSES,
    FIT,
    LIMITS,
    content_of,
    entry_at,
    header_at,
    listing,
    patched,
    unpack,
    zip_of,
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

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

DAY = 86_400


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


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
    added = [
        "__MACOSX/pets/cat/1.png",
        "pets/fox/Thumbs.db",
        "pets/.DS_Store",
        "pets/cat/Thumbs.db",
        "pets/.git/a.png",
        "pets/cat/.x.png",
    ]
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
    record, offset = data.index(b"PK\6\6"), entry_at(data, "cat/2.png") + 46 + len("cat/2.png") + 4 + 16
    assert data[offset : offset + 8] == header_at(data, "cat/2.png").to_bytes(8, "little")
    for at, form, value in (
        (record, "<H", 0),  # its mark
        (record + 16, "<I", 1),  # the number of its part
        (record + 24, "<Q", 3),  # its members
        (record + 48, "<Q", 5),  # where the table begins
        (data.index(b"PK\6\7") + 8, "<Q", 5),  # where it begins itself
        (offset, "<Q", 2**64 - 1),  # where a member begins
    ):
        with pytest.raises(DataError, match="table of contents cannot be read"):
            unpack(patched(data, at, form, value))


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not installed")
def test_what_the_program_zip_makes_is_read(tmp_path: Path) -> None:
    draw_folder(tmp_path / "pets", {"red": 3, "green": 3})
    subprocess.run(["zip", "-qr", "pets.zip", "pets"], cwd=tmp_path, check=True)
    config = DataConfig("folder", path=str(unpack_images(tmp_path / "pets.zip", "pets.zip", LIMITS)))
    split = load(config, seed=0, image_size=16, channels=3, say=silent)
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
        with pytest.raises(DataError, match=r"'a\.csv' cannot be read, kept or removed: File too large"):
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
    with pytest.raises(DataError, match=r"'a\.zip' cannot be read, kept or removed: No such file"):
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
    assert limits_from_environment() == UploadLimits() == UploadLimits(200 << 20, 5 << 30, 200_000)
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
    if (variable, text) == ("MULTIRATE_UPLOAD_MB", "0"):  # that turns uploads off
        assert limits_from_environment().upload_bytes == 0
        return
    with pytest.raises(ConfigError, match=f"{variable} must be a whole number from [01] to 999999999, got '{text[:9]}"):
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


def test_of_two_servers_that_forget_at_once_neither_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, remove = unpack(FIT), uploads._remove
    os.utime(folder, (1, 1))

    def overtaken(path: Path) -> None:
        remove(path)
        remove(path)

    monkeypatch.setattr(uploads, "_remove", overtaken)
    assert forget_old_uploads(1) == 0 and not list(folder.parent.iterdir())


def test_uploads_used_again_are_not_forgotten() -> None:
    folder = unpack(FIT)
    os.utime(folder, (1, 1))
    unpack(FIT)
    assert forget_old_uploads(1) == 0 and folder.exists()
    with pytest.raises(ConfigError, match="keep_days must be ≥ 1, got 0"):
        forget_old_uploads(0)


def test_a_page_can_take_uploads_without_loading_torch_or_pillow() -> None:
    code = "import sys; import multirate_core.data.uploads; print(*{'torch', 'PIL', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
