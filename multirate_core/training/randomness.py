"""Random states of a lane: Python's, NumPy's and torch's, put in place while the lane works and taken out afterwards.

So a lane draws the same numbers whether it is alone in the race or interleaved with others, and the process that
hosts the race keeps its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class Randomness:
    """The random states of one lane, seeded once and advanced only inside `active()`.

    Args:
        seed: of all generators, ≥ 0.
        device: the accelerator whose generator belongs to the lane too.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        outer = _capture(device)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        self._state = _capture(device)
        _restore(outer, device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use the lane's states inside the `with` block; the surrounding ones come back afterwards."""
        outer = _capture(self._device)
        _restore(self._state, self._device)
        try:
            yield
        finally:
            self._state = _capture(self._device)
            _restore(outer, self._device)


@contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Give back the present states after the `with` block, whatever was drawn inside."""
    outer = _capture(device)
    try:
        yield
    finally:
        _restore(outer, device)


def _capture(device: torch.device) -> tuple[Any, ...]:
    accelerator = None
    if device.type == "cuda":
        accelerator = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        accelerator = torch.mps.get_rng_state()
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), accelerator


def _restore(state: tuple[Any, ...], device: torch.device) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[3], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state[3])
