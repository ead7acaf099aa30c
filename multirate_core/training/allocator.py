"""What the C library does with memory that a training step gives back: it sets how long steps take on the CPU."""

from __future__ import annotations

LARGEST_BLOCK = 2**25 - 2**16  # bytes: just below the largest that glibc learns from


def settle_allocator() -> None:
    """Let glibc keep memory between training steps, as in any process that has read its data before it trains.

    At first glibc gives large blocks back to the system, and a step's first touch of every page is a page fault. Each
    large block that is freed makes it keep more, up to 64 MiB (mallopt(3), "dynamic mmap threshold"). So a step's time
    depended on what the process had happened to load: SGD's steps of ResNet-56 took 180 ms in one that measures, and
    167 in one that had read CIFAR-10; steps with few gradients took the same in both. Where times are compared, both
    sides call this first. It does nothing where `MALLOC_` variables or `GLIBC_TUNABLES` fix the sizes, nor without
    glibc.
    """
    bytes(LARGEST_BLOCK)  # freed at once; no page of it is touched
