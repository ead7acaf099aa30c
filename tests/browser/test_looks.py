"""Both pages for everybody: accessibility in light and dark, narrow screens, no error on the way."""

from __future__ import annotations

import pytest
from app_steps import explore, field, is_too_wide, settled, wait_curves, wait_result
from finger import PHONE
from playwright.sync_api import Page, expect
from servers import Archive, OpenPage
from test_runs import mark, table

pytestmark = pytest.mark.browser


# Streamlit's own: its file uploader has a role and a label that do not go together.
NOT_OURS = {"exclude": [["[data-testid=stFileUploaderDropzone]"]]}


def violations(page: Page) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[dev]'")
    found = axe.Axe().run(page, context=NOT_OURS).response["violations"]
    return [f"{rule['id']}: {node['target']} {node['html'][:200]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_both_pages(archive: Archive, open_page: OpenPage, scheme: str) -> None:
    page = explore(open_page, archive.server.address, color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    for summary in page.locator("[data-testid=stExpander] summary").all():
        summary.click()
    settled(page)
    assert violations(page) == []
    page.get_by_role("button", name="Rates").click()
    expect(field(page, "Schedule for k of slow")).to_be_visible()
    settled(page)
    # Streamlit puts every popover beside the page's landmarks.
    assert [found for found in violations(page) if "data-floating-ui-portal" not in found] == []
    ended = explore(open_page, archive.server.address, f"race={archive.new}", color_scheme=scheme)
    wait_result(ended)
    wait_curves(ended)
    assert violations(ended) == []
    runs = open_page(f"{archive.server.address}/runs", color_scheme=scheme)
    expect(table(runs).locator("td").first).to_be_attached()
    mark(runs, 0)
    wait_curves(runs)
    assert violations(runs) == []


@pytest.mark.parametrize("width", [390, 641, 768, 900, 1200, 1201, 1280])
def test_both_units_of_the_budget_can_be_read(archive: Archive, open_page: OpenPage, width: int) -> None:
    page = explore(open_page, archive.server.address, width=width)
    assert not is_too_wide(page)
    switch = page.locator(".st-key-in-budget")
    expect(switch.locator("button")).to_have_text(["epochs", "seconds"])
    cut = switch.locator("button, button *").evaluate_all(
        "(parts) => parts.filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.outerHTML)"
    )
    assert cut == []
    room, last = switch.bounding_box(), switch.locator("button").last.bounding_box()
    assert room is not None and last is not None
    assert last["x"] + last["width"] <= room["x"] + room["width"] + 0.5


def test_nothing_is_wider_than_a_phone(archive: Archive, open_page: OpenPage) -> None:
    ended = explore(open_page, archive.server.address, f"race={archive.new}", **PHONE)
    wait_result(ended)
    wait_curves(ended)
    for summary in ended.locator("[data-testid=stExpander] summary").all():
        summary.tap()
    runs = open_page(f"{archive.server.address}/runs", **PHONE)
    expect(table(runs).locator("td").first).to_be_attached()
    for page in (ended, runs):
        assert not is_too_wide(page)
        outside = page.evaluate(
            """() => [...document.querySelectorAll("button, input, h4, p, .pane, .mr-plot-chart")]
              .filter((part) => part.getClientRects().length && part.getBoundingClientRect().right > innerWidth + 1)
              .map((part) => part.outerHTML.slice(0, 120))"""
        )
        assert outside == []
