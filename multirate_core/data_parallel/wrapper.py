"""Data-parallel multirate training: between ranks only the gradients of the groups that are due are exchanged.

Caveats first. Every rank must call backward and step equally often: give all the same number of batches
(`DistributedSampler` and `drop_last=True` do), or the others wait until the process group's timeout. Every rank counts
alike in the average, also one with a smaller batch. BatchNorm normalises over a rank's own batch and its running
statistics stay the rank's own: call `average_buffers()` before an evaluation or a checkpoint, or convert the model with
`torch.nn.SyncBatchNorm.convert_sync_batchnorm`. Of reentrant checkpointing (`use_reentrant=True`) every segment
exchanges all gradients again: the result is right, the traffic is not small.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable
from torch.utils.hooks import RemovableHandle

from multirate_core.checks import require_number
from multirate_core.data_parallel.checks import (
    describe,
    require_multirate,
    require_one_device,
    require_process_group,
    require_ranks_agree,
)
from multirate_core.data_parallel.exchange import GradientExchange, Plan, make_plan, through_buckets
from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateOptimizer

MAX_PLANS = 64  # sets of trained parameters for which the buckets are remembered


class MultirateDataParallel:
    """Makes an ordinary training loop with a multirate optimiser data-parallel; it need not be kept in a variable.

    When `backward()` returns, every gradient is the average over the ranks, so clipping and gradient scaling see
    averages. All trained parameters end up identical on all ranks. A parameter without a gradient on some ranks counts
    there as zero; without one on any rank it keeps none. Buckets are sent while backward goes on. Making one is a
    collective call: all ranks take weights and buffers of rank 0. The optimiser's state is not sent: when a training
    is resumed, load it on every rank.

    Args:
        model: the module with all parameters of the optimiser, on one device; it is not wrapped, call it as before.
        optimizer: MultirateSGD or another multirate optimiser.
        bucket_mb: megabytes (2^20 bytes) of gradients that are sent at once, > 0; the first bucket is at most 1.

    Raises:
        ConfigError: there is no process group, the optimiser is not a multirate one, or the ranks differ in
            parameters, groups or place in the cycle; in backward: the ranks do not train the same parameters.
        PartitionError: the model trains a parameter that the optimiser does not have, or the other way round.
    """

    def __init__(self, model: nn.Module, optimizer: MultirateOptimizer, *, bucket_mb: float = 25.0) -> None:
        require_process_group()
        require_multirate(optimizer)
        require_number("bucket_mb", bucket_mb, above=0.0)
        self._model, self._optimizer = model, optimizer
        self._bucket_bytes = int(bucket_mb * 2**20)
        self._parallel = dist.get_world_size() > 1
        self._ordered: list[Tensor] = []  # as backward is expected to reach them
        self._plans: dict[bytes, Plan] = {}
        self._hooks: dict[Tensor, RemovableHandle] = {}
        self._exchange: GradientExchange | None = None
        self._task = -1  # the autograd engine's number of the backward pass that the exchange belongs to
        self._synced = True  # False inside no_sync()
        self._exchanged = False  # since the last step
        self._control = _control_group() if self._parallel else None
        self.broadcast()
        self._step_hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def broadcast(self) -> None:
        """Give every rank the weights and buffers of rank 0; a collective call.

        Call it again on all ranks after `add_param_group`, or after rank 0 alone has loaded weights.

        Raises:
            ConfigError, PartitionError: as at construction; nothing has been sent then.
        """
        self._optimizer.require_covers(self._model)
        require_one_device(self._model)
        owned = {weight for group in self._optimizer.param_groups for weight in group["params"]}
        self._ordered = [weight for weight in [*self._model.parameters()][::-1] if weight in owned]
        self._plans.clear()
        if self._control is not None:
            require_ranks_agree(describe(self._model, self._optimizer), self._control)
            self._hook_new_parameters()
            tensors = [*self._model.parameters(), *self._model.buffers()]
            through_buckets(tensors, self._bucket_bytes, lambda flat: dist.broadcast(flat.view(torch.uint8), src=0))

    def average_buffers(self) -> None:
        """Give every floating-point buffer the mean over the ranks; a collective call, changed in place.

        Others, such as BatchNorm's count of batches, stay as they are. The mean of the ranks' running variances leaves
        out how much their running means differ.
        """
        if self._parallel:
            buffers = [buffer for buffer in self._model.buffers() if buffer.is_floating_point()]
            through_buckets(buffers, self._bucket_bytes, _all_reduce_mean)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Let `backward()` inside the block add up gradients on this rank only; use it on all ranks alike.

        The next `backward()` outside exchanges the sums. If there is none, `step()` does.
        """
        before, self._synced = self._synced, False
        try:
            yield
        finally:
            self._synced = before

    def remove(self) -> None:
        """Take everything away again: each rank then trains for itself."""
        for handle in (*self._hooks.values(), *self._step_hooks):
            handle.remove()
        self._hooks.clear()
        self._step_hooks.clear()

    def _hook_new_parameters(self) -> None:
        """Register a hook with every parameter that has none; it stays when `requires_grad` is turned off later."""
        for weight in self._ordered:
            if weight not in self._hooks:
                trained = weight.requires_grad
                weight.requires_grad_(True)  # else torch refuses the hook
                self._hooks[weight] = weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._on_gradient
                )
                weight.requires_grad_(trained)

    def _on_gradient(self, weight: Tensor) -> None:
        """Take note of a complete gradient; called by the autograd engine."""
        if not self._synced:
            return
        task = torch._C._current_graph_task_id()
        if self._exchange is None or self._task != task:
            self._abandon(weight)
            self._task = task
            self._exchange = self._begin()
            Variable._execution_engine.queue_callback(self._finish)
        self._exchange.arrived(weight)

    def _abandon(self, weight: Tensor) -> None:
        """End the exchange of a backward pass that failed, or that the present one is nested in."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            shared = exchange.holds(weight)
            exchange.abandon()
            if shared:
                raise ConfigError(
                    f"a parameter of shape {tuple(weight.shape)} got a second gradient while the first one was on its "
                    "way: it is used in more than one segment of reentrant checkpointing, or backward() failed and "
                    "the gradients were not cleared. Use checkpoint(..., use_reentrant=False) or zero_grad()."
                )

    def _begin(self) -> GradientExchange:
        """Start an exchange of the gradients of all parameters that are trained now."""
        count = sum(len(group["params"]) for group in self._optimizer.param_groups)
        if count != len(self._ordered):
            raise ConfigError(
                f"the optimiser has {count} parameters, {len(self._ordered)} when they were last broadcast. "
                "Call broadcast() on every rank after add_param_group()."
            )
        trained = bytes(weight.requires_grad for weight in self._ordered)
        if trained not in self._plans:
            if len(self._plans) == MAX_PLANS:  # somebody freezes other parameters at every step
                self._plans.clear()
            self._plans[trained] = make_plan(self._ordered, trained, self._bucket_bytes)
        assert self._control is not None
        return GradientExchange(self._plans[trained], self._control, self._tell)

    def _finish(self) -> None:
        """End the exchange, if there is one; called by the autograd engine when backward is through."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish()
            self._exchanged = True

    def _before_step(self, _: torch.optim.Optimizer, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Take part in the others' exchange if nothing that this rank has done since its last step called for one."""
        closure = arguments[1] if len(arguments) > 1 else options.get("closure")
        if self._parallel and closure is None and self._synced and not self._exchanged:
            self._exchange = self._exchange or self._begin()
            self._finish()

    def _after_step(self, *_: object) -> None:
        self._exchanged = False

    def _tell(self) -> str:
        """Return what this rank trains, in a few words."""
        trained = sum(weight.requires_grad for weight in self._ordered)
        return f"due {', '.join(self._optimizer.due_groups)}, {trained} tensors trained"


def _control_group() -> dist.ProcessGroup:
    """Return a second group of all ranks, for messages that must not get in between the gradients."""
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)  # every rank of the default group is a member
    return group


def _all_reduce_mean(flat: Tensor) -> None:
    flat.div_(dist.get_world_size())
    dist.all_reduce(flat)
