"""One rank of `ddp_bytes`: counts every message of a few steps of DDP and of cycles of ours, and times the steps."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.networks import NETWORKS, Network
from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.optim import MultirateSGD

PARTITIONS = ("head", "block + head")
OPTIONS = {"lr": 1e-4, "momentum": 0.9}
DDP_STEPS, WARM_UP = 6, 2  # DDP arranges its buckets anew after the first step
TIMEOUT = timedelta(seconds=120)

Batch = tuple[Tensor, Tensor]


def main(rank: int, world_size: int, rendezvous: str, request: dict[str, Any]) -> dict[str, Any]:
    """Measure one network with every partition and period of the request.

    Args:
        rank: of this process.
        world_size: number of processes.
        rendezvous: a file that all ranks find each other by.
        request: "network", "batch_size" and "periods".

    Returns:
        bytes and seconds of DDP's steps, and of every cycle.
    """
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size, timeout=TIMEOUT
    )
    network = NETWORKS[request["network"]]
    torch.manual_seed(0)
    model = network.build()
    torch.manual_seed(rank)
    batch = network.batch(request["batch_size"])
    found = {"ddp": _ddp(model, batch), "cycles": {}}
    for partition in PARTITIONS:
        optimizer = MultirateSGD(groups(model, network, partition), **OPTIONS)
        parallel = MultirateDataParallel(model, optimizer)
        parts = [sum(weight.nbytes for weight in group["params"]) for group in optimizer.param_groups]
        cycles = {k: _cycle(model, optimizer, batch, k) for k in request["periods"]}
        found["cycles"][partition] = {"fast_bytes": parts[0], "slow_bytes": parts[1], "cycle": cycles}
        parallel.remove()
        optimizer.release()
    dist.destroy_process_group()
    return found


def groups(model: nn.Module, network: Network, partition: str) -> list[dict[str, Any]]:
    """Return the fast and the slow group of a partition."""
    names = network.fast_names(partition)
    fast = [weight for name, weight in model.named_parameters() if name.startswith(names)]
    slow = [weight for name, weight in model.named_parameters() if not name.startswith(names)]
    return [{"params": fast, "name": "fast", "period": 1}, {"params": slow, "name": "slow", "period": 2}]


def _ddp(model: nn.Module, batch: Batch) -> dict[str, list[float]]:
    """Return bytes and seconds of each step of torch's own wrapper, its buckets counted by a communication hook."""
    sizes: list[int] = []
    wrapped = nn.parallel.DistributedDataParallel(model)
    wrapped.register_comm_hook(sizes, _counting_hook)
    optimizer = torch.optim.SGD(model.parameters(), **OPTIONS)
    steps = [_step(wrapped, optimizer, batch, sizes) for _ in range(DDP_STEPS)]
    return {"bytes": [size for size, _ in steps], "seconds": [seconds for _, seconds in steps[WARM_UP:]]}


def _counting_hook(sizes, bucket):  # type: ignore[no-untyped-def]  # DDP compares annotations as objects, not as texts
    """Count a bucket and average it as DDP does by itself."""
    flat = bucket.buffer()
    sizes.append(flat.nbytes)
    sent = dist.all_reduce(flat.div_(dist.get_world_size()), async_op=True).get_future()
    return sent.then(lambda done: done.value()[0])


def _cycle(model: nn.Module, optimizer: MultirateSGD, batch: Batch, k: int) -> dict[str, list[float]]:
    """Return bytes and seconds of each of the k steps of a cycle, the full one first."""
    with _counted() as sizes:
        optimizer.set_periods({"slow": k})
        optimizer.zero_grad()  # plans with the new period
        while "slow" not in optimizer.due_groups:  # the rest of the cycle before
            _step(model, optimizer, batch, sizes)
        steps = [_step(model, optimizer, batch, sizes) for _ in range(k)]
    return {"bytes": [size for size, _ in steps], "seconds": [seconds for _, seconds in steps]}


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Collect the bytes of every message that is reduced over the ranks, the wrapper's own agreement too."""
    sizes: list[int] = []
    real = dist.all_reduce

    def all_reduce(tensor: Tensor, *args: Any, **options: Any) -> Any:
        sizes.append(tensor.nbytes)
        return real(tensor, *args, **options)

    dist.all_reduce = all_reduce
    try:
        yield sizes
    finally:
        dist.all_reduce = real


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, sizes: list[int]) -> tuple[int, float]:
    """Take one step of an ordinary loop; return the bytes that it sent and its seconds."""
    sizes.clear()
    dist.barrier()
    begun = time.perf_counter()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    return sum(sizes), time.perf_counter() - begun


if __name__ == "__main__":
    result = main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
    print(json.dumps(result), flush=True)
