"""Zips and tables from strangers: what is kept and under which name, and what is forgotten."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from zip_cases import (
    CLASSES,
    FIT,
    LIMITS,
    listing,
    names_below,
    unpack,
    zip_of,
)

from multirate_core.data import uploads
from multirate_core.data.uploads import (
    UploadLimits,
    forget_old_uploads,
    keep_table,
    unpack_images,
)
from multirate_core.errors import ConfigError, DataError
from multirate_core.home import subfolder

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

DAY = 86_400


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
