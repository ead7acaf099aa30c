"""`make_lean(model, optimizer)`: recompute the blocks of a model on full steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from multirate_core.checks import require_number
from multirate_core.errors import ConfigError
from multirate_core.lean.block import FullSteps, LeanBlock, LeanRow
from multirate_core.lean.blocks import Block, find_blocks
from multirate_core.lean.names import match_blocks


def make_lean(
    model: nn.Module, optimizer: torch.optim.Optimizer, blocks: Sequence[str] | None = None, keep: float = 0.0
) -> Lean:
    """Let the blocks of a model keep their inputs only on full steps, and recompute the rest in the backward pass.

    Caveats first. A full step takes one more forward pass of these blocks. Hooks on modules *inside* a block run again
    when it is recomputed, and so does whatever its forward does beside computing (a counter, a cache of keys and
    values, Python's or numpy's random numbers); torch's random numbers, buffers and train mode are put back. Between
    its forward and its backward pass nobody may write in place to a block's input: backward raises then. Compiled
    models have a way of their own to recompute.

    Losses, gradients, weights, buffers and random states are those of the same run without it. A model that is lean
    already is made lean anew, with these settings.

    Args:
        model: changed until `remove()`: the `forward` of its blocks is wrapped. Its modules, names, state dict and
            hooks stay as they are.
        optimizer: any with param groups; a group without a period counts as period 1. While no group has a period
            above 1, every step is a full step.
        blocks: names of the modules to recompute, globs, or slices of an nn.Sequential ("layer3[0:2]"); those inside
            others are left out. None finds the repeated parts of the network and leaves out the last one: its
            activations would be needed again at once.
        keep: 0 <= keep <= 1, share of the blocks that are *not* recomputed: more memory, less time. The last ones are
            kept, because the backward pass frees them first.

    Returns:
        a handle with the names of the blocks, which takes the wrapping off again; also a context manager.

    Raises:
        ConfigError: no blocks, an unknown name, a number out of range, or an optimiser of another model.
    """
    require_number("keep", keep, least=0.0, most=1.0)
    if isinstance(blocks, str):
        raise ConfigError(f"blocks must be a list of module names, got the text {blocks!r}. Write [{blocks!r}].")
    found = find_blocks(model) if blocks is None else match_blocks(model, blocks)
    if not found:
        raise ConfigError(
            f"found no blocks in {type(model).__name__}: no container or row of equal modules that hold layers. "
            "Name the modules to recompute (blocks=[...]), or put runs of its layers into nn.Sequential modules."
        )
    kept = max(round(keep * len(found)), int(blocks is None))
    return Lean(model, optimizer, found[: len(found) - kept], found[len(found) - kept :])


class Lean:
    """The blocks of a model that are recomputed on full steps, until `remove()` or the end of a `with`.

    Args:
        model: the network.
        optimizer: says which parameters get a gradient only on full steps; asked again after each of its steps.
        blocks: to recompute.
        kept: left as they are.

    Raises:
        ConfigError: the optimiser holds no parameter of the model; nothing has been changed then.

    Its names are in `blocks` (recomputed) and `kept`.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, blocks: Sequence[Block], kept: Sequence[Block]
    ) -> None:
        self.blocks, self.kept = tuple(block.name for block in blocks), tuple(block.name for block in kept)
        self._model = model
        self._own = {id(weight) for weight in model.parameters()}
        self._full_steps = FullSteps()
        self._plan(optimizer)
        if not self._full_steps.slow:
            raise ConfigError(
                f"the optimiser holds no parameter of this {type(model).__name__}. Give the optimiser that trains it."
            )
        remove_lean(model)
        self._wrap(blocks)
        # The periods may change while training, and add_param_group may bring a slow group.
        self._hook = optimizer.register_step_post_hook(self._plan)

    def _wrap(self, blocks: Sequence[Block]) -> None:
        runs: dict[str, list[Block]] = {}
        for block in blocks:
            if block.stop:
                runs.setdefault(block.path, []).append(block)
            else:
                module = self._model.get_submodule(block.path)
                module.forward = LeanBlock(module, self._full_steps)
        for path, parts in runs.items():
            row = self._model.get_submodule(path)
            pieces: list[nn.Module | LeanBlock] = list(row.children())
            for part in reversed(parts):
                members = list(row.children())[part.start : part.stop]
                pieces[part.start : part.stop] = [LeanBlock(nn.Sequential(*members), self._full_steps)]
            row.forward = LeanRow(row, pieces, self._full_steps)

    def _plan(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Note the parameters of the model whose gradients make a step a full one."""
        groups = [group for group in optimizer.param_groups if group.get("period", 1) > 1]
        groups = groups or optimizer.param_groups
        self._full_steps.slow = [weight for group in groups for weight in group["params"] if id(weight) in self._own]

    def __repr__(self) -> str:
        return f"Lean(blocks={list(self.blocks)}, kept={list(self.kept)})"

    def remove(self) -> None:
        """Give the blocks their own forward pass back; a second call does nothing."""
        self._hook.remove()
        _unwrap(self._model, self._full_steps)

    def __enter__(self) -> Lean:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def remove_lean(model: nn.Module) -> None:
    """Give every block of a model its own forward pass back: of a copy, say, whose handle is not at hand."""
    _unwrap(model, None)


def _unwrap(model: nn.Module, full_steps: FullSteps | None) -> None:
    """Take off the wrappers that ask these full steps, or all."""
    for module in model.modules():
        wrapper = module.__dict__.get("forward")
        if isinstance(wrapper, LeanBlock | LeanRow) and full_steps in (None, wrapper.full_steps):
            if wrapper.replaced is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = wrapper.replaced
