"""The cost meter in the browser: measured for real, then asked at drops and at changes of k."""

from __future__ import annotations

import pytest
from app_steps import PATIENCE_MS, button, explore, settled, type_into, wait_link
from board_rows import FAST, SLOW, drag, pane, row
from playwright.sync_api import Locator, Page, expect
from servers import OpenPage, Server

pytestmark = pytest.mark.browser


def cell(page: Page, place: int) -> Locator:
    return page.locator(".meter .figures b").nth(place)


def speed_up(page: Page) -> float:
    settled(page)
    return float(cell(page, 0).inner_text().removesuffix("×"))


def test_a_measured_network_tells_at_every_drop_what_the_partition_costs(
    app: Server, free_device: None, open_page: OpenPage
) -> None:
    page = explore(open_page, app.address)
    words = page.locator(".reach-words")
    expect(words).to_contain_text("gradients cross 1 of 19 layers, back to fc")  # known before anything is measured
    button(page, "Measure the costs").click()
    expect(page.get_by_role("progressbar").first).to_be_visible()
    expect(cell(page, 0)).to_contain_text("×", timeout=PATIENCE_MS)
    head_only = speed_up(page)
    assert head_only > 1.2
    expect(page.locator(".meter .mark")).to_have_attribute("data-k", "5")

    before = wait_link(page, "p")
    row(page, SLOW, "stem").locator(".twist").click()
    if not row(page, SLOW, "stem.0").count():
        row(page, SLOW, "stem").locator(".twist").click()
    drag(page, row(page, SLOW, "stem.0"), pane(page, FAST))
    expect(words).to_contain_text("gradients cross 19 of 19 layers, back to stem.0")
    wait_link(page, "p", other_than=before)
    warning = page.locator(".st-key-pull-back-place")
    expect(warning).to_contain_text("stem.0 is fast: on fast steps gradients cross 19 of 19 layers instead of 1")
    assert speed_up(page) < head_only

    button(page, "Move stem.0 to slow").click()
    expect(words).to_contain_text("gradients cross 1 of 19 layers, back to fc")
    expect(warning).to_contain_text("No single layer sends gradients far back.")
    wait_link(page, "p", value=before)
    assert speed_up(page) == head_only

    type_into(page, "k", "20")
    expect(page.locator(".meter .mark")).to_have_attribute("data-k", "20")
    assert speed_up(page) > head_only

    again = explore(open_page, app.address)  # a second tab finds it measured
    expect(cell(again, 0)).to_contain_text("×")
