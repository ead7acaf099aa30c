"""What both optimisers share: steps in cycles of k, checks, a place in the cycle that is saved, weights to evaluate."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from multirate_core.errors import ConfigError
from multirate_core.from_scratch.checks import (
    ParamGroup,
    require_dense,
    require_group,
    require_loadable,
    require_options,
    require_real,
)


class CycleSGD(torch.optim.Optimizer):
    """SGD whose steps come in cycles of k = `period`; an ordinary training loop drives it.

    Between two steps of a cycle the parameters may hold something else than the weights to evaluate; a context
    manager of the subclass shows those. In a state dict everything is a plain number or a tensor of its parameter's
    shape, so that a cycle can be left and taken up again on another device.
    """

    PLACE: tuple[str, ...] = ("step_in_cycle",)  # counters of a group, saved with its options; they start at 0
    _showing = False  # inside the context manager

    def add_param_group(self, param_group: ParamGroup) -> None:
        """Add a group, which begins a cycle of its own; the caller's dict is copied, never written to.

        Raises:
            ConfigError: an option is unknown or out of range, or a parameter is complex.
        """
        group = {**self.defaults, **param_group}
        require_group(group, self.defaults)
        super().add_param_group(group)
        added = self.param_groups[-1]
        try:
            require_real(added["params"])
        except ConfigError:
            self.param_groups.pop()
            raise
        for counter in self.PLACE:
            added[counter] = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; without any gradient it did not happen, and every group keeps its place in the cycle.

        A parameter without a gradient rests, as in torch.optim.SGD.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            what the closure returned, or None.

        Raises:
            ConfigError: a gradient is sparse, an option is out of range, or the weights to evaluate are shown;
                nothing has moved then.
        """
        self._require_hidden("step()")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            require_options(group)
        require_dense(self.param_groups)
        if any(weight.grad is not None for group in self.param_groups for weight in group["params"]):
            for group in self.param_groups:
                self._advance(group)
        return loss

    @abstractmethod
    def _advance(self, group: ParamGroup) -> None:
        """Take one step of a group, and count it."""

    @abstractmethod
    def _show(self, weight: Tensor) -> None:
        """Put the value to evaluate in place of the one to train."""

    @abstractmethod
    def _hide(self, weight: Tensor) -> None:
        """Put the value to train back: on leaving the context manager, after a state was loaded or a copy was made."""

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Show the weights to evaluate inside the `with` block; an inner block changes nothing."""
        if self._showing:
            yield
            return
        self._for_each_weight(self._show)
        self._showing = True
        try:
            yield
        finally:
            self._for_each_weight(self._hide)
            self._showing = False

    @torch.no_grad()
    def _for_each_weight(self, change: Callable[[Tensor], None]) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight in self.state:
                    change(weight)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load momenta, options and the place in the cycle; load the model's weights first.

        Nothing is shared with `state_dict` afterwards.

        Raises:
            PartitionError: saved with other groups, parameters or shapes; nothing has been changed then.
            ConfigError: not a state of this optimiser, an option out of range, or the weights to evaluate are shown;
                nothing has been changed then.
        """
        self._require_hidden("load_state_dict()")
        require_loadable(state_dict, self.param_groups, self.defaults, self.PLACE, type(self).__name__)
        super().load_state_dict(copy.deepcopy(state_dict))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a loaded, copied or pickled state, which may have been made while weights were shown."""
        super().__setstate__(state)
        self._for_each_weight(self._hide)

    def _require_hidden(self, what: str) -> None:
        if self._showing:
            raise ConfigError(
                f"{what} was called while the weights to evaluate are shown; it works on the weights to train. "
                "Leave the `with` block first."
            )


def gradient_with_decay(weight: Tensor, weight_decay: float) -> Tensor | None:
    """Return ∇L + λ θ, or None for a parameter without a gradient; the gradient itself is never changed."""
    if weight.grad is None or weight_decay == 0:
        return weight.grad
    return weight.grad.add(weight, alpha=weight_decay)


def refreshed_momentum(p: Tensor | None, gradient: Tensor, momentum: float) -> Tensor:
    """Return p := μ p + ∇L, in place where there is a p; the first one is the gradient, as in torch.optim.SGD."""
    if momentum == 0:
        return gradient
    return gradient.clone() if p is None else p.mul_(momentum).add_(gradient)
