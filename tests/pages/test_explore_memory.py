"""The Explore page: what it says about memory before a race."""

from __future__ import annotations

from pathlib import Path

import pytest
from sessions import button, is_well, open_app, press, race_count, read, said
from streamlit.testing.v1 import AppTest

from multirate_core import machine
from pages.components.state import field_key

LINE = "About 0.4 GB, "


def limited_to(folder: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the server ran in a container with so many bytes of memory."""
    folder.mkdir(exist_ok=True)
    for name, text in (("memory.max", str(limit)), ("memory.current", "0")):
        (folder / name).write_text(text, encoding="ascii")
    monkeypatch.setattr(machine, "CGROUP", folder)


def memory_lines(session: AppTest) -> list[str]:
    return [line for line in (read(each.value) for each in session.caption) if line.startswith("About ")]


def test_a_race_that_fits_has_a_quiet_line_at_its_button() -> None:
    session = open_app()
    (line,) = memory_lines(session)
    assert is_well(session) and line.startswith(LINE) and line.endswith("GB free")
    assert not button(session, "Race").disabled and "memory" not in said(session)


def test_a_race_that_needs_more_is_warned_of_with_a_batch_that_fits_and_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited_to(tmp_path / "group", 600_000_000, monkeypatch)
    session = open_app()
    assert "This race needs" not in said(session)
    session.number_input(key=field_key("train_images")).set_value(1400)
    session.number_input(key=field_key("batch_size")).set_value(1400).run()
    warning = next(line for line in said(session).splitlines() if line.startswith("This race needs about"))
    assert "for activations at batch size" in warning and "0.6 GB free" in warning
    fits = int(warning.partition("A batch size of ")[2].partition(" would")[0].replace(",", ""))
    session.number_input(key=field_key("batch_size")).set_value(fits).run()
    assert "This race needs" not in said(session)
    session.number_input(key=field_key("batch_size")).set_value(1400).run()
    session.selectbox(key=field_key("device")).set_value("cpu")
    assert race_count() == 0 and not button(session, "Race").disabled
    assert is_well(press(session, "Race")) and race_count() == 1
    press(session, "Stop")


def test_a_race_whose_weights_alone_are_too_large_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited_to(tmp_path / "group", 100_000, monkeypatch)
    session = open_app()
    assert "the weights and the optimiser state of 2 arms need" in said(session)
    assert button(session, "Race").disabled
