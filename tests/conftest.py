"""What every test gets: a user data folder of its own. Beside it, `tiny_models` can be imported by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With several processes, keep a file's tests in one, and all of the browser's: one Chromium, one of each server.

    pytest-xdist's own groups (`--dist loadgroup`) do nothing with pytest 9.2: they rename a test's id, which is fixed.
    """
    from xdist.scheduler import LoadScopeScheduling

    class BrowserApart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if nodeid.startswith("tests/browser/") else nodeid.split("::")[0]

    return BrowserApart(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the quick set, leave out files that are slow as a whole before they are imported: half its time went there."""
    if "not slow" not in config.getoption("markexpr", "") or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if "\npytestmark = pytest.mark.slow" in text else None


@pytest.fixture(scope="session", autouse=True)
def no_users_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For fixtures that live longer than a test: never the data folder of whoever runs the tests."""
    home = tmp_path_factory.mktemp("shared-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIRATE_HOME", str(home))
        patch.setenv("MULTIRATE_METER", "ask")
        yield home


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("MULTIRATE_HOME", str(home))
    monkeypatch.setenv("MULTIRATE_METER", "ask")  # no page begins to measure by itself beside a test
    return home
