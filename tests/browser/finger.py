"""A finger and the narrow screen it is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Page

PHONE: Mapping[str, Any] = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}


class Finger:
    """One finger, by the browser's own touch input."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.input = page.context.new_cdp_session(page)

    def send(self, kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in at]
        self.input.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def swipe(self, start: tuple[float, float], end: tuple[float, float], rest_ms: int = 0) -> None:
        """Move from start to end; a finger that leaves without a rest is a fling, which swallows the next tap."""
        self.send("touchStart", start)
        for step in range(1, 13):
            part = step / 12
            at = (start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]))
            self.send("touchMove", at)
            self.page.wait_for_timeout(16)
        if rest_ms:
            self.page.wait_for_timeout(rest_ms)
            self.send("touchMove", end)
        self.send("touchEnd")
