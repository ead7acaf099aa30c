"""Uploads that are too large, too many or find no room: what is told, and that nothing is left."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from zip_cases import (
    CLASSES,
    FIT,
    LIMITS,
    content_of,
    listing,
    names_below,
    unpack,
)

from multirate_core.data import uploads
from multirate_core.data.uploads import (
    UploadLimits,
    keep_table,
    limits_from_environment,
)
from multirate_core.errors import ConfigError, DataError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


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
