"""Downloads, from a real server on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirate_core.errors import DownloadError
from multirate_core.models.published import cache_folder, fetch


class QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    handler = functools.partial(QuietServer, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once_and_checked(address: str, tmp_path: Path) -> None:
    content = b"weights" * 1000
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / "served" / name).write_bytes(content)
    assert fetch(f"{address}/{name}").read_bytes() == content
    (tmp_path / "served" / name).unlink()
    assert fetch(f"{address}/{name}") == cache_folder() / name


def test_a_download_with_a_wrong_check_sum_leaves_nothing_behind(address: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "net-00000000.pth").write_bytes(b"half a file")
    with pytest.raises(DownloadError, match=r"net-00000000\.pth cannot be downloaded.*invalid hash"):
        fetch(f"{address}/net-00000000.pth")
    assert not list(cache_folder().iterdir())


def test_a_file_that_the_server_does_not_have_is_named(address: str) -> None:
    with pytest.raises(DownloadError, match=r"gone-00000000\.pth.*404"):
        fetch(f"{address}/gone-00000000.pth")


def test_a_cache_folder_that_cannot_be_written_is_named(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="put it into"):
        fetch(f"{address}/net-00000000.pth")
