"""The Runs page: search, compare, save, delete, open."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from app_steps import button, field, type_into, wait_curves, wait_link, wait_result
from board_rows import FAST, SLOW, drag, pane, row
from playwright.sync_api import Locator, Page, expect
from servers import Archive, OpenPage

pytestmark = pytest.mark.browser

ROW_PX = 35  # of Streamlit's table, which is one drawing: it can be clicked at a place only


def table(page: Page) -> Locator:
    return page.locator("[data-testid=stDataFrame]").first


def mark(page: Page, number: int) -> None:
    """Click into the box at the beginning of a row, counted from 0."""
    table(page).click(position={"x": ROW_PX / 2, "y": (number + 1.5) * ROW_PX})


def expect_rows(page: Page, ids: list[str]) -> None:
    """The races in the table, from the top down."""
    expect(table(page).locator("td[aria-colindex='1']")).to_have_text(ids)


def saved(page: Page, name: str) -> list[dict[str, str]]:
    """Download a CSV file by its button and read it."""
    with page.expect_download() as download:
        button(page, name).click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))


def test_races_are_found_laid_over_each_other_compared_saved_and_deleted(archive: Archive, open_page: OpenPage) -> None:
    server, new, old, gone = archive.server, archive.new, archive.old, archive.gone
    page = open_page(f"{server.address}/runs")
    expect_rows(page, [new, old, gone])
    type_into(page, "Search", "finished DIGITS")
    expect_rows(page, [new, old])
    type_into(page, "Search", "no such race")
    expect(page.get_by_text("No race yet, or none that matches.")).to_be_visible()
    type_into(page, "Search", "")
    expect_rows(page, [new, old, gone])

    mark(page, 0)
    expect(button(page, "Open on the Explore page")).to_be_visible()
    curve = saved(page, "Curve as CSV")
    assert {line["race"] for line in curve} == {new}
    assert {line["arm"] for line in curve} == {"sgd", "multirate"}
    with page.expect_download() as download:
        button(page, "Plots as HTML").click()
    drawn = Path(download.value.path()).read_text()
    assert "plotly" in drawn and f'"uirevision":"seconds|{new}"' in drawn
    mark(page, 1)
    expect(page.get_by_text("Difference of the two configurations")).to_be_visible()
    expect(page.locator("[data-testid=stDataFrame]").nth(1).locator("td")).to_contain_text(["period", "9", "5"])
    expect(page.locator(".legendtext")).to_have_text(
        [f"{each} · {arm}" for each in (new, old) for arm in ("sgd", "multirate")]
    )
    results = saved(page, "Results as CSV")
    assert [(line["race"], line["arm"]) for line in results] == [
        (race, arm) for race in (new, old) for arm in ("sgd", "multirate")
    ]
    assert all(0 <= float(line["final_accuracy"]) <= 1 for line in results)

    type_into(page, "Search", gone)
    expect_rows(page, [gone])
    mark(page, 0)
    for answer, left in (("Keep", [gone]), ("Delete", [])):
        button(page, "Delete 1").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(gone)
        dialog.get_by_role("button", name=answer, exact=True).click()
        expect(dialog).to_be_hidden()
        if left:
            expect_rows(page, left)
    type_into(page, "Search", "")
    expect_rows(page, [new, old])


def test_a_race_is_opened_with_its_settings_on_the_explore_page_and_another_takes_its_place(
    archive: Archive, open_page: OpenPage
) -> None:
    page = open_page(f"{archive.server.address}/runs")
    for race, k in ((archive.new, "9"), (archive.old, "5")):
        type_into(page, "Search", race)
        expect_rows(page, [race])
        mark(page, 0)
        button(page, "Open on the Explore page").click()
        expect(wait_result(page)).to_contain_text("one run: no verdict")
        expect(row(page, FAST, "layer3")).to_be_visible()
        expect(field(page, "k")).to_have_value(k)
        expect(field(page, "Epochs")).to_have_value("2")
        wait_link(page, "race", race)
        wait_curves(page, race=race)
        page.get_by_role("link", name="Runs").click()


def test_a_link_with_nothing_but_a_race_restores_the_whole_screen(archive: Archive, open_page: OpenPage) -> None:
    page = open_page(f"{archive.server.address}/?race={archive.new}")
    wait_result(page)
    expect(row(page, FAST, "layer3")).to_be_visible()
    expect(field(page, "k")).to_have_value("9")
    wait_link(page, "nt", "96")
    unknown = open_page(f"{archive.server.address}/?race=nosuchrace")
    expect(unknown.get_by_text("nosuchrace").first).to_be_visible()
    drag(unknown, row(unknown, SLOW, "layer3"), pane(unknown, FAST))
    expect(row(unknown, FAST, "layer3")).to_be_visible()
