"""The most memory that tensors take during a training step, counted while one runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(device: torch.device, step: Callable[[], object]) -> int | None:
    """Return the most bytes that tensors took during a step beyond those before it; None if that cannot be counted.

    On CUDA it is the allocator's own counter, on the CPU the sum of all that torch's allocator gave and took back.

    Args:
        device: on which the step runs.
        step: takes one.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    if device.type != "cpu":
        return None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events: Any = profiler.profiler.kineto_results.events()
    changes = sorted((each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]")
    live = highest = 0
    for _, change in changes:
        live += change
        highest = max(highest, live)
    return highest
