"""Data from Hugging Face on the Explore page: read by another process, while the page waits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sessions import button, is_well, open_app, said
from streamlit.testing.v1 import AppTest

from multirate_core.data.paths import VARIABLE

FIELD = "in the field “Folder or hub name of the data”"
SAVE = """
import sys
from datasets import ClassLabel, Dataset, Features, Value
kinds = Features(text=Value("string"), label=ClassLabel(names=["bad", "good", "so so"]))
rows = {"text": [f"film number {i}" for i in range(30)], "label": [i % 3 for i in range(30)]}
Dataset.from_dict(rows, features=kinds).save_to_disk(sys.argv[1])
"""


def settled(session: AppTest) -> AppTest:
    """Run the page again until it no longer waits, as its timer does."""
    end = time.monotonic() + 120
    while "Reading the" in said(session) and time.monotonic() < end:
        time.sleep(0.2)
        session.run()
    return session


def test_hub_data_need_a_name_and_the_page_says_where_it_is_typed() -> None:
    session = open_app(d="hub")
    assert is_well(session)
    assert "needs a path: a folder, or a name on the hub as owner/name" in said(session) and FIELD in said(session)


@pytest.mark.parametrize("path", ["../other/set", "/etc/set"])
def test_a_folder_of_a_data_set_must_be_allowed(path: str) -> None:
    session = open_app(d="hub", dp=path)
    assert "is outside the folders that this server may read" in said(session) and FIELD in said(session)
    assert button(session, "Race").disabled


@pytest.mark.slow
def test_a_saved_data_set_gives_the_network_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    subprocess.run([sys.executable, "-c", SAVE, str(tmp_path / "films")], check=True, capture_output=True)
    session = open_app(m="doc_net", d="hub", dp="films")
    assert "Reading the data, then the layers of this network" in said(session)
    settled(session)
    assert is_well(session) and not session.error
    assert not button(session, "Race").disabled


@pytest.mark.slow
def test_a_name_that_cannot_be_had_is_said_and_the_board_is_there_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    asked = open_app(d="hub", dp="someone/nothing")
    assert "someone/nothing would have to be downloaded from the hub. Allow it" in said(asked)
    session = settled(open_app(d="hub", dp="someone/nothing", dl="1"))
    assert "someone/nothing cannot be had: the hub cannot be reached" in said(session) and FIELD in said(session)
    assert is_well(session) and button(session, "Race").disabled
