"""Paths typed in the browser reach only the folders that the server's owner allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from multirate_core.data.paths import allowed_folders, require_allowed
from multirate_core.errors import ConfigError


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        (folder / "inside").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    monkeypatch.setenv("MULTIRATE_DATA_FOLDERS", os.pathsep.join(map(str, folders)))
    return folders[0]


def test_without_a_setting_the_data_folder_and_the_shared_folder_are_allowed(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MULTIRATE_DATA_FOLDERS", raising=False)
    monkeypatch.delenv("MULTIRATE_SHARED", raising=False)
    assert allowed_folders() == ((own_home / "data").resolve(),)
    monkeypatch.setenv("MULTIRATE_SHARED", str(tmp_path))
    assert allowed_folders() == ((own_home / "data").resolve(), tmp_path.resolve())


def test_folders_inside_are_reached_directly_and_relatively(allowed: Path) -> None:
    for typed in (allowed, allowed / "inside", allowed.parent / "two" / "inside", allowed / "inside" / ".." / "new"):
        assert require_allowed(typed) == typed.resolve()
    assert require_allowed("inside") == (allowed / "inside").resolve()


@pytest.mark.parametrize("typed", ["../secret", "inside/../../secret", "/etc/passwd", "/", "~", "..", "../one_more"])
def test_ways_out_are_refused_and_the_variable_is_named(allowed: Path, typed: str) -> None:
    with pytest.raises(ConfigError, match=r"outside the folders .*one, .*two.*MULTIRATE_DATA_FOLDERS"):
        require_allowed(typed)


def test_a_folder_whose_name_only_begins_alike_is_outside(allowed: Path) -> None:
    (allowed.parent / "one_more").mkdir()
    with pytest.raises(ConfigError, match="outside"):
        require_allowed(allowed.parent / "one_more")


def test_a_link_out_of_an_allowed_folder_is_refused(allowed: Path) -> None:
    (allowed / "door").symlink_to(allowed.parent / "secret")
    with pytest.raises(ConfigError, match="outside"):
        require_allowed(allowed / "door")
    with pytest.raises(ConfigError, match="outside"):
        require_allowed("door/deeper")


@pytest.mark.parametrize("typed", ["a\0b", "~nobody_has_this_name/x"])
def test_paths_that_cannot_be_followed_are_refused(allowed: Path, typed: str) -> None:
    with pytest.raises(ConfigError):
        require_allowed(typed)


def test_a_circle_of_links_is_refused(allowed: Path) -> None:
    (allowed / "a").symlink_to(allowed / "b")
    (allowed / "b").symlink_to(allowed / "a")
    with pytest.raises(ConfigError):
        require_allowed("a")


def test_an_empty_setting_allows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_DATA_FOLDERS", "")
    with pytest.raises(ConfigError, match="none"):
        require_allowed("anything")


def test_an_endless_path_is_cut_in_the_message(allowed: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        require_allowed("/" + "x" * 100_000)
    assert len(str(caught.value)) < 1000


def test_what_was_uploaded_may_be_read_whatever_folders_the_owner_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MULTIRATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MULTIRATE_DATA_FOLDERS", "")
    kept = tmp_path / "home" / "data" / "uploads" / "pets-0123456789abcdef"
    kept.mkdir(parents=True)
    assert require_allowed(kept) == kept.resolve()
    for outside in (kept.parents[1], kept / ".." / ".." / "other"):
        with pytest.raises(ConfigError, match="outside the folders"):
            require_allowed(outside)
