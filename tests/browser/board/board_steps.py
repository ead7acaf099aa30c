"""What the tests of the layer board do with mouse and keyboard, and how they read what Python has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from board_rows import row
from board_trees import TREES
from playwright.sync_api import Page, expect

HEAD = ["head.weight", "head.bias"]
Open = Callable[..., Page]


def names(tree: str, prefix: str) -> list[str]:
    """The parameters of a test tree whose name starts so."""
    return [each["id"] for each in TREES[tree]() if each["unit"] and each["id"].startswith(prefix)]


def expect_fast(page: Page, paths: list[str]) -> None:
    """What Python says is in the first group, in architecture order."""
    expect(page.locator(".st-key-fast")).to_have_text("fast: " + ", ".join(paths))


def expect_unmoved(page: Page, paths: list[str]) -> None:
    """After one more run, in which anything that was sent would have arrived, these are still the fast ones."""
    runs = page.locator(".st-key-runs")
    before = runs.inner_text()
    page.get_by_role("button", name="Plain rerun").click()
    expect(runs).not_to_have_text(before)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    expect_fast(page, paths)


def toggle(page: Page, group: int, path: str) -> None:
    row(page, group, path).locator(".twist").click()


def focused(page: Page) -> str:
    """`group:id` of the row that has the keyboard."""
    return page.evaluate(
        """() => { const host = document.querySelector('[data-testid=stBidiComponentIsolated]');
                   const row = host.shadowRoot.activeElement?.closest('.row');
                   return row && `${row.closest('.pane').dataset.group}:${row.dataset.id}`; }"""
    )


def tab_to_tree(page: Page, group: int) -> None:
    """Walk with Tab from the filter until a row of this pane has the keyboard."""
    page.locator(".filter").focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if (focused(page) or "").startswith(f"{group}:"):
            return
    raise AssertionError("Tab never reached the tree")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def violations(page: Page) -> list[str]:
    """What axe has against the board as it is now."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[dev]'")
    page.mouse.move(0, 0)
    # Streamlit greys out what a run under way has not reached yet.
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_function(
        """() => { for (let e = document.querySelector('[data-testid=stBidiComponentIsolated]'); e; e = e.parentElement)
                     if (getComputedStyle(e).opacity < 1) return false;
                   return true; }"""
    )
    results = axe.Axe().run(page, context="[data-testid=stBidiComponentIsolated]")
    assert results.response["passes"]
    return [f"{each['id']}: {node['html']}" for each in results.response["violations"] for node in each["nodes"]]
