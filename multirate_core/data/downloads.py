"""The files of a data set, fetched, compared with their check sums, and unpacked where the user's data lies."""

from __future__ import annotations

import itertools
import shutil
import tarfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torchvision.datasets.utils import extract_archive

from multirate_core.data.raw_files import md5_of, sha256_of
from multirate_core.errors import DownloadError
from multirate_core.network import FAILURES, patience

_BLOCK: Final = 1 << 20
_SAY_EVERY_S: Final = 0.5
_DAMAGED: Final = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)
_ARCHIVES: Final = (".tgz", ".tar.gz", ".zip")

Say = Callable[[str], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file that its publishers offer.

    Args:
        urls: the same file at several places, tried in turn.
        md5: hex digits; None compares nothing.
        below: where it belongs inside the set's folder; "" for the folder itself.
        sha256: hex digits; None compares nothing.
    """

    urls: tuple[str, ...]
    md5: str | None
    below: str = ""
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The file's name, as the first address ends."""
        return self.urls[0].rpartition("/")[2]


def download_set(title: str, folder: str, files: Sequence[RemoteFile], home: Path, say: Say) -> Path:
    """Fetch files, unpack the archives among them, and put all into one folder when everything is there.

    What was fetched whole stays for the next attempt until then. A folder of that name that was there before, which
    did not hold the set, is kept beside it as "<folder>.before1".

    Args:
        title: of the set, for messages.
        folder: name of the folder to make; an archive may bring it along or hold its contents.
        files: to fetch.
        home: where this project may write.
        say: called now and then with a line about the progress; what it raises ends the download.

    Returns:
        `home / folder`.

    Raises:
        DownloadError: the network does not give the files, a check sum is wrong, or the disk is full.
    """
    draft, place = home / f"{folder}.download", home / folder
    unpacked = draft / "unpacked"
    try:
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir(parents=True)
        for file in files:
            _fetch(file, draft / file.name, title, say)
        for file in files:
            say(f"Unpacking {file.name}")
            _unpack(draft / file.name, unpacked / file.below)
        _keep_aside(place)
        (unpacked / folder if (unpacked / folder).is_dir() else unpacked).rename(place)
    except (*FAILURES, *_DAMAGED) as error:
        raise DownloadError(
            f"{title} cannot be downloaded: {error}. Put what {', '.join(file.name for file in files)} hold(s) into "
            f"{place}, or give the folder that holds it."
        ) from error
    shutil.rmtree(draft, ignore_errors=True)
    return place


def _fetch(file: RemoteFile, path: Path, title: str, say: Say) -> None:
    """Write the file under another name until its check sum was compared; one that is there whole is kept."""
    if path.is_file() and not _other_sum(file, path):
        return
    part = path.with_name(f"{path.name}.part")
    for last, url in enumerate(file.urls, 1 - len(file.urls)):
        try:
            with patience():
                _copy(url, part, title, say)
            break
        except FAILURES:
            if last == 0:
                raise
    if problem := _other_sum(file, part):
        part.unlink()
        raise OSError(problem)
    part.replace(path)


def _other_sum(file: RemoteFile, path: Path) -> str:
    """Return which check sum of what was fetched is another one than published, or ""."""
    for title, wanted, sum_of in (("MD5", file.md5, md5_of), ("SHA-256", file.sha256, sha256_of)):
        if wanted is not None and (found := sum_of(path)) != wanted:
            return f"the {title} of {file.name} is {found}, must be {wanted}"
    return ""


def _copy(url: str, part: Path, title: str, say: Say) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "multirate-explorer"})
    with urllib.request.urlopen(request) as answer, part.open("wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        done, said = 0, 0.0
        while block := answer.read(_BLOCK):
            file.write(block)
            done += len(block)
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                say(f"Downloading {title}: {done / 1e6:,.0f} of {f'{size / 1e6:,.0f}' if size else '?'} MB")
    if size and done != size:
        raise OSError(f"the connection broke off after {done:,} of {size:,} bytes")


def _unpack(path: Path, into: Path) -> None:
    """Unpack an archive, nothing of it outside the folder; move copy any other file."""
    if path.name.endswith(_ARCHIVES):
        extract_archive(path, into)
    else:
        into.mkdir(exist_ok=True)
        shutil.copy2(path, into)


def _keep_aside(place: Path) -> None:
    if place.exists():
        names = (f"{place.name}.before{number}" for number in itertools.count(1))
        place.rename(next(path for name in names if not (path := place.with_name(name)).exists()))
