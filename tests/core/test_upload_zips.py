"""Zips from strangers: which of their members are kept, in which forms of a zip."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
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
    names_below,
    patched,
    unpack,
    zip_of,
)

from multirate_core.config import DataConfig
from multirate_core.data.folder_scan import list_folder
from multirate_core.data.registry import load
from multirate_core.data.uploads import (
    unpack_images,
)
from multirate_core.errors import DataError
from multirate_core.home import subfolder

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


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


def test_a_name_without_latin_letters_still_gives_a_folder() -> None:
    assert unpack(FIT, name="котики.zip").name.startswith("upload-")
    assert len(unpack(zip_of([*CLASSES, "cat/3.png"]), name="x" * 500 + ".zip").name) == 40 + 1 + 16
