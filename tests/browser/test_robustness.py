"""Races that outlive what goes wrong: a reload, a killed server, a killed worker, images that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_steps import (
    LONG,
    PATIENCE_MS,
    end_races,
    explore,
    link,
    plot,
    press_race,
    steps_of,
    stored,
    wait_curves,
    worker_of,
)
from image_cases import draw_folder
from playwright.sync_api import expect
from servers import ROOT, OpenPage, Server, StartServer

pytestmark = pytest.mark.browser

LOST_WITHIN_MS = 30_000


def test_a_race_outlives_a_reload_and_the_server_and_a_killed_worker_is_named_and_makes_way(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(ROOT / "app.py")
    page = explore(open_page, server.address, LONG)
    race = press_race(page)
    worker = worker_of(page, server.home, race)
    seen = wait_curves(page)["newest"]

    page.reload()
    seen = wait_curves(page, seen)["newest"]
    assert link(page)["race"] == race

    server.stop(kill=True)
    before = steps_of(server.home, race)
    while steps_of(server.home, race) <= before:  # with no server at all
        page.wait_for_timeout(100)
    assert worker.is_running()
    server.start()
    seen = wait_curves(page, seen)["newest"]  # the tab that was left open comes back by itself
    fresh = open_page(f"{server.address}/?race={race}")
    wait_curves(fresh, seen)
    assert worker.pid == stored(server.home, race).pid

    worker.kill()
    lost = fresh.get_by_text("Lost: its worker died.")
    expect(lost).to_be_visible(timeout=LOST_WITHIN_MS)
    expect(lost).to_contain_text("What was recorded before is kept below.")
    assert plot(fresh)["newest"] >= seen
    expect(page.get_by_text("Lost: its worker died.")).to_be_visible(timeout=LOST_WITHIN_MS)
    again = press_race(fresh)
    assert worker_of(fresh, server.home, again).pid != worker.pid
    wait_curves(fresh, race=again)
    end_races(server.home)


def test_a_race_that_cannot_read_an_image_names_it_and_the_page_goes_on(
    app: Server, open_page: OpenPage, folders: Path
) -> None:
    draw_folder(folders / "torn", {"red": 8, "green": 8})
    torn = folders / "torn" / "green" / "003.jpg"
    torn.write_bytes(torn.read_bytes()[:200])
    page = explore(open_page, app.address, f"d=folder&dp=torn&{LONG.replace('nt=128&', '')}")
    press_race(page)
    failed = page.locator("[data-testid=stAlert]").filter(has_text="003.jpg")
    expect(failed).to_be_visible(timeout=PATIENCE_MS)
    expect(failed).to_contain_text("Failed.")
    skipping = explore(open_page, app.address, f"d=folder&dp=torn&bad=skip&{LONG.replace('nt=128&', '')}")
    press_race(skipping)
    wait_curves(skipping)
    end_races(app.home)
