"""One forward pass that computes nothing: the output shape of every module, and its multiply-adds.

The pass runs on a copy whose tensors lie on the meta device: no memory, no arithmetic. A forward that looks at values
cannot run there; a copy on the CPU runs it.

Multiply-adds are half of what `torch.utils.flop_counter.FlopCounterMode` counts, so matrix products, convolutions and
attention; norms, activations and pooling are left out. `nn.MultiheadAttention` has a fused path inside which nothing
can be counted (ViT-B/16 would show 11.3 G of its 17.6 G on the CPU), so that path is switched off meanwhile. What a
module's code does without calling another module is its own: attention applies its `out_proj` by itself, for example.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from multirate_core.layers.call_paths import CallPaths

T = TypeVar("T")

# What foreign forward code raises when it cannot run on a dry input.
FORWARD_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)


class _Attempt(NamedTuple):
    device: str
    dtype: torch.dtype
    batch: int  # one: what a network computes once per batch (Swin V2's position biases) counts fully for an image


ATTEMPTS = (
    _Attempt("meta", torch.float32, 1),
    _Attempt("cpu", torch.float32, 1),
    _Attempt("cpu", torch.float32, 2),  # a norm that insists on batch statistics needs two
    _Attempt("meta", torch.int64, 1),  # token ids
    _Attempt("cpu", torch.int64, 1),
)


@dataclass(frozen=True)
class DryRun:
    """What one dry forward found out, by module path.

    Args:
        output_shapes: without the batch dimension; a module that was never called is missing.
        own_multiply_adds: per image, in the module's own code.
        note: why nothing was found out; "" if the forward ran.
    """

    output_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    own_multiply_adds: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def run_dry(model: nn.Module, input_shape: tuple[int, ...]) -> DryRun:
    """Run a copy of `model` in eval mode on an input of zeros; the attempts are made in the order of `ATTEMPTS`.

    Args:
        input_shape: of one image, (C, H, W), or of one text, (L,); without the batch.
    """
    reasons: dict[str, str] = {}
    # A row of numbers is mostly a text, and token ids first spare a large network its copy in memory.
    for attempt in sorted(ATTEMPTS, key=lambda each: each.dtype != torch.int64) if len(input_shape) == 1 else ATTEMPTS:
        try:
            return _run(copy_on(attempt.device, model).eval(), input_shape, attempt)
        except FORWARD_ERRORS as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            reasons.setdefault(attempt.device, first_line[:200])
    shape = "×".join(map(str, input_shape))
    return DryRun(note=f"No shapes and multiply-adds: a forward pass on {shape} failed ({reasons['cpu']}).")


def _run(model: nn.Module, input_shape: tuple[int, ...], attempt: _Attempt) -> DryRun:
    images = torch.zeros((attempt.batch, *input_shape), device=attempt.device, dtype=attempt.dtype)
    with torch.no_grad(), _unfused_attention(), FlopCounterMode(display=False) as counter:
        recorder = _Recorder(model, counter, attempt.batch)
        model(images)
    own = {path: flops // (2 * attempt.batch) for path, flops in recorder.flops.items()}
    return DryRun(recorder.shapes, own)


class _Recorder:
    """Follows the calls by hooks: shapes at the end of a call, operations to the innermost module that is running."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode, batch: int) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.flops: dict[str, int] = {}
        self._counter, self._batch, self._counted = counter, batch, 0
        self._calls = CallPaths(model)
        self._calls.follow(lambda _inputs: self._settle(), self._leave)

    def _leave(self, output: Any) -> None:
        self._settle()
        path = self._calls.running
        tensor = _first_tensor(output)
        if tensor is not None and path is not None:
            shape = tuple(tensor.shape)
            self.shapes.setdefault(path, shape[1:] if shape[:1] == (self._batch,) else shape)

    def _settle(self) -> None:
        """Give the operations since the last call or return to the module that ran meanwhile."""
        total = self._counter.get_total_flops()
        path = self._calls.running
        if path is not None:
            self.flops[path] = self.flops.get(path, 0) + total - self._counted
        self._counted = total


def first_that_runs(input_shape: tuple[int, ...], attempt: Callable[[str, torch.dtype], T]) -> T | None:
    """Return the result of the first attempt that a network's forward pass stands; None if it stands none.

    Args:
        input_shape: of one image, (C, H, W), or of one text, (L,): a row of numbers is mostly a text.
        attempt: runs the network on inputs of a dtype on a device, "meta" or "cpu".
    """
    texts_first = len(input_shape) == 1
    for device in ("meta", "cpu"):
        for dtype in (torch.int64, torch.float32) if texts_first else (torch.float32, torch.int64):
            try:
                return attempt(device, dtype)
            except FORWARD_ERRORS:
                continue
    return None


def copy_on(device: str, model: nn.Module, requires_grad: bool = False) -> nn.Module:
    """Return a copy of a model on `device`; the meta copy never holds the numbers, not even while it is made.

    Args:
        device: "meta" or "cpu".
        model: to copy.
        requires_grad: parameters on the meta device keep their flag; False clears it.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if device == "meta":
        return copy.deepcopy(model, {id(tensor): _meta_like(tensor, requires_grad) for tensor in tensors})
    if not any(tensor.is_meta for tensor in tensors):
        return copy.deepcopy(model).to(device)
    made = copy.deepcopy(model).to_empty(device=device)
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.zero_()
    return made


def _meta_like(tensor: torch.Tensor, requires_grad: bool) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta")
    wanted = requires_grad and tensor.requires_grad
    return nn.Parameter(empty, requires_grad=wanted) if isinstance(tensor, nn.Parameter) else empty


def _first_tensor(output: Any) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return next((tensor for tensor in map(_first_tensor, parts) if tensor is not None), None)


@contextmanager
def _unfused_attention() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
