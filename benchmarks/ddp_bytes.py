"""How many bytes of gradients a cycle sends, against DDP: every message of two processes counted, buffers apart."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ROOT, run
from benchmarks.figures import Check, Figure, Result, Target
from benchmarks.networks import NETWORKS

RANKS = 2
PERIODS = (2, 5, 10, 20)
BATCH_SIZES = {"resnet18": 8, "mobilenet_v2": 8, "vit_b_16": 1, "text": 4}  # of one rank
WITHIN_PERCENT = Target("at most", 1.0)
TIMEOUT_S = 400.0
ABOUT = (
    "{ranks} processes over gloo on one machine, one thread each, random weights and data. Ours: the bytes of every "
    "all-reduce of one cycle, the 16 bytes by which ranks agree and the mark of each tensor included. DDP: the bytes "
    "of all its buckets, seen by a communication hook, in each of {steps} steps; k times their mean is its cycle. "
    "|S| and |F| are the bytes of the slow and the fast parameters; buffers are exchanged by neither. Times are of "
    "one cycle each, with DDP's median step: on one machine messages travel through memory, so they tell more of the "
    "saved backward passes than of a network."
)

Found = Mapping[str, Any]


def measure(quick: bool) -> Result:
    """Measure every network in two processes of its own."""
    names = ["mobilenet_v2"] if quick else list(BATCH_SIZES)
    periods = PERIODS[:2] if quick else PERIODS
    found = {}
    for name in names:
        run.say(NETWORKS[name].title)
        found[name] = _in_processes({"network": name, "batch_size": BATCH_SIZES[name], "periods": periods})
    figures = [figure for name, each in found.items() for figure in _figures(NETWORKS[name].title, each[0])]
    off = [figure.value for figure in figures if figure.name.endswith("_off_percent")]
    summary = Figure("off_percent", "off the formula, all networks, partitions and k", "%", off, WITHIN_PERCENT)
    batches = {NETWORKS[name].title: [BATCH_SIZES[name], NETWORKS[name].edge or "64 tokens"] for name in names}
    settings = {"ranks": RANKS, "backend": "gloo", "threads_per_rank": 1, "batch_and_size": batches}
    about = ABOUT.format(ranks=RANKS, steps=len(found[names[0]][0]["ddp"]["bytes"]))
    return Result("ddp_bytes", about, [summary, *figures], [_same_on_all_ranks(found)], settings, found)


def formula(slow: float, fast: float, k: int) -> float:
    """Return the share of DDP's bytes that a cycle sends: (|S| + k|F|) / (k(|S| + |F|))."""
    return (slow + k * fast) / (k * (slow + fast))


def _figures(title: str, found: Found) -> list[Figure]:
    """Return share, distance from the formula, and time ratio of every partition and period of one network."""
    ddp_bytes, ddp_s = statistics.fmean(found["ddp"]["bytes"]), statistics.median(found["ddp"]["seconds"])
    figures = []
    for partition, each in found["cycles"].items():
        for k, cycle in each["cycle"].items():
            share = sum(cycle["bytes"]) / (int(k) * ddp_bytes)
            expected = formula(each["slow_bytes"], each["fast_bytes"], int(k))
            label = f"{title}, {partition}, k = {k}"
            key = label.lower().replace(", ", "_").replace(" = ", "").replace(" + ", "_and_").replace(" ", "_")
            off = 100 * abs(share / expected - 1)
            ratio = sum(cycle["seconds"]) / int(k) / ddp_s
            figures += [
                Figure(f"{key}_share", f"{label}: bytes / DDP's", "", [share]),
                Figure(f"{key}_off_percent", f"{label}: off the formula", "%", [off], WITHIN_PERCENT),
                Figure(f"{key}_time", f"{label}: time of a step / DDP's", "", [ratio]),
            ]
    return figures


def _same_on_all_ranks(found: Mapping[str, Sequence[Found]]) -> Check:
    """Return the check that all ranks sent equally much and that each fast step sent the fast part only."""
    counts = [[_counts(rank) for rank in ranks] for ranks in found.values()]
    same = all(rank == ranks[0] for ranks in counts for rank in ranks)
    excess = [
        100 * (max(cycle["bytes"][1:]) / each["fast_bytes"] - 1)
        for ranks in found.values()
        for each in ranks[0]["cycles"].values()
        for cycle in each["cycle"].values()
    ]
    because = f"the same bytes on all {RANKS} ranks, a fast step at most {max(excess):.2f} % above the fast part"
    return Check("fast_steps", "A fast step sends the fast part only", same and max(excess) < 1.0, because)


def _counts(rank: Found) -> list[Any]:
    cycles = [cycle["bytes"] for each in rank["cycles"].values() for cycle in each["cycle"].values()]
    return [rank["ddp"]["bytes"], *cycles]


def _in_processes(request: Mapping[str, Any]) -> list[Found]:
    """Run all ranks and return what each found; RuntimeError if one fails or hangs."""
    with tempfile.TemporaryDirectory(prefix="multirate-ranks-") as folder:
        logs = [Path(folder, f"{rank}.json") for rank in range(RANKS)]
        ranks = [_start(rank, log, Path(folder, "rendezvous"), request) for rank, log in enumerate(logs)]
        try:
            codes = [rank.wait(TIMEOUT_S) for rank in ranks]
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"the ranks hang: {error}") from error
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        if any(codes):
            raise RuntimeError(f"the ranks ended with exit codes {codes}")
        return [json.loads(log.read_text(encoding="utf-8").splitlines()[-1]) for log in logs]


def _start(rank: int, log: Path, rendezvous: Path, request: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    words = [str(rank), str(RANKS), str(rendezvous), json.dumps(request)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with log.open("wb") as out:
        command = [sys.executable, "-m", "benchmarks.ddp_ranks", *words]
        return subprocess.Popen(command, cwd=ROOT, stdout=out, env=environment)


if __name__ == "__main__":
    sys.exit(run.main(measure, "ddp_bytes"))
