"""One exchange of gradients between ranks: every bucket is sent as soon as it is complete, in one order everywhere."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from multirate_core.errors import ConfigError

FIRST_BUCKET_BYTES = 1 << 20  # small, so that the exchange starts early in the backward pass


@dataclass(frozen=True)
class Plan:
    """What is sent when a certain set of parameters is trained.

    Args:
        buckets: the parameters of each message, in the order in which messages are sent.
        place: parameter -> index of its bucket.
        digest: a number that two ranks share only if they train the same set.
    """

    buckets: tuple[tuple[Tensor, ...], ...]
    place: dict[Tensor, int]
    digest: int


def make_plan(ordered: Sequence[Tensor], trained: bytes, bucket_bytes: int) -> Plan:
    """Return the plan for one set of trained parameters.

    Args:
        ordered: all parameters, in the order in which backward is expected to reach them.
        trained: one byte per parameter, 1 if it is trained.
        bucket_bytes: size that closes a bucket; the first one is closed at a megabyte already.
    """
    chosen = [weight for weight, flag in zip(ordered, trained, strict=True) if flag]
    buckets = pack(chosen, min(FIRST_BUCKET_BYTES, bucket_bytes), bucket_bytes)
    place = {weight: i for i, bucket in enumerate(buckets) for weight in bucket}
    return Plan(buckets, place, zlib.crc32(trained))


def pack(tensors: Sequence[Tensor], first_bytes: int, bucket_bytes: int) -> tuple[tuple[Tensor, ...], ...]:
    """Split tensors into buckets of one dtype and device each, closed as soon as they reach their size."""
    closed: list[tuple[Tensor, ...]] = []
    open_buckets: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kind = (tensor.dtype, tensor.device)
        bucket = open_buckets.setdefault(kind, [])
        bucket.append(tensor)
        if sum(each.nbytes for each in bucket) >= (bucket_bytes if closed else first_bytes):
            closed.append(tuple(open_buckets.pop(kind)))
    return (*closed, *(tuple(bucket) for bucket in open_buckets.values()))


def through_buckets(tensors: Sequence[Tensor], bucket_bytes: int, collective: Callable[[Tensor], object]) -> None:
    """Apply a collective operation to the values of all tensors, a flat bucket at a time, in place."""
    for bucket in pack(tensors, bucket_bytes, bucket_bytes):
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
        collective(flat)
        for tensor, part in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
            tensor.detach().copy_(part.view(tensor.shape))


class GradientExchange:
    """The exchange that belongs to one backward pass; made at its first gradient, finished at its end.

    First the ranks compare what they train, in a message of 16 bytes; backward goes on meanwhile. No bucket is sent
    before they agree: messages of different sizes would hang the ranks, or end their processes without a word.

    Args:
        plan: what is trained; must be the same on every rank.
        control: a group for messages of the CPU, apart from the gradients, so that reading them waits for no device.
        tell: says in a few words what this rank trains, for the error when ranks disagree.
    """

    def __init__(self, plan: Plan, control: dist.ProcessGroup, tell: Callable[[], str]) -> None:
        self._plan, self._control, self._tell = plan, control, tell
        self._missing = [len(bucket) for bucket in plan.buckets]
        self._local: dict[Tensor, Tensor | None] = {}  # complete gradients that are not sent yet
        self._sent: list[SentBucket] = []
        # The largest digest and, negated, the smallest: they are one number if and only if all ranks agree.
        self._digests = torch.tensor([plan.digest, -plan.digest])
        self._agreement = dist.all_reduce(self._digests, op=dist.ReduceOp.MAX, group=control, async_op=True)

    def arrived(self, weight: Tensor) -> None:
        """Note that the gradient of a parameter is complete, and send the buckets whose turn it is."""
        if weight in self._plan.place:
            self._local[weight] = weight.grad
            self._missing[self._plan.place[weight]] -= 1
            if self._agreement.is_completed() and self._agreed():
                self._send_complete()

    def finish(self) -> None:
        """Send what is left, and wait until every trained parameter holds the average of all ranks.

        Raises:
            ConfigError: the ranks do not train the same parameters at this step; no gradient has been sent then.
        """
        self._agreement.wait()
        if not self._agreed():
            raise ConfigError(self._disagreement())
        for bucket in self._plan.buckets[len(self._sent) :]:
            self._sent.append(SentBucket(bucket, [weight.grad for weight in bucket]))
        for sent in self._sent:
            sent.receive()

    def abandon(self) -> None:
        """End an exchange whose backward pass was not completed: what is complete is averaged, the rest is left alone.

        All messages are sent nevertheless, so that the ranks stay in step whatever each of them had sent before.
        """
        self._agreement.wait()
        if self._agreed():
            self._send_complete()
            for bucket in self._plan.buckets[len(self._sent) :]:
                self._sent.append(SentBucket(bucket, [None] * len(bucket)))
            for sent in self._sent:
                sent.wait()

    def holds(self, weight: Tensor) -> bool:
        """Tell whether the gradient that a parameter has now is on its way, so that nothing may be added to it."""
        i = self._plan.place.get(weight, len(self._sent))
        return i < len(self._sent) and any(weight.grad is mean for mean in self._sent[i].means)

    def _send_complete(self) -> None:
        while len(self._sent) < len(self._missing) and self._missing[len(self._sent)] == 0:
            bucket = self._plan.buckets[len(self._sent)]
            self._sent.append(SentBucket(bucket, [self._local.pop(weight) for weight in bucket]))

    def _agreed(self) -> bool:
        return self._digests[0].item() == -self._digests[1].item()

    def _disagreement(self) -> str:
        """Return the error's text; every rank comes here at the same exchange, so they can tell each other."""
        told: list[str] = [""] * dist.get_world_size()
        dist.all_gather_object(told, self._tell(), group=self._control)
        listed = "; ".join(f"rank {rank}: {words}" for rank, words in enumerate(told))
        return (
            f"the ranks do not train the same parameters at this step: {listed}. Every rank needs the same place in "
            "the cycle: load the same optimiser state, and change periods and frozen parameters on all ranks alike."
        )


class SentBucket:
    """The gradients of one bucket on their way: one all-reduce of their mean, with a mark for each that is there.

    The means are views of the message and take the place of the gradients, so there is no second copy of them.

    Args:
        weights: the parameters.
        gradients: what this rank has for each of them, None for nothing.
    """

    def __init__(self, weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        sizes = [weight.numel() for weight in weights]
        message = torch.empty(sum(sizes) + len(sizes), dtype=weights[0].dtype, device=weights[0].device)
        *parts, self._marks = torch.split(message, [*sizes, len(sizes)])
        self._weights, self._here = weights, [gradient is not None for gradient in gradients]
        self.means = [shaped_like(weight, part) for weight, part in zip(weights, parts, strict=True)]
        with torch.no_grad():
            for weight, gradient, mean in zip(weights, gradients, self.means, strict=True):
                _put(weight, gradient, mean)
            self._marks.fill_(1)
            for i, here in enumerate(self._here):
                if not here:
                    self._marks[i] = 0
        self._work = dist.all_reduce(message, async_op=True)

    def wait(self) -> None:
        """Wait for the message."""
        self._work.wait()

    def receive(self) -> None:
        """Wait for the message; a parameter without a gradient here gets the mean if another rank had one."""
        self.wait()
        if not all(self._here):
            marks = self._marks.tolist()
            for i, weight in enumerate(self._weights):
                if not self._here[i] and marks[i] > 0:
                    weight.grad = self.means[i]


def _put(weight: Tensor, gradient: Tensor | None, mean: Tensor) -> None:
    """Write this rank's share of a mean; divided before the sum, so that half precision does not overflow."""
    if gradient is None:
        mean.zero_()
        return
    if gradient.layout != torch.strided:
        raise ConfigError(
            f"a gradient of shape {tuple(gradient.shape)} is sparse; MultirateDataParallel takes dense gradients. "
            "Build the layer with sparse=False."
        )
    torch.mul(gradient, 1 / dist.get_world_size(), out=mean)
    if weight.grad is gradient:  # else the caller has cleared it since
        weight.grad = mean


def shaped_like(weight: Tensor, part: Tensor) -> Tensor:
    """Return a view of a flat part in the shape of a parameter, and in its memory format if that has no gaps."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(weight.shape, weight.stride(), strict=True))
    if weight.numel() and extent == weight.numel():
        return part.as_strided(weight.shape, weight.stride(), part.storage_offset())
    return part.view(weight.shape)
