"""How many bytes autograd saves for the backward pass of a network: counted in forward passes that compute nothing.

The forward runs in train mode on the meta device. One that looks at values cannot run there; a copy on the CPU runs
it. Two batch sizes tell what is saved per sample and what once per batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from multirate_core.layers.dry_run import copy_on, first_that_runs
from multirate_core.layers.tree import SavedBytes
from multirate_core.lean.blocks import Block, find_blocks

_chosen_attention = functional.scaled_dot_product_attention
BATCHES = (2, 3)  # not 1: a norm in train mode may insist on two values


def count_saved(model: nn.Module, input_shape: tuple[int, ...]) -> SavedBytes | None:
    """Return what a training step in float32 saves beside the parameters; None if no forward could be run.

    Args:
        model: on any device; it is not changed.
        input_shape: of one image, (C, H, W), or of one text, (L,); without the batch.
    """

    def count(device: str, dtype: torch.dtype) -> SavedBytes:
        (plain, lean), (more, more_lean) = (_saved(model, (b, *input_shape), dtype, device) for b in BATCHES)
        each, each_lean = more - plain, more_lean - lean
        return SavedBytes(plain - BATCHES[0] * each, each, lean - BATCHES[0] * each_lean, each_lean)

    return first_that_runs(input_shape, count)


def _saved(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> tuple[int, int]:
    """Return the bytes of one forward pass: with all activations kept, and at most with lean memory."""
    network = copy_on(device, model, requires_grad=True).train()
    counter = _Counter(network, find_blocks(network)[:-1])  # lean memory keeps the last block
    inputs = torch.zeros(shape, dtype=dtype, device=device)
    with _fused_attention(), torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda saved: saved):
        network(inputs)
    return counter.plain_bytes(), counter.lean_bytes()


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Let attention on the meta device save what that on the CPU saves, and not the weights of all pairs of tokens."""
    functional.scaled_dot_product_attention = _attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = _chosen_attention


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if query.is_meta and dropout_p == 0 and query.dim() == 4 and not enable_gqa:
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        attended: Tensor = fused(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
        return attended
    return _chosen_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)


class _Counter:
    """Notes every storage that is saved, inside which of the blocks that lean memory would recompute.

    Storages are held while it counts, so that no two of them have the same address.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        self._own = {_key(weight) for weight in model.parameters()}
        self._outside: dict[int, torch.UntypedStorage] = {}
        self._inside: list[dict[int, torch.UntypedStorage]] = []
        self._inputs: dict[int, torch.UntypedStorage] = {}
        self._depth = 0  # a block may call itself: its outermost call is recomputed
        for block in blocks:
            first, last = _ends(model, block)
            first.register_forward_pre_hook(self._enter, with_kwargs=True)
            last.register_forward_hook(self._leave)

    def pack(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves."""
        self._note(tensor, self._inside[-1] if self._depth else self._outside)
        return tensor

    def plain_bytes(self) -> int:
        """Return the bytes of everything that was saved, each storage once."""
        saved = {key: storage for part in (*self._inside, self._outside) for key, storage in part.items()}
        return sum(storage.nbytes() for storage in saved.values())

    def lean_bytes(self) -> int:
        """Return the bytes of what is saved outside the blocks, their inputs, and the largest block."""
        kept = sum(storage.nbytes() for storage in (self._outside | self._inputs).values())
        return kept + max(map(self._recomputed, self._inside), default=0)

    def _recomputed(self, block: dict[int, torch.UntypedStorage]) -> int:
        held = self._outside.keys() | self._inputs.keys()
        return sum(storage.nbytes() for key, storage in block.items() if key not in held)

    def _enter(self, _module: nn.Module, args: Any, kwargs: Any) -> None:
        self._depth += 1
        if self._depth == 1:
            self._inside.append({})
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    self._note(leaf, self._inputs)

    def _leave(self, *_: Any) -> None:
        self._depth -= 1

    def _note(self, tensor: Tensor, part: dict[int, torch.UntypedStorage]) -> None:
        key = _key(tensor)
        if key not in self._own:
            part[key] = tensor.untyped_storage()


def _key(tensor: Tensor) -> int:
    """Return the address of a tensor's storage; that of its numbers, which is public, is 0 on the meta device."""
    return int(tensor.untyped_storage()._cdata)


def _ends(model: nn.Module, block: Block) -> tuple[nn.Module, nn.Module]:
    """Return the first and the last module of a block."""
    module = model.get_submodule(block.path)
    if not block.stop:
        return module, module
    members = list(module.children())
    return members[block.start], members[block.stop - 1]
