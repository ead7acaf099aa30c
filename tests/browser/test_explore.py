"""The Explore page without a race: the board and what follows it, files, presets, groups, pins, bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from app_steps import (
    HOSTILE,
    PATIENCE_MS,
    address_of,
    button,
    choose,
    explore,
    field,
    link,
    settled,
    type_into,
    unfold,
    wait_link,
)
from board_rows import FAST, SLOW, drag, pane, row
from image_cases import draw_folder
from playwright.sync_api import Locator, Page, expect
from servers import OpenPage, Server

pytestmark = pytest.mark.browser


def snippet(page: Page) -> Locator:
    return page.locator("[data-testid=stCode]").filter(has_text="MultirateSGD")


def load_file(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("[data-testid=stFileUploaderDropzone] button").last.click()
    chooser.value.set_files(path)


def warning(page: Page, text: str) -> Locator:
    return page.locator("[data-testid=stAlert]").filter(has_text=text)


def test_a_block_and_a_selection_that_are_dragged_change_board_link_and_snippet(
    app: Server, open_page: OpenPage
) -> None:
    page = explore(open_page, app.address)
    head_only = wait_link(page, "p")
    unfold(page, "Take it with you")
    expect(snippet(page)).to_contain_text("('*', 'slow')")
    expect(snippet(page)).not_to_contain_text("layer2")

    drag(page, row(page, SLOW, "layer2"), pane(page, FAST))
    with_block = wait_link(page, "p", other_than=head_only)
    expect(row(page, FAST, "layer2")).to_be_visible()
    expect(row(page, SLOW, "layer2")).to_have_count(0)
    expect(snippet(page)).to_contain_text("('layer2', 'fast')")

    row(page, SLOW, "stem").click()
    row(page, SLOW, "layer3").click(modifiers=["Control"])
    drag(page, row(page, SLOW, "layer3"), pane(page, FAST))
    wait_link(page, "p", other_than=with_block)
    for path in ("stem", "layer3"):
        expect(row(page, FAST, path)).to_be_visible()
        expect(row(page, SLOW, path)).to_have_count(0)
    expect(snippet(page)).to_contain_text("('layer1', 'slow')")

    button(page, "Undo").click()
    expect(snippet(page)).to_contain_text("('layer2', 'fast')")
    assert wait_link(page, "p") == with_block


def test_presets_and_more_groups_are_a_click_away(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address)
    head_only = wait_link(page, "p")
    button(page, "Start from a preset").click()
    button(page, "Last block and head").click()
    two = wait_link(page, "p", other_than=head_only)
    expect(row(page, FAST, "layer3")).to_be_visible()
    page.keyboard.press("Escape")
    button(page, "Add a group").click()
    expect(pane(page, 2)).to_contain_text("third")
    three = wait_link(page, "p", other_than=two)
    drag(page, row(page, SLOW, "stem"), pane(page, 2))
    expect(row(page, 2, "stem")).to_be_visible()
    moved = wait_link(page, "p", other_than=three)
    type_into(page, "k of third", "20")
    expect(pane(page, 2)).to_contain_text("every 20 steps")
    wait_link(page, "p", other_than=moved)  # the run is over: nothing moves under the next click
    button(page, "Remove “third”").click()
    expect(row(page, SLOW, "stem")).to_be_visible()
    expect(pane(page, 2)).to_have_count(0)


def test_a_partition_file_comes_back_and_a_damaged_one_is_named(
    app: Server, open_page: OpenPage, tmp_path: Path
) -> None:
    page = explore(open_page, app.address)
    drag(page, row(page, SLOW, "layer2"), pane(page, FAST))
    wanted = wait_link(page, "p", other_than=link(page)["p"])
    unfold(page, "Take it with you")
    with page.expect_download() as download:
        button(page, "Download the partition").click()
    saved = tmp_path / "saved.json"
    download.value.save_as(saved)
    assert json.loads(saved.read_text())["format"] == "multirate-partition"

    row(page, FAST, "layer2").locator(".move").click()
    changed = wait_link(page, "p", other_than=wanted)
    damaged = tmp_path / f"{HOSTILE[:4]}.json"
    damaged.write_text('{"format": "multirate-partition", "version": 99}')
    load_file(page, damaged)
    expect(warning(page, "has version 99, this program reads 1")).to_contain_text("<img.json was not loaded")
    assert link(page)["p"] == changed
    load_file(page, saved)
    expect(row(page, FAST, "layer2")).to_be_visible()
    assert wait_link(page, "p", other_than=changed) == wanted


def test_a_path_that_cannot_be_read_is_named_and_the_page_goes_on(
    app: Server, open_page: OpenPage, folders: Path
) -> None:
    draw_folder(folders / "lonely", {"red": 3})
    draw_folder(folders / "broken", {"red": 6, "green": 6})
    page = explore(open_page, app.address)
    choose(page, "Data", "Image folder")
    unfold(page, "More settings")
    for path, said in (
        ("/etc", "is outside the folders that this server may read"),
        ("../../etc", "is outside the folders that this server may read"),
        (str(folders / "absent"), "absent"),
        (str(folders / "lonely"), "class"),
    ):
        type_into(page, "Data folder on the server", path)
        expect(warning(page, said)).to_be_visible()
        expect(button(page, "Race")).to_be_disabled()
        expect(row(page, SLOW, "layer2")).to_be_visible()
    type_into(page, "Data folder on the server", str(folders / "broken"))
    expect(button(page, "Race")).to_be_enabled(timeout=PATIENCE_MS)
    expect(page.locator("[data-testid=stAlertContentError]")).to_have_count(0)


def test_a_name_with_markup_is_shown_as_text(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address)
    unfold(page, "Compare several partitions")
    type_into(page, "Name of the arm", HOSTILE)
    button(page, "Pin this partition").click()
    pinned = page.locator("[data-testid=stExpander]").filter(has_text="(1 pinned)")
    expect(pinned.get_by_text(HOSTILE)).to_be_visible()
    assert wait_link(page, "pin").startswith(f"{HOSTILE}~")
    again = open_page(page.url)
    expect(again.get_by_text("(1 pinned)")).to_be_visible()
    unfold(again, "Compare several partitions")
    expect(again.get_by_text(HOSTILE)).to_be_visible()
    assert page.locator("img[src=x]").count() == again.locator("img[src=x]").count() == 0
    button(again, "Remove").click()
    settled(again)
    expect(again.get_by_text(HOSTILE)).to_have_count(0)
    assert "pin" not in link(again)


def test_hostile_and_overlong_values_in_a_link_are_named_and_the_page_works(app: Server, open_page: OpenPage) -> None:
    wrong = {"m": HOSTILE, "lr": "nan", "e": "-5", "x": "<b>", "race": "../../etc", "p": "A" * 5000, "n": "1e9"}
    page = open_page(address_of(app.address, **wrong, dev="no"))
    expect(page.locator(".pane .row").first).to_be_visible(timeout=60_000)
    for name in ("m", "lr", "e", "x", "n", "dev", "p", "race"):
        expect(warning(page, re.compile(f"The link's “?{name}”? was left out")).first).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    drag(page, row(page, SLOW, "layer2"), pane(page, FAST))
    expect(row(page, FAST, "layer2")).to_be_visible()
    wait_link(page, "p", other_than="A" * 5000)
    assert set(link(page)) == {"p"}


def test_a_link_restores_the_screen_and_one_for_another_model_is_named(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address)
    small = wait_link(page, "p")
    choose(page, "Model", "ResNet-18")
    choose(page, "Data", "Fashion-MNIST")
    expect(row(page, SLOW, "layer4")).to_be_visible(timeout=PATIENCE_MS)
    drag(page, row(page, SLOW, "layer4"), pane(page, FAST))
    expect(row(page, FAST, "layer4")).to_be_visible()
    before = wait_link(page, "p", other_than=small)
    type_into(page, "k", "12")
    wait_link(page, "p", other_than=before)
    type_into(page, "Epochs", "7")
    wait_link(page, "e", "7")

    fresh = explore(open_page, page.url.split("/?")[0], page.url.split("/?")[1])
    expect(row(fresh, FAST, "layer4")).to_be_visible()
    expect(row(fresh, SLOW, "layer3")).to_be_visible()
    expect(fresh.get_by_role("combobox", name="Model")).to_have_value(re.compile("ResNet-18"))
    assert field(fresh, "k").input_value() == "12"
    assert field(fresh, "Epochs").input_value() == "7"
    assert link(fresh) == link(page)

    wrong = explore(open_page, app.address, f"m=resnet18&d=fashion_mnist&p={small}")
    expect(warning(wrong, "made for another model")).to_be_visible()
    expect(row(wrong, FAST, "fc")).to_be_visible()


def test_a_number_out_of_bounds_is_said_and_no_race_starts_with_an_older_one(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address)
    for typed, words in (("0", "got 0"), ("1.5", "got 1.5"), ("9e99", "Epochs must be")):
        type_into(page, "Epochs", typed)
        expect(warning(page, "Epochs must be").filter(has_text=words)).to_be_visible()
        expect(button(page, "Race")).to_be_disabled()
    type_into(page, "Epochs", "3")
    expect(button(page, "Race")).to_be_enabled()
    type_into(page, "k", "0")
    expect(warning(page, "k must be a whole number from 1 to 1,000,000, got 0.")).to_be_visible()
    expect(field(page, "k")).to_have_value("5")
    expect(pane(page, SLOW)).to_contain_text("every 5 steps")


def test_back_leads_to_the_page_before_and_not_through_every_setting(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address)
    first = wait_link(page, "p")
    type_into(page, "k", "7")
    second = wait_link(page, "p", other_than=first)
    drag(page, row(page, SLOW, "layer2"), pane(page, FAST))
    here = wait_link(page, "p", other_than=second)
    settled(page)
    page.get_by_role("link", name="Runs").click()
    expect(field(page, "Search")).to_be_visible()
    page.go_back()
    expect(row(page, FAST, "layer2")).to_be_visible()
    expect(pane(page, SLOW)).to_contain_text("every 7 steps")
    assert wait_link(page, "p") == here
    settled(page)
    page.go_back()
    if page.url != "about:blank":  # the bare address, where a new session wrote its own before our script was there
        settled(page)
        page.go_back()
    assert page.url == "about:blank"
