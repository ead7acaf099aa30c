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
from image_cases import shared, silent
from set_cases import write_set

from multirate_core.config import DataConfig
from multirate_core.data import text_downloads, torchvision_sets
from multirate_core.data.catalog import DATASETS, data_shape
from multirate_core.data.downloads import RemoteFile, download_set
from multirate_core.data.known_texts import read_known
from multirate_core.data.registry import load
from multirate_core.errors import DataError, DownloadError
from multirate_core.models.catalog import model_info

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


# The known text sets

SENTENCES = {"train.tsv": b"a fine film\t1\na poor one\t0\n", "dev.tsv": b"so so\t0\n"}
# The file's name at its address -> where the shared data keeps the same bytes.
SHARED_FILES = {
    "sst2": {"train.tsv": "sst2/train.tsv", "dev.tsv": "sst2/dev.tsv"},
    "trec": {"train_5500.label": "trec6/TREC.train", "TREC_10.label": "trec6/TREC.test"},
    "ag_news": {"test.csv": "ag_news_test/test.csv"},  # of train.csv there is no copy
    "sms_spam": {"sms.tsv": "sms_spam/sms.tsv"},
}


def offer(patch: pytest.MonkeyPatch, name: str, files: list[RemoteFile]) -> None:
    patch.setattr(text_downloads, "TEXT_FILES", {name: tuple(files)})


def offer_sentences(patch: pytest.MonkeyPatch, folder: Path, address: str) -> None:
    """Publish a tiny SST-2 at the test's own server."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in SENTENCES.items()}
    for name, content in SENTENCES.items():
        publish(folder, name, content)
    offer(patch, "sst2", [RemoteFile((f"{address}/{name}",), None, sha256=sums[name]) for name in SENTENCES])


@pytest.mark.parametrize("name", SHARED_FILES)
def test_the_check_sums_of_the_text_sets_are_those_of_their_real_files(
    name: str, published: Path, address: str, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    files = [file for file in text_downloads.TEXT_FILES[name] if file.name in SHARED_FILES[name]]
    assert len(files) == len(SHARED_FILES[name]) and all(file.sha256 for file in files)
    for file in files:
        publish(published, file.name, shared(f"data/{SHARED_FILES[name][file.name]}").read_bytes())
    offer(monkeypatch, name, [dataclasses.replace(file, urls=(f"{address}/{file.name}",)) for file in files])
    rows = read_known(name, None, download=True)
    ours = read_known(name, shared("data"))
    assert (rows.train_texts, rows.train_labels) == (ours.train_texts, ours.train_labels)
    assert (rows.test_texts, rows.test_labels) == (ours.test_texts, ours.test_labels)
    assert {path.name for path in (own_home / "data").iterdir()} == {{"trec": "trec6"}.get(name, name)}


def test_every_known_text_set_can_be_fetched_and_its_note_speaks_of_the_licence() -> None:
    known = [info for info in DATASETS.values() if info.holds == "texts" and info.downloads and info.source != "hub"]
    assert {info.name for info in known} == set(text_downloads.TEXT_FILES) == set(SHARED_FILES)
    assert all("licence" in info.note or "non-commercial" in info.note for info in known)
    for file in (file for files in text_downloads.TEXT_FILES.values() for file in files):
        assert all(url.startswith("https://") for url in file.urls) and len(file.sha256 or "") == 64


def test_a_text_set_is_downloaded_once_and_never_into_the_users_folder(
    tmp_path: Path, published: Path, address: str, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    offer_sentences(monkeypatch, published, address)
    (tmp_path / "mine").mkdir()
    said: list[str] = []
    for folder in (tmp_path / "mine", None):
        rows = read_known("sst2", folder, download=True, say=said.append)
        assert (rows.train_texts, rows.test_texts) == (["a fine film", "a poor one"], ["so so"])
        for name in SENTENCES:
            (published / name).unlink(missing_ok=True)
    assert read_known("sst2", None) == rows  # without another permission
    assert not list((tmp_path / "mine").iterdir()) and (own_home / "data" / "sst2" / "dev.tsv").is_file()
    assert any(line.startswith("Downloading SST-2: 0 of 0 MB") for line in said)


def test_a_text_set_that_is_there_is_read_without_a_download(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "sst2", [RemoteFile((f"{address}/gone.tsv",), None)])
    (tmp_path / "train.tsv").write_bytes(SENTENCES["train.tsv"] * 2)
    assert len(read_known("sst2", tmp_path, download=True).train_texts) == 2
    with pytest.raises(DownloadError, match="404"):
        read_known("sst2", None, download=True)


def test_other_texts_than_the_published_ones_are_refused(
    published: Path, address: str, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    offer_sentences(monkeypatch, published, address)
    publish(published, "dev.tsv", b"so so\t1\n")
    with pytest.raises(DownloadError, match=r"the SHA-256 of dev\.tsv is .* must be .*sst2, or give the folder"):
        read_known("sst2", None, download=True)
    assert not (own_home / "data" / "sst2").exists()
    publish(published, "dev.tsv", SENTENCES["dev.tsv"])
    assert read_known("sst2", None, download=True).test_texts == ["so so"]


def test_a_text_set_whose_download_broke_off_goes_on_with_the_missing_file(
    published: Path, address: str, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    offer_sentences(monkeypatch, published, address)
    first, second = text_downloads.TEXT_FILES["sst2"]
    publish(published, "broken.tsv", SENTENCES["dev.tsv"])
    broken = dataclasses.replace(second, urls=(f"{address}/broken.tsv",))
    offer(monkeypatch, "sst2", [first, broken])
    with pytest.raises(DownloadError, match=r"SST-2 cannot be downloaded: .*bytes"):
        read_known("sst2", None, download=True)
    (published / "train.tsv").unlink()  # it is not fetched again
    offer(monkeypatch, "sst2", [first, second])
    assert len(read_known("sst2", None, download=True).train_texts) == 2
    assert [path.name for path in (own_home / "data").iterdir()] == ["sst2"]


def test_without_a_network_or_the_permission_the_message_says_where_the_files_go(
    monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    offer(monkeypatch, "trec", [RemoteFile(("http://127.0.0.1:9/TREC_10.label",), None)])  # nobody listens there
    with pytest.raises(DownloadError, match=rf"refused.*Put what TREC_10\.label hold\(s\) into {own_home}/data/trec6"):
        read_known("trec", None, download=True)
    with pytest.raises(DataError, match=rf"is not in {own_home}/data: looked for .* or allow the download"):
        read_known("trec", None)
    assert data_shape(DataConfig("trec", download=True), model_info("doc_net")).num_classes == 6
