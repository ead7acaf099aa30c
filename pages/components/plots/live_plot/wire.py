"""A figure as it goes to the browser: every array once, as base64 of its float32 numbers. No streamlit.

Seven significant digits are more than a screen can show; NaN, which JSON does not know, stays NaN and leaves a gap.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

REFERENCE = "array"


def pack(figure: dict[str, Any]) -> dict[str, Any]:
    """Return {"figure": the figure, "arrays": texts}, where {"array": i} stands for the i-th of the texts.

    An array that several traces share, such as their x, is sent once.
    """
    places: dict[int, int] = {}
    texts: list[str] = []
    return {"figure": _without_arrays(figure, places, texts), "arrays": texts}


def _without_arrays(value: Any, places: dict[int, int], texts: list[str]) -> Any:
    if isinstance(value, np.ndarray):
        if id(value) not in places:  # the figure keeps its arrays alive, so that no id is used twice
            places[id(value)] = len(texts)
            texts.append(base64.b64encode(value.astype("<f4").tobytes()).decode("ascii"))
        return {REFERENCE: places[id(value)]}
    if isinstance(value, dict):
        return {key: _without_arrays(inner, places, texts) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(inner, places, texts) for inner in value]
    return value
