"""Real weights and real pictures, chosen on the page by typing and raced there."""

from __future__ import annotations

import pytest
from app_steps import (
    PATIENCE_MS,
    button,
    choose,
    expect_raced,
    explore,
    press_race,
    stored,
    type_into,
    unfold,
    wait_curves,
    wait_result,
)
from board_rows import FAST, SLOW, drag, pane, row
from image_cases import shared
from playwright.sync_api import Page, expect
from servers import OpenPage, Server

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("free_device")]


def race_to_the_end(page: Page, app: Server, note: str) -> None:
    """Race, and find the result, this note about the weights, and a row on the Runs page."""
    expect(button(page, "Race")).to_be_enabled(timeout=PATIENCE_MS)
    race = press_race(page)
    wait_result(page)
    wait_curves(page, race=race)
    expect_raced(page)
    assert stored(app.home, race).outcome == "finished", stored(app.home, race).message
    expect(unfold(page, "Where the time went").get_by_text(note)).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    expect(page.locator("[data-testid=stDataFrame] td").filter(has_text=race)).to_have_count(1)


def test_squeezenet_with_weights_from_a_file_is_raced_on_a_folder_of_photos(app: Server, open_page: OpenPage) -> None:
    weights, photos = shared("weights/squeezenet1_1-ncnn-2742afef.pth"), shared("data/hymenoptera_data")
    page = explore(open_page, app.address)
    choose(page, "Model", "SqueezeNet 1.1")
    choose(page, "Data", "Image folder")
    unfold(page, "More settings")
    page.get_by_role("radio", name="From a file").click()
    type_into(page, "Weights file on the server", str(weights))
    type_into(page, "Data folder on the server", str(photos))
    type_into(page, "Image edge in pixels (0: the data's own)", "64")
    type_into(page, "Training samples (0: all)", "64")
    type_into(page, "Batch size", "8")
    type_into(page, "Epochs", "2")
    expect(row(page, FAST, "classifier")).to_be_visible(timeout=PATIENCE_MS)
    race_to_the_end(page, app, f"Weights from the file {weights.name}.")


def test_a_resnet_from_scratch_is_raced_on_fashion_mnist(app: Server, open_page: OpenPage) -> None:
    path = shared("data")
    query = f"m=resnet18&w=none&d=fashion_mnist&dp={path}&px=8&nt=128&bs=32&e=1"
    page = explore(open_page, app.address, query)
    drag(page, row(page, SLOW, "layer4"), pane(page, FAST))
    expect(row(page, FAST, "layer4")).to_be_visible()
    race_to_the_end(page, app, "The weights are random.")
