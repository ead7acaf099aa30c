"""Starts the ranks of a distributed training as processes and brings back what each of them found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]


def rank_environment() -> dict[str, str]:
    """One thread for each rank, and no network but the machine's own."""
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return {**os.environ, **own}


def run_ranks(script: Path, names: list[str], folder: Path, world_size: int, timeout_s: float) -> list[dict[str, Any]]:
    """Run the named cases of a script on every rank; return, per rank, case -> result.

    A rank that hangs is killed after `timeout_s`, one that fails takes the others with it; both raise AssertionError.
    """
    command = [sys.executable, "-W", "error", str(script), str(folder), str(world_size)]
    logs = [folder / f"rank{rank}.log" for rank in range(world_size)]
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank, log in enumerate(logs):
            with log.open("wb") as out:
                words = [*command, str(rank), *names]
                ranks.append(subprocess.Popen(words, stdout=out, stderr=out, env=rank_environment(), cwd=ROOT))
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and any(rank.poll() is None for rank in ranks) and not any(map(_failed, ranks)):
            time.sleep(0.05)
        codes = [rank.poll() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    told = "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs)
    told = re.sub(r"(\[rank\d\]: )+", r"\1", told)  # once per process group that the rank has had
    assert codes == [0] * world_size, f"exit codes {codes} (None: killed)\n{told}"
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world_size)]


def _failed(rank: subprocess.Popen[bytes]) -> bool:
    return rank.poll() not in (None, 0)
