"""Streamlit's test runner, without what it does again for every session."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from plot_races import config, recorders
from runs_steps import MARKUP
from sessions import record
from streamlit.components.v2 import manifest_scanner

from multirate_core import home
from multirate_core import store as races
from multirate_core.config import DataConfig, ModelConfig, Recipe
from multirate_core.events import Progress
from multirate_core.store.queue import take_turn


@pytest.fixture(scope="session", autouse=True)
def read_installed_packages_once() -> Iterator[None]:
    """Every AppTest searches all installed packages for components, a quarter of a second and each time the same."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


@pytest.fixture
def running() -> Iterator[str]:
    """A race that holds the CPU; this process is its worker, so nobody else gets the device."""
    with races.open_store(home.store_path()) as store:
        race_id = races.submit(store, replace(config(), device="cpu"), attend=True)
        assert take_turn(store, race_id)
        for lane in recorders(store, race_id):
            lane.take(60)
        races.record(store, race_id, [Progress(0.25, 80.0)])
        yield race_id
        races.finish(store, race_id, "stopped")


@pytest.fixture
def three() -> list[str]:
    """Three ended races, the oldest first."""
    return [
        record(config()),
        record(replace(config(period=9), recipe=Recipe(lr=0.5)), outcome="diverged"),
        record(replace(config(), model=ModelConfig("resnet18"), data=DataConfig("folder", f"/data/{MARKUP}"))),
    ]
