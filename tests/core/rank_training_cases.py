"""Cases of data-parallel training that end where one process on the joined batches ends."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from rank_steps import (
    PER_RANK,
    Batch,
    against_one_process,
    batches,
    case,
    compared,
    counted,
    groups,
    loss_of,
    mine,
    net,
    refusal,
    train,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.optim import MultirateAdamW, MultirateSGD


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
    refused = refusal(lambda: train(model, optimizer, [mine(data[4])]))
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
