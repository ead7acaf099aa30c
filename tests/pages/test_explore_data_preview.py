"""The Explore page: a look at the data, and the metric that a race is judged by."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from image_cases import draw_folder
from plot_races import config
from sessions import address, button, is_well, open_app, press, read, record, reopened, said
from streamlit.testing.v1 import AppTest

from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data import preview
from multirate_core.data.preview import PreviewRequest
from pages.components.state import field_key

GLYPHS = ModelConfig()
MARKUP = "<b>x</b>"
FOLDER_MARKUP = "<b>*x*<br>"  # a folder's name has no slash


def allowed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    monkeypatch.setenv("MULTIRATE_DATA_FOLDERS", str(folder))
    return folder


def ready(session: AppTest) -> PreviewRequest:
    """Wait for what the dialog waits for, and draw the page again, as its timer does."""
    request: PreviewRequest = session.session_state.looking
    assert isinstance(request, PreviewRequest)
    deadline = time.monotonic() + 120
    while preview.read(request) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    session.run()
    return request


def look(session: AppTest, data: DataConfig, model: ModelConfig = GLYPHS) -> AppTest:
    """Open the dialog on a preview that was made before, else the page would start a process."""
    request = preview.request_of(data, model)
    assert preview.main([json.dumps(asdict(request))]) == 0
    press(session, "Look at the data")
    assert session.session_state.looking == request and "Reading the data" not in said(session)
    return session


def texts(session: AppTest) -> str:
    return read(" ".join(each.value for each in [*session.markdown, *session.caption]))


@pytest.mark.slow
def test_a_look_at_the_digits_shows_counts_pictures_and_no_problem() -> None:
    session = press(open_app(), "Look at the data")
    assert is_well(session) and "Reading the data" in said(session)
    assert ready(session) == preview.request_of(DataConfig("digits", train_images=300), ModelConfig())
    assert is_well(session)
    assert "Handwritten digits · 300 training and 600 test images in 10 classes" in texts(session).replace("**", "")
    assert "No duplicates among 300 training and 600 test images" in texts(session)
    assert len(session.get("image")[0].proto.imgs) == 12
    assert "Reading the data" not in said(session)


@pytest.mark.slow
def test_a_look_at_a_folder_names_its_problems_and_shows_labels_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw_folder(allowed(monkeypatch, tmp_path) / "pictures", {FOLDER_MARKUP: 4, "red": 60})
    (folder / "red" / "000.jpg").write_bytes(b"broken")
    session = look(open_app(d="folder", dp=str(folder)), DataConfig("folder", path=str(folder), train_images=300))
    assert "1 of 64 images cannot be read: red/000.jpg" in said(session)
    assert f"red has 48 training samples, {FOLDER_MARKUP} 3" in said(session)
    captions = [image.caption for image in session.get("image")[0].proto.imgs]
    assert FOLDER_MARKUP not in captions and FOLDER_MARKUP in map(read, captions)


@pytest.mark.slow
def test_a_look_at_a_table_shows_texts_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f'"{MARKUP} *number* {n}",{(MARKUP, "b")[n % 2]}' for n in range(12)]
    path = allowed(monkeypatch, tmp_path) / "a.csv"
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    session = open_app(m="distilbert", d="table", dp=str(path))
    look(session, DataConfig("table", path=str(path), train_images=300), ModelConfig("distilbert"))
    shown = [str(text) for text in session.table[0].value["Text"]]
    assert len(shown) == 10 and all(MARKUP not in text and MARKUP in read(text) for text in shown)
    assert {read(str(label)) for label in session.table[0].value["Class"]} == {MARKUP, "b"}
    assert "Words of 12 texts: the median is 3" in texts(session)


def test_a_path_that_is_not_allowed_is_refused_in_the_dialog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed(monkeypatch, tmp_path / "mine")
    session = press(open_app(d="folder", dp="/etc"), "Look at the data")
    assert is_well(session)
    assert said(session).count("outside the folders that this server may read") == 2  # beside the board, and here
    assert isinstance(session.session_state.looking, str)


def test_the_metric_stands_folded_in_the_settings_and_in_the_link() -> None:
    session = open_app()
    assert "met" not in address(session)
    session.selectbox(key=field_key("metric")).set_value("mcc").run()
    assert is_well(session) and address(session)["met"] == ["mcc"]
    assert reopened(session).selectbox(key=field_key("metric")).value == "mcc"
    wrong = open_app(met="f2")
    assert "The link's “met” was left out" in said(wrong)
    assert wrong.selectbox(key=field_key("metric")).value == "accuracy"


def test_an_ended_race_is_shown_by_its_metric_and_the_runs_page_names_it() -> None:
    by_accuracy = record(config())
    session = open_app("pages/runs.py")
    assert "Judged by" not in session.dataframe[0].value.columns
    race = record(replace(config(), metric="balanced_accuracy"))
    session = open_app("pages/runs.py")
    judged = dict(zip(session.dataframe[0].value["Race"], session.dataframe[0].value["Judged by"], strict=True))
    judged = {name: words.replace("\N{NO-BREAK SPACE}", " ") for name, words in judged.items()}
    assert judged == {by_accuracy: "", race: "balanced accuracy: 55.1 % plain, 55.1 % multirate"}
    shown = open_app(race=race)
    assert is_well(shown) and shown.selectbox(key=field_key("metric")).value == "balanced_accuracy"
    assert "How long to reach a given balanced accuracy?" in texts(shown)
    assert button(shown, "Race")
