"""The memory that a training step gives back stays with the process, from the first step on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc learns which blocks to keep"),
]

PAGE_FAULTS = """
import resource
import torch
from multirate_core.training.allocator import settle_allocator

def step():  # 24 MiB in blocks of 2, all given back at the end
    return len([torch.ones(2**19) for _ in range(12)])

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

[step() for _ in range(3)]
first = min(faults() for _ in range(10))
settle_allocator()
[step() for _ in range(3)]
print(first, min(faults() for _ in range(10)))
"""


@pytest.fixture
def unsettled() -> int:
    """Page faults of a step once the allocator was settled, in a process where there were many before.

    In a process of its own, since what this one has freed would decide. In some nothing needs settling: a small block
    lies behind the large ones, so that they are not given back.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    command = [sys.executable, "-c", PAGE_FAULTS]
    for _ in range(8):
        done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, check=True)
        before, after = map(int, done.stdout.split())
        if before > 1000:
            return after
    pytest.skip("in none of eight processes memory was given back to the system")


def test_a_settled_allocator_fetches_no_memory_from_the_system_at_every_step(unsettled: int) -> None:
    assert unsettled < 100
