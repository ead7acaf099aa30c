"""Races whose costs are asked for, the measuring program in this process, and measurements that take a moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from multirate_core.config import ArmConfig, RaceConfig, Recipe
from multirate_core.cost import alone, calibrate, measure, updates
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.request import CalibrationError, CalibrationRequest, request_of
from multirate_core.data.catalog import DataShape

SGD = ArmConfig("sgd", "sgd")
DIGITS = DataShape(10, (1, 32, 32), (), 1000, 200)


def config(**changes: Any) -> RaceConfig:
    return replace(RaceConfig(arms=(SGD,), device="cpu", threads=1, recipe=Recipe(batch_size=16)), **changes)


def request(shape: DataShape = DIGITS, device: str = "cpu", **changes: Any) -> CalibrationRequest:
    return request_of(config(**changes), shape, device)


def ask(wanted: CalibrationRequest) -> tuple[int, Calibration | CalibrationError | None]:
    """Run the measuring program in this process; return its exit code and what can be read then."""
    return calibrate.main([requests.answer_of(wanted).request]), requests.read(wanted)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a measurement in this process, which takes ten seconds, take a moment."""
    for place, name, value in (
        (measure, "ROUNDS_S", 0.02),
        (measure, "LEAST_ROUNDS", 2),
        (measure, "MOST_ROUNDS", 4),
        (updates, "REPEATS", 2),
        (alone, "REPEATS", 1),
    ):
        monkeypatch.setattr(place, name, value)
