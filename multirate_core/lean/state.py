"""What a block was when it ran: its buffers and flags, so that running it again changes nothing and gives the same."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor, nn

SMALL_BUFFER = 2**16  # elements; the statistics of any norm layer are smaller


class BlockState:
    """The buffers and flags of a block before it runs; inside a `with` the block has them again, on copies.

    The block's own buffers are taken out for as long as the `with` lasts and never written to: BatchNorm's statistics
    have advanced in the forward pass, and no version counter moves.

    Args:
        block: about to run its forward pass.
    """

    def __init__(self, block: nn.Module) -> None:
        self._training = [(module, module.training) for module in block.modules()]
        self._trainable = [(weight, weight.requires_grad) for weight in block.parameters()]
        self._places = [
            (module, name, buffer)
            for module in block.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        # By identity: a buffer that two modules share is one buffer in the copy, too.
        self._copies = {id(buffer): buffer.detach().clone() for _, _, buffer in self._places}
        self._versions = {id(buffer): version_of(buffer) for _, _, buffer in self._places}
        self._held: list[tuple[nn.Module, str, Tensor | None]] = []
        self._flags: tuple[list[bool], list[bool]] = ([], [])

    def forget_unchanged(self) -> None:
        """Drop the copies of large buffers that the forward pass left alone: masks, tables, quantised weights.

        A small one is kept whatever its version says: not every kernel counts its writes.
        """
        for _, _, buffer in self._places:
            unchanged = self._versions[id(buffer)] == version_of(buffer)
            if unchanged and buffer.numel() > SMALL_BUFFER:
                self._copies.pop(id(buffer), None)

    def __enter__(self) -> None:
        fresh = {key: copy.clone() for key, copy in self._copies.items()}
        self._held = [(module, name, module._buffers[name]) for module, name, _ in self._places]
        self._flags = [m.training for m, _ in self._training], [w.requires_grad for w, _ in self._trainable]
        for module, name, buffer in self._places:
            module._buffers[name] = fresh.get(id(buffer), buffer)
        for module, training in self._training:
            module.training = training
        for weight, trainable in self._trainable:
            weight.requires_grad = trainable

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for module, name, buffer in self._held:
            module._buffers[name] = buffer
        for (module, _), training in zip(self._training, self._flags[0], strict=True):
            module.training = training
        for (weight, _), trainable in zip(self._trainable, self._flags[1], strict=True):
            weight.requires_grad = trainable
        self._held = []


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was written to in place; 0 for one that does not count (made in inference mode)."""
    return 0 if tensor.is_inference() else tensor._version
