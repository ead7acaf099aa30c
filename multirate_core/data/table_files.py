"""The files of a table: one file, or those of a folder that are for training and for testing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from multirate_core.data.folder_scan import TEST_FOLDERS
from multirate_core.data.table_rows import FORMS
from multirate_core.errors import DataError

TEST_NAMES: Final = (*TEST_FOLDERS[:-1], "dev", TEST_FOLDERS[-1])  # the first one that exists is used


def find_tables(path: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    """Find the files of a table by their names alone.

    Args:
        path: a file, or a folder with `train` and, or not, one of TEST_NAMES; each with a suffix of `table_rows.FORMS`.

    Returns:
        The file to train with, the one to test with or None, and a note for each that is not used.

    Raises:
        DataError: there is nothing at this path, it cannot be read, or a folder has no file to train with.
    """
    try:
        if not path.exists():
            raise DataError(f"{str(path)[:200]!r} does not exist. Check the path.")
        files = _tables_in(path) if path.is_dir() else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{str(path)[:200]!r} cannot be read: {reason}. Check the path and its permissions.") from error
    if files is None:
        return path, None, ()
    train = [file for file in files if file.stem.lower() == "train"]
    test = [file for name in TEST_NAMES for file in files if file.stem.lower() == name]
    if not train:
        looked_for = ", ".join(f"train{suffix}" for suffix in FORMS)
        raise DataError(
            f"{path} holds no file to train with; looked for {looked_for}. Name it so, or give the path of a file."
        )
    notes = tuple(f"The file {file.name} was not used." for file in (*train[1:], *test[1:]))
    return train[0], test[0] if test else None, notes


def _tables_in(folder: Path) -> list[Path]:
    """Return the files of a folder that may be tables, in the order of FORMS."""
    order = list(FORMS)
    files = [entry for entry in folder.iterdir() if entry.suffix.lower() in FORMS and entry.is_file()]
    return sorted(files, key=lambda file: (order.index(file.suffix.lower()), file.name))
