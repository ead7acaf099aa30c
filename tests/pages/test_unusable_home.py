"""Both pages when the user data folder or the store in it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from sessions import address, is_well, open_app, press, read, said


def broken_home(tmp_path: Path, how: str) -> Path:
    place = tmp_path / "broken"
    if how == "a file":
        place.write_text("")
        return place / "home"
    place.mkdir()
    if how == "a folder in the store's place":
        (place / "races.sqlite3").mkdir()
    elif how == "no store":
        (place / "races.sqlite3").write_text("hello " * 1000)
    else:
        (place / "trees").write_text("")
        (place / "data").write_text("")
    return place


@pytest.mark.parametrize("how", ["a file", "a folder in the store's place", "no store", "files for folders"])
def test_a_data_folder_that_cannot_be_used_is_said_and_nothing_crashes(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIRATE_HOME", str(broken_home(tmp_path, how)))
    for params in ({}, {"race": "abcdefghij", "d": "folder", "dp": "photos"}):
        session = open_app(**params)
        assert is_well(session)
        assert str(tmp_path) in said(session)
    assert is_well(open_app("pages/runs.py"))


@pytest.mark.parametrize("how", ["a folder in the store's place", "no store"])
def test_a_race_that_cannot_be_written_down_does_not_start_and_the_store_is_named(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIRATE_HOME", str(broken_home(tmp_path, how)))
    session = open_app()
    assert not session.warning
    press(session, "Race")
    assert is_well(session)
    assert any("races.sqlite3" in read(warning.value) for warning in session.warning)
    assert "race" not in address(session)
    assert "races.sqlite3" in said(open_app("pages/runs.py"))
