"""The board's own page, for its tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from board_steps import Open
from playwright.sync_api import Page, expect


@pytest.fixture(scope="session")
def address(streamlit_server: Callable[..., str]) -> str:
    return streamlit_server(Path(__file__).with_name("board_app.py"))


@pytest.fixture
def board(open_page: Open, address: str) -> Open:
    """Open the board of a tree: board("toy", groups=2, cost="", **options of the page)."""

    def start(tree: str = "toy", groups: int = 2, cost: str = "", **options: object) -> Page:
        page = open_page(f"{address}/?tree={tree}&groups={groups}&cost={cost}", **options)
        expect(page.locator(".pane .row").first).to_be_visible()
        return page

    return start
