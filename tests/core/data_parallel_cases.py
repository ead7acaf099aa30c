"""What every rank does in the tests of data-parallel training: one function per case, run as a script.

Each returns plain numbers, texts and tensors, that the tests compare between ranks and with one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateAdamW, MultirateSGD

PER_RANK = 4  # samples of a batch that one rank gets
TIMEOUT = timedelta(seconds=20)

Case = Callable[[], dict[str, Any]]
Batch = tuple[Tensor, Tensor]
CASES: dict[str, Case] = {}


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


@case
def drift() -> dict[str, Any]:
    return against_one_process([1, 4], 13, lr=0.05, momentum=0.9, weight_decay=0.01, drift=True)


@case
def no_drift() -> dict[str, Any]:
    return against_one_process([1, 4], 13, lr=0.05, momentum=0.9, weight_decay=0.01, drift=False)


@case
def no_momentum() -> dict[str, Any]:
    return against_one_process([1, 3], 10, lr=0.05)


@case
def three_groups() -> dict[str, Any]:
    return against_one_process([1, 2, 6], 19, lr=0.05, momentum=0.9)


@case
def a_bucket_for_each_tensor() -> dict[str, Any]:
    return against_one_process([1, 2, 6], 13, bucket_mb=1e-6, lr=0.05, momentum=0.9)


@case
def adamw() -> dict[str, Any]:
    return against_one_process([1, 4], 13, kind=MultirateAdamW, lr=0.01)


@case
def accumulation() -> dict[str, Any]:
    """Two micro-batches per step; one process sees both at once."""
    model, alone = net(), net()
    optimizer = MultirateSGD(groups(model, [1, 3]), lr=0.05, momentum=0.9)
    parallel = MultirateDataParallel(model, optimizer)
    data = batches(14)
    with counted() as inside:
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            before = len(inside)
            with parallel.no_sync():
                (loss_of(model, mine(first)) / 2).backward()
            assert len(inside) == before
            (loss_of(model, mine(second)) / 2).backward()
            optimizer.step()
    joined = [(torch.cat([x, x2]), torch.cat([y, y2])) for (x, y), (x2, y2) in zip(data[::2], data[1::2], strict=True)]
    train(alone, MultirateSGD(groups(alone, [1, 3]), lr=0.05, momentum=0.9), joined)
    return compared(model, alone)


@case
def accumulation_that_step_ends() -> dict[str, Any]:
    """Every backward is inside no_sync(): the optimiser's step exchanges the sums."""
    model, alone = net(), net()
    optimizer = MultirateSGD(groups(model, [1, 2]), lr=0.05)
    parallel = MultirateDataParallel(model, optimizer)
    data = batches(5)
    for batch in data:
        optimizer.zero_grad()
        with parallel.no_sync():
            loss_of(model, mine(batch)).backward()
        optimizer.step()
    train(alone, MultirateSGD(groups(alone, [1, 2]), lr=0.05), data)
    return compared(model, alone)


class Branches(nn.Module):
    """A body, two branches of which a call takes one, one that is never taken, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(6, 6)
        self.branches = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.head = nn.Linear(6, 3)
        self.double()

    def forward(self, x: Tensor, branch: int) -> Tensor:
        return self.head(torch.tanh(self.branches[branch](torch.tanh(self.body(x)))))

    def optimizer(self) -> MultirateSGD:
        slow = {"params": [*self.body.parameters(), *self.branches.parameters()], "name": "slow", "period": 2}
        return MultirateSGD(
            [slow, {"params": self.head.parameters(), "name": "fast"}], lr=0.1, momentum=0.9, weight_decay=0.1
        )


def branch_loss(model: Branches, batch: Batch, branch: int) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0], branch), batch[1])


@case
def branches() -> dict[str, Any]:
    """Rank 0 takes the first branch, the others the second; every fourth batch all but rank 0 have no loss at all."""
    model, alone = Branches(), Branches()
    rank, world = dist.get_rank(), dist.get_world_size()
    optimizer, optimizer_alone = model.optimizer(), alone.optimizer()
    MultirateDataParallel(model, optimizer, bucket_mb=1e-4)
    gradients: list[list[bool]] = []
    optimizer.register_step_pre_hook(lambda *_: gradients.append([w.grad is not None for w in model.parameters()]))
    for i, joined in enumerate(batches(9)):
        idle = i % 4 == 3
        optimizer.zero_grad()
        if rank == 0 or not idle:
            branch_loss(model, mine(joined), min(rank, 1)).backward()
        optimizer.step()
        parts = [(joined[0].split(PER_RANK)[r], joined[1].split(PER_RANK)[r]) for r in range(world)]
        losses = [branch_loss(alone, part, min(r, 1)) / world for r, part in enumerate(parts) if r == 0 or not idle]
        optimizer_alone.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer_alone.step()
    unused = zip(model.branches[2].parameters(), Branches().branches[2].parameters(), strict=True)
    return {**compared(model, alone), "unused": all(torch.equal(a, b) for a, b in unused), "gradients": gradients}


@case
def clipping() -> dict[str, Any]:
    model, alone = net(), net()
    optimizer = MultirateSGD(groups(model, [1, 3]), lr=0.1, momentum=0.9)
    optimizer_alone = MultirateSGD(groups(alone, [1, 3]), lr=0.1, momentum=0.9)
    MultirateDataParallel(model, optimizer)
    norms = []
    for batch in batches(8):
        for network, chosen, part in ((model, optimizer, mine(batch)), (alone, optimizer_alone, batch)):
            chosen.zero_grad()
            loss_of(network, part).backward()
            norms.append(nn.utils.clip_grad_norm_(network.parameters(), 0.1).item())
            chosen.step()
    return {**compared(model, alone), "norms": norms}


@case
def overflow_on_one_rank() -> dict[str, Any]:
    """With a gradient scaler: the last rank's third batch (a full step) is infinite."""
    model = net(dtype=torch.float32)
    optimizer = MultirateSGD(groups(model, [1, 2]), lr=0.1)
    MultirateDataParallel(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
    seen = []
    for i, batch in enumerate(batches(6, torch.float32)):
        x, y = mine(batch)
        if i == 2 and dist.get_rank() == dist.get_world_size() - 1:
            x = x * torch.inf
        optimizer.zero_grad()
        before, due = weights(model), optimizer.due_groups
        scaler.scale(loss_of(model, (x, y))).backward()
        scaler.step(optimizer)
        scaler.update()
        moved = any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        seen.append((due, moved, scaler.get_scale()))
    return {"weights": weights(model), "seen": seen}


class Tied(nn.Module):
    """Two layers with one weight, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))

    def optimizer(self) -> MultirateSGD:
        body = {weight for name, weight in self.named_parameters() if not name.startswith("head")}
        ordered = [weight for weight in self.parameters() if weight in body]
        return MultirateSGD([{"params": self.head.parameters()}, {"params": ordered, "period": 3}], lr=0.1)


@case
def tied_weights_and_closure() -> dict[str, Any]:
    model, alone = Tied(), Tied()
    optimizer, data = model.optimizer(), batches(7)
    MultirateDataParallel(model, optimizer)
    for batch in data:

        def closure(batch: Batch = batch) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model, mine(batch))
            loss.backward()
            return loss

        optimizer.step(closure)
    train(alone, alone.optimizer(), data)
    return compared(model, alone)


class Recomputed(nn.Module):
    """Its body runs under activation checkpointing of either kind."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.body, self.head, self.use_reentrant = net(), nn.Linear(3, 3, dtype=torch.float64), use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        x.requires_grad_(True)  # the reentrant kind needs an input with a gradient
        halves = self.body[:3], self.body[3:]
        for half in halves:
            x = checkpoint(half, x, use_reentrant=self.use_reentrant)
        return self.head(x)

    def optimizer(self) -> MultirateSGD:
        return MultirateSGD([{"params": self.head.parameters()}, {"params": self.body.parameters(), "period": 3}], 0.1)


def recomputed(use_reentrant: bool) -> dict[str, Any]:
    model, alone, data = Recomputed(use_reentrant), Recomputed(use_reentrant), batches(7)
    alone.load_state_dict(model.state_dict())
    optimizer = model.optimizer()
    MultirateDataParallel(model, optimizer, bucket_mb=1e-6)
    alone.load_state_dict(model.state_dict())
    train(model, optimizer, [mine(batch) for batch in data])
    train(alone, alone.optimizer(), data)
    return compared(model, alone)


@case
def checkpointing() -> dict[str, Any]:
    return recomputed(use_reentrant=False)


@case
def reentrant_checkpointing() -> dict[str, Any]:
    return recomputed(use_reentrant=True)


@case
def logging_between_steps() -> dict[str, Any]:
    """All gradients are wanted between steps on all ranks, and once backward ends with an error."""
    model, alone, data = net(), net(), batches(8)
    optimizer = MultirateSGD(groups(model, [1, 4]), lr=0.05, momentum=0.9)
    optimizer_alone = MultirateSGD(groups(alone, [1, 4]), lr=0.05, momentum=0.9)
    MultirateDataParallel(model, optimizer, bucket_mb=1e-6)
    norms = []
    for i, batch in enumerate(data):
        train(model, optimizer, [mine(batch)])
        train(alone, optimizer_alone, [batch])
        for network, chosen, part in ((model, optimizer, mine(batch)), (alone, optimizer_alone, batch)):
            chosen.zero_grad()
            with chosen.all_gradients():
                loss_of(network, part).backward()
                norms.append(torch.stack([weight.grad.norm() for weight in network.parameters()]).sum().item())
            chosen.zero_grad()
        if i == 3:
            optimizer.zero_grad()
            break_backward(model, mine(batch))
    return {**compared(model, alone), "norms": norms}


def break_backward(model: nn.Sequential, batch: Batch, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Let backward fail behind the second layer; `meanwhile` is called between the head and that layer."""

    def broken(_: Tensor) -> None:
        raise ArithmeticError("broken on purpose")

    hidden = model[:2](batch[0])
    hidden.register_hook(broken)
    later = model[2:4](hidden)
    later.register_hook(lambda _: meanwhile())
    with suppress(ArithmeticError):
        nn.functional.cross_entropy(model[4](later), batch[1]).backward()


def wait_for_agreement(parallel: MultirateDataParallel) -> None:
    """Wait until the ranks know that they agree: from then on complete buckets are sent."""
    end = time.monotonic() + TIMEOUT.total_seconds()
    while not parallel._exchange._agreement.is_completed() and time.monotonic() < end:
        time.sleep(0.001)


@case
def gradients_are_not_cleared() -> dict[str, Any]:
    """Backward failed and the next one would add to gradients that are on their way."""
    model, data = net(), [mine(batch) for batch in batches(3)]
    optimizer = MultirateSGD(groups(model, [1, 2]), lr=0.1)
    parallel = MultirateDataParallel(model, optimizer, bucket_mb=1e-6)
    break_backward(model, data[0], lambda: wait_for_agreement(parallel))
    refused = refusal(lambda: loss_of(model, data[1]).backward())
    train(model, optimizer, data[2:])
    return {"refused": refused, "weights": weights(model)}


@case
def sent_while_backward_goes_on() -> dict[str, Any]:
    """How many messages were under way when the gradient had come to the first layer."""
    model, batch = net(), mine(batches(1)[0])
    parallel = MultirateDataParallel(model, MultirateSGD(groups(model, [1, 2]), lr=0.1), bucket_mb=1e-6)
    seen = []
    with counted() as sent:
        hidden = model[:2](batch[0])
        hidden.register_hook(lambda _: seen.append(len(sent)))
        later = model[2:4](hidden)
        later.register_hook(lambda _: wait_for_agreement(parallel))
        nn.functional.cross_entropy(model[4](later), batch[1]).backward()
    return {"before the first layer": seen[0], "in all": len(sent)}


@case
def a_group_is_added() -> dict[str, Any]:
    """A new layer is drawn differently on every rank and joins after four steps."""
    model, alone, data = net(), net(), batches(9)
    optimizer = MultirateSGD(groups(model, [1, 3]), lr=0.05, momentum=0.9)
    optimizer_alone = MultirateSGD(groups(alone, [1, 3]), lr=0.05, momentum=0.9)
    parallel = MultirateDataParallel(model, optimizer)
    train(model, optimizer, [mine(batch) for batch in data[:4]])
    train(alone, optimizer_alone, data[:4])
    for network, chosen, seed in ((model, optimizer, dist.get_rank()), (alone, optimizer_alone, 0)):
        torch.manual_seed(seed)
        network.append(nn.Linear(3, 3, dtype=torch.float64))
        chosen.add_param_group({"params": network[-1].parameters(), "name": "new", "period": 2})
    refused = ""
    try:
        train(model, optimizer, [mine(data[4])])
    except ConfigError as error:
        refused = str(error)
    parallel.broadcast()
    train(model, optimizer, [mine(batch) for batch in data[4:]])
    train(alone, optimizer_alone, data[4:])
    return {**compared(model, alone), "refused": refused}


@case
def frozen_later() -> dict[str, Any]:
    """The first layer is frozen after two steps and thawed after six."""
    model, alone, data = net(), net(), batches(12)
    optimizer = MultirateSGD(groups(model, [1, 3]), lr=0.05, momentum=0.9)
    optimizer_alone = MultirateSGD(groups(alone, [1, 3]), lr=0.05, momentum=0.9)
    MultirateDataParallel(model, optimizer)
    sizes = []
    for i, batch in enumerate(data):
        for network, chosen, part in ((model, optimizer, mine(batch)), (alone, optimizer_alone, batch)):
            if i in (2, 6):
                (chosen.freeze if i == 2 else chosen.unfreeze)(network[0].parameters())
            with counted() as sent:
                train(network, chosen, [part])
            sizes += [sum(sent)] * (network is model)
    return {**compared(model, alone), "sizes": sizes}


@case
def batch_norm() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    optimizer = MultirateSGD(groups(model, [1, 2]), lr=0.1)
    parallel = MultirateDataParallel(model, optimizer)
    train(model, optimizer, [mine(batch) for batch in batches(5)])
    own = {name: value.clone() for name, value in model.named_buffers()}
    parallel.average_buffers()
    return {"weights": weights(model), "own": own, "averaged": dict(model.named_buffers())}


@case
def memory_formats_and_types() -> dict[str, Any]:
    """Channels-last convolutions, and a layer in half precision beside them."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3), nn.Linear(4, 4, dtype=torch.bfloat16)
    model = nn.Sequential(conv, norm).to(memory_format=torch.channels_last)
    optimizer = MultirateSGD([{"params": model.parameters()}], lr=0.1)
    MultirateDataParallel(model, optimizer)
    x = torch.full((2, 3, 5, 5), 1.0 + dist.get_rank())
    (conv(x).sum() + norm(x[0, 0, 0, :4].bfloat16()).sum().float()).backward()
    strides = [weight.grad.stride() == weight.stride() for weight in model.parameters()]
    return {"gradients": [weight.grad.clone() for weight in model.parameters()], "strides": strides}


@case
def bytes_on_the_wire() -> dict[str, Any]:
    """What a cycle of ours and of DDP's sends, every message counted."""
    k = 5
    model, data = net(width=256, dtype=torch.float32), batches(2 * k, torch.float32)
    optimizer = MultirateSGD(groups(model, [1, k]), lr=0.01)
    MultirateDataParallel(model, optimizer)
    steps = []
    for batch in data:
        with counted() as sent:
            train(model, optimizer, [mine(batch)])
        steps.append(sum(sent))
    theirs: list[int] = []
    wrapped = nn.parallel.DistributedDataParallel(net(width=256, dtype=torch.float32))
    wrapped.register_comm_hook(theirs, counting_hook)
    train(wrapped, torch.optim.SGD(wrapped.parameters(), lr=0.01), [mine(batch) for batch in data])
    fast = sum(weight.nbytes for weight in optimizer.param_groups[0]["params"])
    slow = sum(weight.nbytes for weight in optimizer.param_groups[1]["params"])
    return {"k": k, "steps": steps, "ddp": sum(theirs), "fast": fast, "slow": slow}


def counting_hook(sizes, bucket):  # type: ignore[no-untyped-def]  # DDP compares annotations as objects, not as texts
    sizes.append(bucket.buffer().nbytes)
    flat = bucket.buffer().div_(dist.get_world_size())
    sent = dist.all_reduce(flat, async_op=True).get_future()
    return sent.then(lambda done: done.value()[0])


@case
def no_hook_is_left() -> dict[str, Any]:
    model = net(seed=dist.get_rank())
    optimizer = MultirateSGD(groups(model, [1, 2]), lr=0.1)
    MultirateDataParallel(model, optimizer).remove()
    with counted() as sent:
        train(model, optimizer, [mine(batch) for batch in batches(3)])
    return {"sent": len(sent), "own": weights(model)}


@case
def other_shapes() -> dict[str, Any]:
    model = net(width=8 + dist.get_rank())
    return {"refused": refusal(lambda: MultirateDataParallel(model, MultirateSGD(groups(model, [1, 2]), lr=0.1)))}


@case
def other_place_in_the_cycle() -> dict[str, Any]:
    """The last rank resumes one step further than the others."""
    model = net()
    optimizer = MultirateSGD(groups(model, [1, 3]), lr=0.1)
    train(model, optimizer, batches(2 if dist.get_rank() == dist.get_world_size() - 1 else 1))
    return {"refused": refusal(lambda: MultirateDataParallel(model, optimizer))}


@case
def ranks_drift_apart() -> dict[str, Any]:
    """The last rank has another period from the second step on. Leaves the process group unusable: the last case."""
    model = net()
    optimizer = MultirateSGD(groups(model, [1, 4]), lr=0.1)
    MultirateDataParallel(model, optimizer)
    data = [mine(batch) for batch in batches(8)]
    train(model, optimizer, data[:1])
    if dist.get_rank() == dist.get_world_size() - 1:
        optimizer.param_groups[1]["period"] = 3
    done = []

    def go_on() -> None:
        for batch in data[1:]:
            train(model, optimizer, [batch])
            done.append(True)

    return {"refused": refusal(go_on), "steps": len(done)}


def refusal(function: Callable[[], object]) -> str:
    try:
        function()
    except ConfigError as error:
        return str(error)
    return ""


def main(folder: Path, world_size: int, rank: int, names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    found = {}
    for name in names:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=world_size, timeout=TIMEOUT
        )
        print(f"--- {name}", flush=True)
        found[name] = CASES[name]()
        dist.destroy_process_group()
    torch.save(found, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
