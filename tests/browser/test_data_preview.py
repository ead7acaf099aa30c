"""A look at the data: the dialog on a desktop and on a phone, with labels that look like markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_steps import HOSTILE, PATIENCE_MS, button, explore, settled, unfold
from finger import PHONE
from image_cases import draw_folder
from playwright.sync_api import Locator, Page, expect
from servers import OpenPage, Server

pytestmark = pytest.mark.browser


def look(page: Page) -> Locator:
    """Press the button, and wait for the dialog with what was found."""
    unfold(page, "More settings")
    button(page, "Look at the data").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img").first).to_be_visible(timeout=PATIENCE_MS)
    expect(dialog.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")).to_be_visible()
    settled(page)
    return dialog


def images_are_there(dialog: Locator) -> int:
    """Count the pictures, all of which the server must send."""
    pictures = dialog.locator("[data-testid=stImage] img")
    expect(pictures.last).to_be_visible(timeout=PATIENCE_MS)
    widths = []
    for _ in range(50):  # pictures may arrive one after the other
        widths = pictures.evaluate_all("(all) => all.map((img) => img.naturalWidth)")
        if all(widths):
            break
        dialog.page.wait_for_timeout(200)
    assert all(widths), widths
    return len(widths)


def test_the_digits_are_shown_and_the_dialog_closes_for_good(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address)
    dialog = look(page)
    expect(dialog).to_contain_text("300 training and 600 test images in 10 classes")
    assert images_are_there(dialog) == 12
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("combobox", name="Data").click()  # anything that draws the page again
    page.keyboard.press("Escape")
    settled(page)
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_label_with_markup_is_text_on_a_phone_too(
    app: Server, open_page: OpenPage, folders: Path, scheme: str
) -> None:
    folder = folders / f"pictures-{scheme}"
    draw_folder(folder, {HOSTILE: 4, "<b>x<br>": 4, "red": 60})
    (folder / "red" / "000.jpg").write_bytes(b"broken")
    page = explore(open_page, app.address, f"d=folder&dp={folder}", **PHONE, color_scheme=scheme)
    dialog = look(page)
    expect(dialog).to_contain_text("1 of 68 images cannot be read: red/000.jpg")
    for label in (HOSTILE, "<b>x<br>"):
        expect(dialog.locator("[data-testid=stImage]").get_by_text(label, exact=True).first).to_be_visible()
    assert dialog.locator("b, img[src=x]").count() == 0
    assert images_are_there(dialog) == 12
    inside = dialog.evaluate("(part) => part.scrollWidth <= part.clientWidth + 1 && part.clientWidth <= innerWidth")
    assert inside
