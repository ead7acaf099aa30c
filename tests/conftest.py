"""What every test gets: a user data folder of its own. Beside it, `tiny_models` can be imported by its name."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("MULTIRATE_HOME", str(home))
    return home
