"""Uploading data in the browser: a zip of class folders or a table of texts, kept on the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from multirate_core.data.uploads import MB, TABLE_SUFFIXES, keep_table, limits_from_environment, unpack_images
from multirate_core.errors import MultirateError
from pages.components import state
from pages.components.text import plain

ZIP_HELP = "One folder of images per class, with or without train and val above them. It stays on this server."
TABLE_HELP = "A text and a label in every row. It stays on this server."


def upload(source: str) -> None:
    """Draw the upload for a source of data ("folder" or "table"), before the field with the path is drawn.

    What is uploaded is checked and kept once, and its path stands in the field "Data folder on the server" then.
    """
    try:
        limits = limits_from_environment()
    except MultirateError as error:
        st.error(plain(error))
        return
    if not limits.upload_bytes:
        return
    images = source == "folder"
    label, suffixes = ("Upload a zip of images", ["zip"]) if images else ("Upload a table", list(TABLE_SUFFIXES))
    help_text = ZIP_HELP if images else TABLE_HELP
    file = st.file_uploader(
        label, suffixes, key=f"in:upload_{source}", max_upload_size=max(1, limits.upload_bytes // MB), help=help_text
    )
    if file is None:
        return
    keep: Callable[..., Path] = unpack_images if images else keep_table
    _use(file, lambda: keep(file, file.name, limits))


def _use(file: Any, keep: Callable[[], Path]) -> None:
    """Keep a file that is new on this page, and put its path into the field; say why if it is refused."""
    handled: dict[str, str] = st.session_state.setdefault("uploads_handled", {})
    if file.file_id not in handled:
        try:
            with st.spinner("Checking and keeping what was uploaded"):
                state.set_field("data_path", str(keep()))
            handled[file.file_id] = ""
            st.rerun()  # what stands above the settings has looked for the data already
        except MultirateError as error:
            handled[file.file_id] = str(error)
    if handled[file.file_id]:
        st.error(plain(handled[file.file_id]))
