"""Races on the Explore page: to the end, live, by keyboard, on a phone, in two tabs, in the queue."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from app_steps import (
    HOSTILE,
    LONG,
    PATIENCE_MS,
    SMALL,
    button,
    drag_zoom,
    expect_raced,
    explore,
    is_too_wide,
    link,
    plot,
    press_race,
    stored,
    tab_to,
    type_into,
    unfold,
    wait_curves,
    wait_link,
    wait_result,
    worker_of,
)
from board_rows import FAST, SLOW, drag, finger_drag, pane, row
from finger import PHONE
from playwright.sync_api import Page, expect
from servers import OpenPage, Server

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("free_device")]


def wait_gone(page: Page, process: psutil.Process) -> None:
    """Wait until a process has ended."""
    for _ in range(600):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{process} is still running")


def loaded_libraries(process: psutil.Process) -> set[str]:
    return {Path(part.path).name for part in process.memory_maps()}


def test_a_race_runs_to_its_result_and_a_row_on_the_runs_page_and_nothing_leaves_the_machine(
    app: Server, open_page: OpenPage
) -> None:
    page = open_page("about:blank")
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.on("websocket", lambda socket: asked.add(urlsplit(socket.url).netloc))
    page.goto(f"{app.address}/?{SMALL}")
    drag(page, row(page, SLOW, "layer3"), pane(page, FAST))
    expect(row(page, FAST, "layer3")).to_be_visible()
    unfold(page, "Compare several partitions")
    type_into(page, "Name of the arm", HOSTILE)
    button(page, "Pin this partition").click()
    wait_link(page, "pin")

    race = press_race(page)
    card = wait_result(page)
    expect(card).to_contain_text("multirate and sgd")
    expect(card).to_contain_text("one run: no verdict")
    for question in ("How long did the same epochs take?", "to reach a given accuracy", "after the same time?"):
        expect(card).to_contain_text(question)
    expect(page.locator("[class*=st-key-result-]").nth(1)).to_contain_text(f"{HOSTILE} and sgd")
    expect(page.locator(".legendtext").filter(has_text=HOSTILE)).to_have_count(1)
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    expect_raced(page, ("sgd", "multirate", escaped))

    page.get_by_role("link", name="Runs").click()
    type_into(page, "Search", race)
    cells = page.locator("[data-testid=stDataFrame] [role=gridcell]")
    expect(page.get_by_text("1 race, newest first")).to_be_visible()
    expect(cells.filter(has_text=race)).to_have_count(1)
    expect(cells.filter(has_text=HOSTILE)).to_have_count(1)
    assert page.locator("img[src=x]").count() == 0
    assert asked - {urlsplit(app.address).netloc} <= {""}  # "" for what the page holds itself: data: and blob:
    assert app.process is not None
    assert not [name for name in loaded_libraries(psutil.Process(app.process.pid)) if "torch" in name]


def test_the_keyboard_alone_sets_k_moves_a_layer_starts_a_race_and_stops_it(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address, LONG)
    tab_to(page, "k")
    page.keyboard.press("Control+a")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    expect(pane(page, SLOW)).to_contain_text("every 7 steps")
    tab_to(page, f"row {SLOW}:")
    for key in ("Home", "ArrowDown", "ArrowDown", "ArrowDown", "f"):
        page.keyboard.press(key)
    expect(pane(page, FAST).locator(".row")).not_to_have_count(1)
    moved = pane(page, FAST).locator(".row").first.get_attribute("data-id")
    page.keyboard.press("Control+z")
    expect(pane(page, FAST).locator(".row")).to_have_count(1)
    page.keyboard.press("Control+y")
    expect(pane(page, FAST).locator(f".row[data-id='{moved}']")).to_be_visible()

    tab_to(page, "Race", "Shift+Tab")
    page.keyboard.press("Enter")
    race = wait_link(page, "race")
    worker = worker_of(page, app.home, race)
    arm = stored(app.home, race).config.arms[1]
    assert arm.partition is not None
    assert [group.period for group in arm.partition.groups] == [1, 7]
    tab_to(page, "Stop")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Stopped on request.")).to_be_visible(timeout=PATIENCE_MS)
    wait_gone(page, worker)


def test_a_phone_drags_with_a_finger_starts_a_race_and_watches_it(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address, LONG, **PHONE)
    before = wait_link(page, "p")
    layer = row(page, SLOW, "layer2")
    layer.scroll_into_view_if_needed()
    above, box = pane(page, FAST).bounding_box(), layer.bounding_box()
    assert above is not None and box is not None
    assert above["y"] + above["height"] < box["y"], "the panes are stacked"
    finger_drag(page, layer, (40, above["y"] + above["height"] - 40 - box["y"]))
    expect(row(page, FAST, "layer2")).to_be_visible()
    wait_link(page, "p", other_than=before)
    button(page, "Race").tap()
    wait_link(page, "race")
    wait_curves(page)
    expect(page.locator(".mr-plot-chart")).to_be_visible()
    assert not is_too_wide(page)
    button(page, "Stop").tap()
    expect(page.get_by_text("Stopped on request.")).to_be_visible(timeout=PATIENCE_MS)
    assert not is_too_wide(page)


def test_a_live_race_keeps_the_zoom_pauses_goes_on_and_is_the_same_in_two_tabs(
    app: Server, open_page: OpenPage
) -> None:
    page = explore(open_page, app.address, LONG)
    race = press_race(page)
    worker = worker_of(page, app.home, race)
    now = wait_curves(page)["newest"]
    wanted = drag_zoom(page)
    for _ in range(3):
        now = wait_curves(page, now)["newest"]
    assert plot(page)["range"] == wanted
    assert plot(page)["zoomed"]

    other = open_page(page.url)
    seen = wait_curves(other, now)["newest"]
    assert link(other)["race"] == race
    button(other, "Pause").click()
    expect(page.get_by_text("Paused. After two minutes")).to_be_visible(timeout=PATIENCE_MS)
    expect(other.get_by_text("Paused. After two minutes")).to_be_visible()
    assert stored(app.home, race).state == "paused"
    assert worker.is_running()
    paused_at = plot(page)["newest"]
    button(page, "Resume").click()
    assert wait_curves(page, paused_at)["newest"] > seen
    wait_curves(other, paused_at)
    assert plot(page)["range"] == wanted

    # The control redraws only the race's part of the page; the address follows all the same.
    other.get_by_role("radio", name="Steps").click()
    wait_link(other, "x", "steps")
    other.reload()
    expect(other.get_by_role("radio", name="Steps")).to_be_checked()
    assert link(other)["x"] == "steps"
    other.get_by_role("radio", name="Training seconds").click()
    other.wait_for_function("!location.search.includes('x=')")


def test_a_second_race_waits_in_the_queue_can_leave_it_and_starts_when_the_first_is_stopped(
    app: Server, open_page: OpenPage
) -> None:
    first = explore(open_page, app.address, LONG)
    worker = worker_of(first, app.home, press_race(first))
    second = explore(open_page, app.address, LONG)
    left = press_race(second)
    waiting = second.get_by_text("Waiting for cpu: number 1 in the queue")
    expect(waiting).to_be_visible()
    button(second, "Leave the queue").click()
    expect(second.get_by_text("Stopped on request.")).to_be_visible()
    assert stored(app.home, left).pid is None
    race = press_race(second)
    expect(waiting).to_be_visible()

    button(first, "Stop").click()
    expect(first.get_by_text("Stopped on request.")).to_be_visible(timeout=PATIENCE_MS)
    wait_gone(first, worker)
    assert worker_of(second, app.home, race).pid != worker.pid
    expect(waiting).to_be_hidden(timeout=PATIENCE_MS)
    expect(button(second, "Pause")).to_be_visible()
