"""How a known set of images lies on disk: where it is looked for, and what a download brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multirate_core.data.downloads import RemoteFile, Say, download_set
from multirate_core.data.folder_scan import FolderListing
from multirate_core.data.raw_files import RawSplit
from multirate_core.errors import DataError


@dataclass(frozen=True)
class KnownFiles:
    """The form in which torchvision's loader keeps a set.

    Args:
        folders: below the folder that a user gives, "" for that folder itself; the first one that holds the set is
            read.
        wanted: the files that make it up, in words.
        made: name of the folder that a download makes.
        remote: what is downloaded.
        holds: tells whether a folder holds the set.
        read: reads it from that folder; a listing without test images is split afterwards.
    """

    folders: tuple[str, ...]
    wanted: str
    made: str
    remote: tuple[RemoteFile, ...]
    holds: Callable[[Path], bool]
    read: Callable[[Path], RawSplit | FolderListing]


def locate(title: str, files: KnownFiles, folder: Path | None, download: bool, home: Path, say: Say) -> Path:
    """Return the folder that holds a set; nothing is written but what is downloaded.

    Args:
        title: of the set, for messages.
        files: of the set.
        folder: to look in; None looks in `home`.
        download: fetch the files to `home` if they are neither in `folder` nor there.
        home: where this project may write.
        say: called with lines about the progress of a download.

    Raises:
        DataError: files are missing.
        DownloadError: the network does not give them.
    """
    places = [folder or home, *([home] if download else [])]
    candidates = [place / below for place in places for below in files.folders]
    found = next(filter(files.holds, candidates), None)
    if found is None and download:
        download_set(title, files.made, files.remote, home, say)
        found = next(filter(files.holds, (home / below for below in files.folders)), None)
    if found is None:
        raise DataError(
            f"{title} is not in {folder or home}: looked for {files.wanted} there and in "
            f"{', '.join(below for below in files.folders if below)} below. Give the folder that holds them, or allow "
            "the download."
        )
    return found


def all_there(*names: str) -> Callable[[Path], bool]:
    """Return a test for folders that hold all these files and folders."""
    return lambda folder: all((folder / name).exists() for name in names)
