"""Cases of data-parallel training about what is sent and when, what stays each rank's own, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from rank_steps import (
    TIMEOUT,
    Batch,
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
    weights,
)
from torch import Tensor, nn

from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.optim import MultirateSGD


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


@case
def logging_between_steps() -> dict[str, Any]:
    """All gradients are wanted between steps on all ranks, and once backward ends with an error.

    By then rank 0 has sent the head's gradients; the others learn too late that all agree, and have cleared theirs.
    """
    model, alone, data = net(), net(), batches(8)
    optimizer = MultirateSGD(groups(model, [1, 4]), lr=0.05, momentum=0.9)
    optimizer_alone = MultirateSGD(groups(alone, [1, 4]), lr=0.05, momentum=0.9)
    parallel = MultirateDataParallel(model, optimizer, bucket_mb=1e-6)
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
            learn = wait_for_agreement if dist.get_rank() == 0 else learn_late
            break_backward(model, mine(batch), partial(learn, parallel))
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


class Late:
    """An agreement that seems to take until somebody waits for it."""

    def __init__(self, work: dist.Work) -> None:
        self.wait = work.wait

    def is_completed(self) -> bool:
        return False


def learn_late(parallel: MultirateDataParallel) -> None:
    parallel._exchange._agreement = Late(parallel._exchange._agreement)


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
