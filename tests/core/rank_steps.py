"""What the cases of data-parallel training share: networks, batches, steps, and the list of cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateSGD

PER_RANK = 4  # samples of a batch that one rank gets
TIMEOUT = timedelta(seconds=20)

Case = Callable[[], dict[str, Any]]
Batch = tuple[Tensor, Tensor]
CASES: dict[str, Case] = {}  # by name; two files add theirs


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def net(seed: int = 0, width: int = 8, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3)]
    return nn.Sequential(*layers).to(dtype)


def groups(model: nn.Sequential, periods: Sequence[int]) -> list[dict[str, Any]]:
    """The last layer with parameters gets the first period, the one before it the second, all others the last."""
    layers = [layer for layer in model if list(layer.parameters())][::-1]
    made: list[dict[str, Any]] = [{"params": [], "name": f"part {i}", "period": k} for i, k in enumerate(periods)]
    for i, layer in enumerate(layers):
        made[min(i, len(periods) - 1)]["params"] += list(layer.parameters())
    return made


def batches(count: int, dtype: torch.dtype = torch.float64) -> list[Batch]:
    """Joined batches: all ranks' samples, rank 0's first."""
    random = torch.Generator().manual_seed(1)
    total = PER_RANK * dist.get_world_size()
    return [
        (torch.randn(total, 6, generator=random).to(dtype), torch.randint(3, (total,), generator=random))
        for _ in range(count)
    ]


def mine(joined: Batch) -> Batch:
    x, y = joined
    rank = dist.get_rank()
    return x[rank * PER_RANK : (rank + 1) * PER_RANK], y[rank * PER_RANK : (rank + 1) * PER_RANK]


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Sequence[Batch]) -> None:
    for batch in data:
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()


def weights(model: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


def compared(model: nn.Module, alone: nn.Module) -> dict[str, Any]:
    """This rank's weights, and their largest difference from those of one process on the joined batches."""
    pairs = zip(model.parameters(), alone.parameters(), strict=True)
    return {"weights": weights(model), "error": max((a - b).abs().max().item() for a, b in pairs)}


def against_one_process(
    periods: Sequence[int], steps: int, bucket_mb: float = 25.0, kind: type[Any] = MultirateSGD, **options: Any
) -> dict[str, Any]:
    """Train in parallel, from different weights on every rank, and alone on the joined batches."""
    model, alone = net(seed=dist.get_rank()), net()
    optimizer = kind(groups(model, periods), **options)
    MultirateDataParallel(model, optimizer, bucket_mb=bucket_mb)
    data = batches(steps)
    train(model, optimizer, [mine(batch) for batch in data])
    train(alone, kind(groups(alone, periods), **options), data)
    return compared(model, alone)


@contextmanager
def counted() -> Iterator[list[int]]:
    """Collect the bytes of every message that is reduced over the ranks."""
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


def refusal(function: Callable[[], object]) -> str:
    try:
        function()
    except ConfigError as error:
        return str(error)
    return ""
