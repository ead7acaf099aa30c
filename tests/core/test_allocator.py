"""The memory that a training step gives back stays with the process, from the first step on."""

from __future__ import annotations

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


def test_a_settled_allocator_fetches_no_memory_from_the_system_at_every_step() -> None:
    # In a process of its own: what was freed in this one before would decide.
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, timeout=120, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 1000 and after < 100
