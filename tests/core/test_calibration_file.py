"""The JSON form of a calibration: what was written comes back, and what is damaged is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from cost_cases import made_up

from multirate_core.cost.calibration import from_json, to_json
from multirate_core.errors import ConfigError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree


def text() -> str:
    tree = describe.read(describe.SHIPPED)
    assert isinstance(tree, LayerTree)
    return to_json(made_up(tree, notes=("a note",)))


def changed(change: Callable[[dict[str, Any]], None]) -> str:
    document = json.loads(text())
    change(document)
    return json.dumps(document)


def test_a_calibration_survives_its_file() -> None:
    assert to_json(from_json(text())) == text() and from_json(text()).notes == ("a note",)
    assert from_json(changed(lambda raw: raw.update(peaks=None))).peaks is None


@pytest.mark.parametrize(
    "broken",
    [
        *("", "{", "null", "7", "[]", "{}", '"calibration"', "[" * 100_000),
        lambda raw: raw.update(version=raw["version"] + 1),
        lambda raw: raw.update(format="multirate-layer-tree"),
        lambda raw: raw.pop("base_s"),
        lambda raw: raw.pop("operations"),
        lambda raw: raw.update(more=1),
        lambda raw: raw.update(base_s=math.nan),
        lambda raw: raw.update(sgd_step_s=math.inf),
        lambda raw: raw["numbers"].pop(),
        lambda raw: raw["operations"][3].update(inputs=[3]),
        lambda raw: raw["operations"][3].update(inputs=[-1]),
        lambda raw: raw["operations"][3].update(inputs=7),
        lambda raw: raw["operations"][0]["units"][0].update(unit=len(raw["parameters"])),
        lambda raw: raw["operations"][0]["units"][0].update(unit=-1),
        lambda raw: raw["operations"][0]["units"][0].pop("alone_s"),
        lambda raw: raw["operations"].append("x"),
        lambda raw: raw.update(modules=[]),
        lambda raw: raw["modules"].update(x={}),
        lambda raw: raw["updates"].pop("drift"),
        lambda raw: raw.update(peaks=3),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_in_words(broken: str | Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(ConfigError, match=r"Measure again\."):
        from_json(broken if isinstance(broken, str) else changed(broken))
