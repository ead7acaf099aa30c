"""Where the project keeps what belongs to the user: the store, cached layer trees, downloads, logs.

`MULTIRATE_HOME` overrides the platform's own place. Standard library only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from multirate_core.errors import StoreError


def home_folder() -> Path:
    """Return the user data folder and make it if it is missing; StoreError if that is impossible."""
    return _made(Path(os.environ["MULTIRATE_HOME"]) if os.environ.get("MULTIRATE_HOME") else _platform_folder())


def store_path() -> Path:
    """Return the path of the SQLite file that holds all races."""
    return home_folder() / "races.sqlite3"


def subfolder(name: str) -> Path:
    """Return a folder inside the user data folder: "trees", "logs", "downloads"; make it as `home_folder` does."""
    return _made(home_folder() / name)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the data folder {folder} cannot be made: {error.strerror}. Set MULTIRATE_HOME to a folder you may write."
        ) from error
    return folder


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "multirate-explorer"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "multirate-explorer"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "multirate-explorer"
