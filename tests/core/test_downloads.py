"""Downloads of data sets, from a server of the test's own: check sums, attempts that broke off, folders in the way."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_cases import silent
from set_cases import write_set

from multirate_core.config import DataConfig
from multirate_core.data import torchvision_sets
from multirate_core.data.downloads import RemoteFile, download_set
from multirate_core.data.registry import load
from multirate_core.errors import DownloadError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal clean."""

    def send_header(self, keyword: str, value: str) -> None:
        """Promise more than is sent where the file's name says so."""
        broken = keyword == "Content-Length" and "broken" in self.path
        super().send_header(keyword, str(int(value) + 10) if broken else value)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    (tmp_path / "published").mkdir()
    return tmp_path / "published"


@pytest.fixture
def address(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(Quiet, directory=str(published))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def publish(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return hashlib.md5(content).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_archives_and_single_files_come_into_one_folder(tmp_path: Path, published: Path, address: str) -> None:
    files = [
        RemoteFile((f"{address}/a.zip",), publish(published, "a.zip", zipped({"jpg/1.jpg": b"one"}))),
        RemoteFile((f"{address}/labels.mat",), publish(published, "labels.mat", b"labels"), "raw"),
    ]
    said: list[str] = []
    place = download_set("Flowers", "flowers", files, tmp_path, said.append)
    assert {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()} == {
        "jpg/1.jpg",
        "raw/labels.mat",
    }
    assert said[0].startswith("Downloading Flowers: 0 of 0 MB") and "Unpacking a.zip" in said
    assert {path.name for path in tmp_path.iterdir()} == {"published", "flowers"}


def test_an_archive_may_bring_the_sets_folder_along(tmp_path: Path, published: Path, address: str) -> None:
    md5 = publish(published, "a.zip", zipped({"food/images/1.jpg": b"one"}))
    place = download_set("Food", "food", [RemoteFile((f"{address}/a.zip",), md5)], tmp_path, silent)
    assert (place / "images" / "1.jpg").read_bytes() == b"one"


def test_the_next_address_is_tried_when_the_first_has_no_such_file(
    tmp_path: Path, published: Path, address: str
) -> None:
    md5 = publish(published, "a.bin", b"content")
    file = RemoteFile((f"{address}/elsewhere/a.bin", f"{address}/a.bin"), md5)
    assert (download_set("Set", "set", [file], tmp_path, silent) / "a.bin").read_bytes() == b"content"


def test_another_check_sum_is_refused_and_leaves_no_set(tmp_path: Path, published: Path, address: str) -> None:
    publish(published, "a.bin", b"forged")
    file = RemoteFile((f"{address}/a.bin",), hashlib.md5(b"content").hexdigest())
    with pytest.raises(DownloadError, match=r"the MD5 of a\.bin is .*give the folder"):
        download_set("Set", "set", [file], tmp_path, silent)
    assert not (tmp_path / "set").exists()
    assert not [path for path in tmp_path.rglob("a.bin*") if published not in path.parents]


def test_a_connection_that_breaks_off_is_told_and_what_was_whole_is_kept(
    tmp_path: Path, published: Path, address: str
) -> None:
    whole = RemoteFile((f"{address}/a.bin",), publish(published, "a.bin", b"content"))
    broken = RemoteFile((f"{address}/broken.bin",), publish(published, "broken.bin", b"rest"))
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        download_set("Set", "set", [whole, broken], tmp_path, silent)
    assert not (tmp_path / "set").exists()
    (published / "a.bin").unlink()  # it is not fetched again
    (published / "rest.bin").write_bytes(b"rest")
    second = RemoteFile((f"{address}/broken.bin", f"{address}/rest.bin"), broken.md5)
    place = download_set("Set", "set", [whole, second], tmp_path, silent)
    assert (place / "a.bin").read_bytes() == b"content" and (place / "broken.bin").read_bytes() == b"rest"


def test_a_folder_in_the_way_is_kept_beside_the_set(tmp_path: Path, published: Path, address: str) -> None:
    file = RemoteFile((f"{address}/a.bin",), publish(published, "a.bin", b"content"))
    for attempt in (1, 2):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / "mine").write_text(str(attempt))
        place = download_set("Set", "set", [file], tmp_path, silent)
        assert [path.name for path in place.iterdir()] == ["a.bin"]
        assert (tmp_path / f"set.before{attempt}" / "mine").read_text() == str(attempt)


def test_what_say_raises_ends_the_download(tmp_path: Path, published: Path, address: str) -> None:
    def stop(_: str) -> None:
        raise KeyError("stopped")

    file = RemoteFile((f"{address}/a.bin",), publish(published, "a.bin", b"content"))
    with pytest.raises(KeyError, match="stopped"):
        download_set("Set", "set", [file], tmp_path, stop)


def test_a_downloaded_set_is_read_without_another_download(
    tmp_path: Path, published: Path, address: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_set("svhn", tmp_path / "source")
    names = ("train_32x32.mat", "test_32x32.mat")
    remote = tuple(
        RemoteFile((f"{address}/{name}",), publish(published, name, (root / name).read_bytes())) for name in names
    )
    files = dataclasses.replace(torchvision_sets.FILES["svhn"], remote=remote)
    monkeypatch.setitem(torchvision_sets.FILES, "svhn", files)
    (tmp_path / "mine").mkdir()
    config = DataConfig("svhn", path=str(tmp_path / "mine"), download=True)
    for _ in range(2):
        assert len(load(config, seed=0, image_size=32, channels=3, say=silent).train_images) == 60
        for name in names:
            (published / name).unlink(missing_ok=True)
    assert not list((tmp_path / "mine").iterdir())
    assert (own_home / "data" / "SVHN" / "train_32x32.mat").is_file()
