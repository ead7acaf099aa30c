"""The forward pass of one block: plain on fast steps, and on full steps with its activations recomputed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

from multirate_core.lean.state import BlockState, version_of


@dataclass(eq=False)
class FullSteps:
    """Tells when a forward pass belongs to a full step; all blocks of a model share one.

    It looks at `requires_grad`, which the optimiser sets for every step: so a copy of the model follows the optimiser
    of the copy, and a gradient that is asked for between steps (`all_gradients()`) counts as well.

    Args:
        slow: parameters that get no gradient on a fast step.
        running: a block is inside its recomputed forward pass; what it calls belongs to it.
    """

    slow: list[nn.Parameter] = field(default_factory=list)
    running: bool = False

    def is_now(self) -> bool:
        """Tell whether activations that a fast step does not need will be kept."""
        return torch.is_grad_enabled() and any(weight.requires_grad for weight in self.slow)


class LeanBlock:
    """Stands as `forward` in a block's own dictionary, so that class, name and state dict of the block stay.

    No closure and no subclass: a deepcopy or a pickle of the model takes it along, pointing at the copied block.

    Args:
        module: the block.
        full_steps: shared with the other blocks of the model.
    """

    def __init__(self, module: nn.Module, full_steps: FullSteps) -> None:
        self.module = module
        self.full_steps = full_steps
        self.replaced: Callable[..., Any] | None = module.__dict__.get("forward")  # another library's wrapper
        # Whether the block writes to its own input (a first ReLU in place): None until a full step has shown it.
        self.writes_to_input: bool | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block."""
        if self.full_steps.running or not self.full_steps.is_now():
            return self.plain(*args, **kwargs)
        leaves, structure = tree_flatten((args, kwargs))
        if not self._saves_something(leaves):
            return self.plain(*args, **kwargs)
        run = _Run(self, args, kwargs, structure)
        inputs = [_copied(leaf) for leaf in leaves] if self.writes_to_input is not False else leaves
        versions = _versions(leaves)
        result = checkpoint(run, *inputs, use_reentrant=False, context_fn=run.contexts)
        self.writes_to_input = self.writes_to_input or _versions(leaves) != versions
        run.state.forget_unchanged()
        return result

    def plain(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block as if it had never been made lean."""
        if self.replaced is not None:
            return self.replaced(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)

    def _saves_something(self, leaves: Sequence[Any]) -> bool:
        """Tell whether autograd will pass through the block: where all before and in it is frozen it does not."""
        inputs = (leaf for leaf in leaves if isinstance(leaf, Tensor))
        return any(tensor.requires_grad for tensors in (inputs, self.module.parameters()) for tensor in tensors)


class _Run:
    """One run of a block: called first for its result, and later, with what was kept, for its activations."""

    def __init__(self, block: LeanBlock, args: Any, kwargs: Any, structure: TreeSpec) -> None:
        self.state = BlockState(block.module)
        self._block, self._structure = block, structure
        self._original: tuple[Any, Any] | None = (args, kwargs)

    def __call__(self, *leaves: Any) -> Any:
        if self._original is not None:
            (args, kwargs), self._original = self._original, None
        else:  # a container among the arguments may have grown since: it is built anew
            args, kwargs = tree_unflatten(
                [_copied(leaf) for leaf in leaves] if self._block.writes_to_input else leaves, self._structure
            )
        before, self._block.full_steps.running = self._block.full_steps.running, True
        try:
            return self._block.plain(*args, **kwargs)
        finally:
            self._block.full_steps.running = before

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return what surrounds the run for the result and the runs for the activations."""
        return nullcontext(), self.state


def _copied(leaf: Any) -> Any:
    """Return a copy of a tensor, attached to the same graph; what cannot be written to in place is not copied."""
    is_expanded = isinstance(leaf, Tensor) and leaf.layout is torch.strided and 0 in leaf.stride()
    return leaf.clone() if isinstance(leaf, Tensor) and not is_expanded else leaf


def _versions(leaves: Sequence[Any]) -> list[int]:
    return [version_of(leaf) for leaf in leaves if isinstance(leaf, Tensor)]
