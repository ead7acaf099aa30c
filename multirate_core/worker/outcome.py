"""How a race ended: the closed list of outcomes, found from its lanes or from the error that ended it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from multirate_core.errors import MultirateError
from multirate_core.events import Outcome

# What allocators say when they raise no error of their own kind: torch on the CPU, cuDNN, cuBLAS, Metal.
_NO_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "cudnn_status_alloc_failed",
    "cublas_status_alloc_failed",
)


@dataclass(frozen=True)
class Ending:
    """What is written down when a race is over."""

    outcome: Outcome
    message: str = ""
    traceback: str = ""


def after_events(lane_outcomes: Mapping[int, Outcome], stop_asked: bool) -> Ending:
    """Return the ending of an engine that came to its end by itself.

    Args:
        lane_outcomes: lane -> outcome, of the lanes that ended.
        stop_asked: whether somebody wanted it to stop.
    """
    outcomes = set(lane_outcomes.values())
    if "stopped" in outcomes or (stop_asked and not outcomes):
        return Ending("stopped")
    if outcomes == {"diverged"}:
        return Ending("diverged", "every arm diverged. Try a smaller lr or a smaller k.")
    if "out_of_memory" in outcomes:
        return Ending("out_of_memory", "an arm ran out of memory. Try a smaller batch size or smaller images.")
    return Ending("finished")


def after_error(error: BaseException) -> Ending:
    """Return the ending of a race that an error ended."""
    if isinstance(error, KeyboardInterrupt):
        return Ending("stopped", "interrupted in the middle of its work")
    if ran_out_of_memory(error):
        first_line = (str(error).strip() or "memory was not enough").splitlines()[0].rstrip(".")
        return Ending("out_of_memory", f"{first_line}. Try a smaller batch size or smaller images.")
    if isinstance(error, MultirateError):
        return Ending("failed", str(error))
    text = "".join(traceback.format_exception(error))
    return Ending("failed", f"{type(error).__name__}: {error}", text)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of the device or of the machine, was not enough."""
    torch = sys.modules.get("torch")  # if it was never loaded, the error is not torch's
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
