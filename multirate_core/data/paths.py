"""Which folders of the server a path typed in the browser may reach. The command line may read anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from multirate_core.errors import ConfigError
from multirate_core.home import subfolder

VARIABLE: Final = "MULTIRATE_DATA_FOLDERS"
UPLOADS: Final = "data/uploads"  # in the user data folder: what browsers handed over


def allowed_folders() -> tuple[Path, ...]:
    """Return the folders that the server's owner allows.

    They stand in the environment variable MULTIRATE_DATA_FOLDERS, separated as in PATH. Without it: `data` in the
    user data folder, and MULTIRATE_SHARED if that is set.
    """
    listed = os.environ.get(VARIABLE)
    if listed is not None:
        return tuple(Path(entry).expanduser().resolve() for entry in listed.split(os.pathsep) if entry.strip())
    shared = os.environ.get("MULTIRATE_SHARED")
    return (subfolder("data").resolve(), *((Path(shared).resolve(),) if shared else ()))


def _uploads() -> Path:
    """Return where what browsers upload is kept; who may upload may read it."""
    return subfolder(UPLOADS).resolve()


def require_allowed(path: str | Path) -> Path:
    """Return a path with links resolved, if it lies in an allowed folder.

    Nothing is said about what exists outside: a forbidden path gets the same answer whether it exists or not.

    Args:
        path: as it was typed; a relative path starts in the first allowed folder.

    Raises:
        ConfigError: the path leads outside, by "..", by a link or directly; the message names the variable to set.
    """
    folders = allowed_folders()
    readable = (*folders, _uploads())
    start = folders[0] if folders else Path(os.sep)  # without a folder nothing relative is allowed
    try:
        resolved = (start / Path(path).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a null byte
        raise ConfigError(f"{str(path)[:200]!r} is not a path that can be followed. Check it.") from error
    if any(resolved.is_relative_to(folder) for folder in readable):
        return resolved
    raise ConfigError(
        f"{str(path)[:200]!r} is outside the folders that this server may read: "
        f"{', '.join(map(str, folders)) or 'none'}. Its owner can allow more with {VARIABLE}."
    )
