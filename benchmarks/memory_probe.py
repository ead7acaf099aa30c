"""Trains one network for a few steps in a process of its own and prints how much memory that took, as one JSON line.

`python -m benchmarks.memory_probe '{"network": "resnet50", "edge": 224, "batch": 4, "variant": "lean", "keep": 0.0}'`
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.networks import NETWORKS, Network
from multirate_core.cost.peaks import peak_bytes
from multirate_core.lean import make_lean
from multirate_core.machine import default_threads
from multirate_core.optim import MultirateSGD

K = 5
OPTIONS = {"lr": 1e-4, "momentum": 0.9}
MIB = 2**20
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Probe:
    """What to train and what to count.

    Args:
        network: a key of NETWORKS.
        edge: of the images in pixels.
        batch: images per step.
        variant: "sgd", "multirate" or "lean".
        keep: of `make_lean`.
        count: "process": peak of resident memory; "tensors": bytes that autograd saves, and the peak of live tensors.
    """

    network: str
    edge: int
    batch: int
    variant: str
    keep: float = 0.0
    count: str = "process"


def build(probe: Probe) -> tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]]:
    """Return the model, its optimiser with the head as fast part, and a batch."""
    torch.manual_seed(0)
    network: Network = replace(NETWORKS[probe.network], edge=probe.edge)
    model = network.build().train().to(DEVICE)
    images, labels = network.batch(probe.batch)
    batch = images.to(DEVICE), labels.to(DEVICE)
    if probe.variant == "sgd":
        return model, torch.optim.SGD(model.parameters(), foreach=True, **OPTIONS), batch
    head = {name: weight for name, weight in model.named_parameters() if name.startswith(network.head)}
    slow = [weight for name, weight in model.named_parameters() if name not in head]
    groups = [{"params": [*head.values()], "name": "fast"}, {"params": slow, "name": "slow", "period": K}]
    optimizer = MultirateSGD(groups, **OPTIONS)
    if probe.variant == "lean":
        make_lean(model, optimizer, keep=probe.keep)
    return model, optimizer, batch


def start_cycle(optimizer: torch.optim.Optimizer) -> None:
    """Make the slow group due at the next step, whatever came before; plain SGD is always at the start of a cycle."""
    for group in optimizer.param_groups:
        if group.get("period", 1) > 1:
            group["steps_since_refresh"] = group["period"]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
    """Take one step of an ordinary loop."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()


def process_peak(probe: Probe) -> dict[str, float]:
    """Return the peak of the process over two full steps, above what it took when idle, in MiB.

    The high-water mark is the kernel's for this very process. (`ru_maxrss` would not do: it starts at the size of the
    process that started this one.) On a GPU it is CUDA's counter of allocated bytes.
    """
    before = _resident()
    model, optimizer, batch = build(probe)
    for _ in range(2):
        start_cycle(optimizer)
        step(model, optimizer, batch)
    if DEVICE.type == "cuda":
        return {"process_mib": torch.cuda.max_memory_allocated() / MIB}
    after = _resident()
    return {"process_mib": (after["VmHWM"] - before["VmRSS"]) / 1024, "idle_mib": before["VmRSS"] / 1024}


def _resident() -> dict[str, int]:
    """Return resident memory now and at its peak, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = (line.split() for line in lines if line.startswith(("VmHWM", "VmRSS")))
    return {name.rstrip(":"): int(size) for name, size, _ in fields}


def tensor_bytes(probe: Probe) -> dict[str, float]:
    """Return MiB saved by autograd in the second full step, and the peak of all live tensors, parameters included."""
    counted: dict[int, int] = {}

    def train() -> None:
        model, optimizer, batch = build(probe)
        step(model, optimizer, batch)
        start_cycle(optimizer)
        optimizer.zero_grad()
        with _watch_saved(model) as saved:
            loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        counted.update(saved)
        loss.backward()
        optimizer.step()

    peak = peak_bytes(DEVICE, train) or 0
    return {"saved_mib": sum(counted.values()) / MIB, "tensors_mib": peak / MIB}


@contextmanager
def _watch_saved(model: nn.Module) -> Iterator[dict[int, int]]:
    """Yield the bytes of every storage that autograd saves, parameters aside; the graph keeps all of them alive."""
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def main() -> int:
    """Count for the probe in the only argument."""
    torch.set_num_threads(default_threads())  # how many hardly matters to memory
    probe = Probe(**json.loads(sys.argv[1]))
    found = process_peak(probe) if probe.count == "process" else tensor_bytes(probe)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
