"""The rows of the layer board under a mouse or a finger, on whatever page the board is."""

from __future__ import annotations

from finger import Finger
from playwright.sync_api import Locator, Page

FAST, SLOW = 0, 1


def pane(page: Page, group: int) -> Locator:
    return page.locator(f".pane[data-group='{group}']")


def row(page: Page, group: int, path: str) -> Locator:
    return pane(page, group).locator(f".row[data-id='{path}']")


def middle(locator: Locator) -> tuple[float, float]:
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def grab(page: Page, source: Locator) -> None:
    """Press the mouse on a row's name and move far enough for a drag to begin."""
    x, y = middle(source.locator(".text"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y + 6, steps=3)


def drag(page: Page, source: Locator, target: Locator) -> None:
    """Drag a row by its name with the mouse."""
    grab(page, source)
    page.mouse.move(*middle(target), steps=8)
    page.mouse.up()


def finger_drag(page: Page, source: Locator, way: tuple[float, float]) -> None:
    """Drag a row by its grip with a finger, so far to the right and down."""
    x, y = middle(source.locator(".grip"))
    Finger(page).swipe((x, y), (x + way[0], y + way[1]), rest_ms=200)
