"""The forward pass of one block: plain on fast steps, and on full steps with its activations recomputed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
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
    of the copy, and a gradient that is asked for between steps (`all_gradients()`) counts as well. It does not ask for
    train mode: without gradients nothing is recomputed, and who trains in eval mode wants the memory, too.

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
        form, tensors = _take_apart(args, kwargs)
        if not self._saves_something(tensors):
            return self.plain(*args, **kwargs)
        run = _Run(self, args, kwargs, form)
        inputs = tensors if self.writes_to_input is False else [_copied(tensor) for tensor in tensors]
        versions = [version_of(tensor) for tensor in tensors]
        result = checkpoint(run, *inputs, use_reentrant=False, context_fn=run.contexts)
        self.writes_to_input = self.writes_to_input or versions != [version_of(tensor) for tensor in tensors]
        run.state.forget_unchanged()
        return result

    def plain(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block as if it had never been made lean."""
        if self.replaced is not None:
            return self.replaced(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)

    def _saves_something(self, inputs: Sequence[Tensor]) -> bool:
        """Tell whether autograd will pass through the block: where all before and in it is frozen it does not."""
        return any(tensor.requires_grad for tensor in chain(inputs, self.module.parameters()))


class LeanRow:
    """Stands as `forward` in the dictionary of a Sequential of which only runs of neighbours are blocks.

    Args:
        module: the Sequential.
        pieces: called one after the other: blocks made of its children, and children by themselves.
        full_steps: shared with the blocks of the model.
    """

    def __init__(self, module: nn.Module, pieces: Sequence[Callable[[Any], Any]], full_steps: FullSteps) -> None:
        self.pieces = pieces
        self.full_steps = full_steps
        self.replaced: Callable[..., Any] | None = module.__dict__.get("forward")

    def __call__(self, input: Any) -> Any:
        """Run the row."""
        for piece in self.pieces:
            input = piece(input)
        return input


class _Run:
    """One run of a block: called first for its result, and later, with what was kept, for its activations."""

    def __init__(self, block: LeanBlock, args: Any, kwargs: Any, form: _Form) -> None:
        self.state = BlockState(block.module)
        self._block, self._form = block, form
        self._original: tuple[Any, Any] | None = (args, kwargs)

    def __call__(self, *tensors: Tensor) -> Any:
        if self._original is not None:
            (args, kwargs), self._original = self._original, None
        else:
            again = [_copied(tensor) for tensor in tensors] if self._block.writes_to_input else tensors
            args, kwargs = self._form.filled_with(again)
        before, self._block.full_steps.running = self._block.full_steps.running, True
        try:
            return self._block.plain(*args, **kwargs)
        finally:
            self._block.full_steps.running = before

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return what surrounds the run for the result and the runs for the activations."""
        return nullcontext(), self.state


@dataclass(frozen=True)
class _Form:
    """Arguments without their tensors: lists and dicts as they were, because the caller may let them grow later.

    Args:
        structure: of the positional and the named arguments.
        others: what stands at every leaf that is no tensor.
        numbers: which of the tensors stands at a leaf; one that is given twice is one object again.
    """

    structure: TreeSpec
    others: Sequence[Any]
    numbers: Sequence[int | None]

    def filled_with(self, tensors: Sequence[Tensor]) -> Any:
        """Return positional and named arguments with these tensors."""
        leaves = zip(self.others, self.numbers, strict=True)
        return tree_unflatten([other if i is None else tensors[i] for other, i in leaves], self.structure)


def _take_apart(args: Any, kwargs: Any) -> tuple[_Form, list[Tensor]]:
    """Return the form of the arguments and the tensors anywhere in them, each once."""
    leaves, structure = tree_flatten((args, kwargs))
    tensors = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}
    number = {key: i for i, key in enumerate(tensors)}
    others = [None if id(leaf) in number else leaf for leaf in leaves]
    return _Form(structure, others, [number.get(id(leaf)) for leaf in leaves]), list(tensors.values())


def _copied(tensor: Tensor) -> Tensor:
    """Return a copy attached to the same graph; what is expanded cannot be written to in place and is not copied."""
    return tensor if tensor.layout is torch.strided and 0 in tensor.stride() else tensor.clone()
