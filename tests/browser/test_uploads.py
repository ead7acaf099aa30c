"""Data handed over in the browser: a zip of images, a table of texts; raced there, or refused in words."""

from __future__ import annotations

import random
import re
import zipfile
from pathlib import Path

import pytest
from app_steps import (
    PATIENCE_MS,
    button,
    choose,
    expect_raced,
    explore,
    field,
    press_race,
    stored,
    type_into,
    unfold,
    wait_curves,
    wait_result,
)
from image_cases import draw_folder
from playwright.sync_api import Page, expect
from servers import OpenPage, Server
from text_cases import save_checkpoint

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("free_device")]

PATH_FIELD = "Data folder on the server"


def zip_of(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as made:
        for file in sorted(folder.rglob("*.jpg")):
            made.write(file, file.relative_to(folder))
    return archive


def hand_over(page: Page, file: Path) -> None:
    """Choose a file in the browser's own dialog."""
    with page.expect_file_chooser() as dialog:
        page.get_by_test_id("stFileUploaderDropzone").locator("button").click()
    dialog.value.set_files(file)


def kept_as(app: Server, name: str) -> re.Pattern[str]:
    return re.compile(re.escape(str(app.home.resolve() / "data" / "uploads" / name)) + r"-[0-9a-f]{16}(\.csv)?")


def race(page: Page, app: Server, plain_arm: str = "sgd") -> None:
    expect(button(page, "Race")).to_be_enabled(timeout=PATIENCE_MS)
    race_id = press_race(page)
    wait_result(page)
    wait_curves(page, race=race_id)
    expect_raced(page, (plain_arm, "multirate"))
    assert stored(app.home, race_id).outcome == "finished", stored(app.home, race_id).message
    page.get_by_role("link", name="Runs").click()
    expect(page.locator("[data-testid=stDataFrame] td").filter(has_text=race_id)).to_have_count(1)


def test_a_zip_of_images_is_uploaded_and_raced(app: Server, open_page: OpenPage, tmp_path: Path) -> None:
    archive = zip_of(draw_folder(tmp_path / "photos", {"red": 24, "green": 24, "blue": 24}), tmp_path / "my photos.zip")
    page = explore(open_page, app.address, "e=10&bs=8&lr=0.003")
    choose(page, "Data", "Image folder")
    unfold(page, "More settings")
    hand_over(page, archive)
    expect(field(page, PATH_FIELD)).to_have_value(kept_as(app, "my-photos"), timeout=PATIENCE_MS)
    race(page, app)


def test_a_hostile_zip_is_refused_in_words_and_the_page_goes_on(
    app: Server, open_page: OpenPage, tmp_path: Path
) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("cat/1.png", b"x")
        made.writestr("../../outside.png", b"x")
    before = sorted(app.home.rglob("*"))
    page = explore(open_page, app.address)
    choose(page, "Data", "Image folder")
    unfold(page, "More settings")
    hand_over(page, archive)
    expect(page.get_by_text("../../outside.png")).to_be_visible(timeout=PATIENCE_MS)
    expect(field(page, PATH_FIELD)).to_have_value("")
    assert not [path for path in app.home.rglob("*") if path not in before and path.suffix in (".png", ".zip")]
    choose(page, "Data", "Handwritten digits")
    expect(button(page, "Race")).to_be_enabled(timeout=PATIENCE_MS)


def test_a_table_of_texts_is_uploaded_and_raced_with_a_local_text_network(
    app: Server, open_page: OpenPage, tmp_path: Path, folders: Path
) -> None:
    draw = random.Random(0)
    rows = [f"{draw.choice(['the', 'it'])} film was {('bad', 'good')[n % 2]},{('no', 'yes')[n % 2]}" for n in range(80)]
    table = tmp_path / "reviews.csv"
    table.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    source = save_checkpoint("distilbert", folders / "tiny distilbert")
    page = explore(open_page, app.address, "e=8&bs=8&base=adamw&lr=0.003")
    choose(page, "Model", "Another from Hugging Face")
    choose(page, "Data", "Table of texts")
    unfold(page, "More settings")
    type_into(page, "Folder or hub name", str(source))
    hand_over(page, table)
    expect(field(page, PATH_FIELD)).to_have_value(kept_as(app, "reviews"), timeout=PATIENCE_MS)
    expect(page.get_by_text("pre_classifier").first).to_be_visible(timeout=PATIENCE_MS)
    race(page, app, plain_arm="adamw")
