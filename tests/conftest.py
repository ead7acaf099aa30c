"""What every test gets: a user data folder of its own. Beside it, `tiny_models` can be imported by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_users_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For fixtures that live longer than a test: never the data folder of whoever runs the tests."""
    home = tmp_path_factory.mktemp("shared-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIRATE_HOME", str(home))
        yield home


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("MULTIRATE_HOME", str(home))
    return home
