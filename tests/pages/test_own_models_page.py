"""Networks that are code on the page: those that the server's owner lists can be chosen, and nobody can name others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from plot_races import config
from sessions import address, board, button, is_well, open_app, record, said

from multirate_core.config import ModelConfig
from multirate_core.layers import describe
from multirate_core.models.own_sources import VARIABLE
from pages.components.settings import Settings, from_race, model_config
from pages.components.state import field_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

NET = """
from torch import nn

def build(num_classes, in_channels):
    open({marker!r}, "w").close()
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 32 * 32, num_classes))
"""


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Where the code leaves a file when it runs."""
    return tmp_path / "ran"


@pytest.fixture
def net(tmp_path: Path, ran: Path) -> Path:
    file = tmp_path / "my_net.py"
    file.write_text(NET.format(marker=str(ran)), encoding="utf-8")
    return file


@pytest.fixture
def listed(net: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network of the name "mine" that the server's owner lists; its tree is there, else the page starts a process."""
    source = f"{net}:build"
    monkeypatch.setenv(VARIABLE, f"mine={source}")
    words = {"model": "own", "num_classes": 10, "input_shape": (1, 32, 32), "source": source}
    assert describe.main([json.dumps(words)]) == 0
    return source


def test_a_listed_network_is_in_the_picker_and_its_board_and_race_are_those_of_its_code(listed: str) -> None:
    session = open_app()
    picker = session.selectbox(key=field_key("model"))
    assert "mine" in picker.options and "own" not in picker.options and "Your own" not in picker.options
    picker.set_value("mine").run()
    assert is_well(session) and not session.error
    assert [row["id"] for row in board(session)["rows"] if row["unit"]] == ["1.weight", "1.bias"]
    assert not button(session, "Race").disabled
    assert address(session)["m"] == ["mine"] and listed not in str(address(session))
    raced = model_config(Settings(model="mine"))
    assert raced == ModelConfig("own", "pretrained", listed)
    assert from_race(replace(config(), model=raced)).model == "mine"


@pytest.mark.parametrize("model", ["own", "mine", "timm", "hugging_face", "glyph_net", "{source}"])
def test_a_link_cannot_name_code(model: str, net: Path, ran: Path, own_home: Path) -> None:
    source = f"{net}:build"
    session = open_app(m=model.format(source=source), src=source)
    assert is_well(session)
    if model == "hugging_face":
        assert "is outside the folders" in said(session)  # and no process looks at it
        assert not list((own_home / "trees").glob("*"))
    elif model == "timm":  # the answer of the process that makes the tree
        request = {"model": model, "num_classes": 10, "input_shape": (3, 0, 0), "source": source}
        assert describe.main([json.dumps(request)]) == 2
    else:
        assert session.selectbox(key=field_key("model")).value == "glyph_net"
    if model == "own":
        assert "a link cannot name code to run" in said(session) and VARIABLE in said(session)
    assert not ran.exists()


def test_a_source_beside_a_listed_network_is_not_used(listed: str, net: Path, ran: Path) -> None:
    ran.unlink()
    other = net.with_name("other.py")
    other.write_text(net.read_text(encoding="utf-8"), encoding="utf-8")
    session = open_app(m="mine", src=f"{other}:build")
    assert is_well(session) and not session.error
    assert model_config(Settings(model="mine", source=f"{other}:build")).source == listed
    assert not ran.exists()


def test_a_race_of_code_that_is_not_listed_shows_its_curves_only(net: Path) -> None:
    race = record(replace(config(), model=ModelConfig("own", source=f"{net}:build")))
    session = open_app(race=race)
    assert is_well(session)
    assert "not listed in MULTIRATE_MODELS: only the race's curves are shown" in said(session)
    assert session.selectbox(key=field_key("model")).value == "glyph_net"


def test_a_race_of_a_listed_network_restores_the_page(listed: str) -> None:
    race = record(replace(config(), model=ModelConfig("own", source=listed)))
    session = open_app(race=race)
    assert is_well(session)
    assert session.selectbox(key=field_key("model")).value == "mine"


def test_a_list_that_cannot_be_read_is_said_in_the_place_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "glyph_net=x.py:f")
    session = open_app()
    assert is_well(session)
    assert "MULTIRATE_MODELS is a list" in said(session)
    assert not session.button


def test_a_name_in_timm_is_typed_and_stands_in_the_address() -> None:
    session = open_app(m="timm", src="resnet18.a1_in1k")
    assert is_well(session)
    assert session.text_input(key=field_key("source")).value == "resnet18.a1_in1k"
    assert address(session)["src"] == ["resnet18.a1_in1k"]
    session.selectbox(key=field_key("model")).set_value("glyph_net").run()
    assert is_well(session) and "src" not in address(session)
