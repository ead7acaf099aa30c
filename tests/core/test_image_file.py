"""Images that the memory does not hold: decoded once into a file, mapped, and equal to those in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from image_cases import noise_image

from multirate_core.config import DataConfig
from multirate_core.data import room
from multirate_core.data.registry import DataSplit, load
from multirate_core.errors import DataError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, name in enumerate(("a/1", "a/2", "a/3", "b/1", "b/2", "b/3", "b/4")):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise_image(place).save(path)
    return tmp_path / "images"


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nearly all memory were taken."""
    monkeypatch.setattr("multirate_core.data.room.MEMORY_SHARE", 1e-12)


def read(folder: Path, said: list[str] | None = None, image_size: int = 16, **settings: Any) -> DataSplit:
    config = DataConfig("folder", path=str(folder), **settings)
    say = (said if said is not None else []).append
    return load(config, seed=0, image_size=image_size, channels=3, say=say)


def files(home: Path) -> list[str]:
    return sorted(path.suffix for path in (home / "data").iterdir())


def test_images_from_the_file_are_those_in_memory(
    folder: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = read(folder)
    monkeypatch.setattr("multirate_core.data.room.MEMORY_SHARE", 1e-12)
    mapped = read(folder)
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(here, part), getattr(mapped, part))
    assert "are read from a file: the memory does not hold them" in mapped.notes[-1]
    assert files(own_home) == [".bytes", ".json"] and here.notes == mapped.notes[:-1]


def test_the_file_is_used_again_until_an_image_or_the_size_changes(folder: Path, full: None, own_home: Path) -> None:
    first, said = read(folder), list[str]()
    again = read(folder, said)
    assert not said and torch.equal(first.train_images, again.train_images)
    read(folder, said, image_size=24)
    assert said
    noise_image(99).save(folder / "a" / "1.png")
    os.utime(folder / "a" / "1.png", (1, 1))
    changed = read(folder)
    own = torch.cat((first.train_images, first.test_images))
    assert not torch.equal(own, torch.cat((changed.train_images, changed.test_images)))
    assert files(own_home) == [".bytes"] * room.KEPT_FILES + [".json"] * room.KEPT_FILES


def test_unreadable_images_are_left_out_of_the_file(folder: Path, full: None, own_home: Path) -> None:
    (folder / "b" / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2\.png cannot be read"):
        read(folder)
    assert files(own_home) == []
    for _ in range(2):
        split = read(folder, bad_images="skip")
        assert len(split.train_images) + len(split.test_images) == 6
        assert len(split.train_images) == len(split.train_labels) and "b/2.png" in split.notes[-1]


def test_a_file_that_is_not_whole_is_written_again(folder: Path, full: None, own_home: Path) -> None:
    first = read(folder)
    (kept,) = (own_home / "data").glob("*.bytes")
    content = kept.read_bytes()
    kept.write_bytes(content[:-1])
    assert torch.equal(read(folder).train_images, first.train_images) and kept.read_bytes() == content
    kept.with_suffix(".json").write_text("[")
    assert torch.equal(read(folder).train_images, first.train_images)


def test_a_change_of_the_tensors_does_not_reach_the_file(folder: Path, full: None) -> None:
    first = read(folder)
    before = first.train_images.clone()
    first.train_images.zero_()
    assert torch.equal(read(folder).train_images, before)


def test_the_draft_of_a_process_that_was_killed_is_removed(folder: Path, full: None, own_home: Path) -> None:
    (own_home / "data").mkdir(parents=True)
    for process in (2**22 + 5, os.getppid()):  # beyond the largest number of a process, and one that lives
        (own_home / "data" / f"images-0.bytes.{process}.partial").write_bytes(b"rest")
    read(folder)
    assert [path.name for path in (own_home / "data").glob("*.partial")] == [f"images-0.bytes.{os.getppid()}.partial"]


def test_a_disk_without_room_is_told_before_anything_is_decoded(
    folder: Path, full: None, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SPARE", 1e12)  # as if the disk were full
    said: list[str] = []
    with pytest.raises(DataError, match=r"more than the memory holds, and the disk of .* GiB left"):
        read(folder, said)
    assert not said and files(own_home) == []
