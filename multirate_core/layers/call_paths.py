"""Which module is running: the path of every call while hooks follow a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class CallPaths:
    """The stack of calls of one forward pass, by module path.

    Args:
        model: whose modules are followed once `follow` was called.
    """

    def __init__(self, model: nn.Module) -> None:
        self._stack: list[str] = []
        self._paths: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(module, []).append(path)
        self._hooks: list[RemovableHandle] = []

    @property
    def running(self) -> str | None:
        """Path of the innermost module that runs now; None outside the model."""
        return self._stack[-1] if self._stack else None

    def follow(self, enter: Callable[[Any], None], leave: Callable[[Any], None]) -> None:
        """Call `enter(inputs)` before a module runs, while its caller is `running`, and `leave(output)` at its end."""

        def entering(module: nn.Module, args: Any, kwargs: Any) -> None:
            enter((args, kwargs))
            self._stack.append(self._called_path(module))

        def leaving(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
            leave(output)
            self._stack.pop()

        for module in self._paths:
            self._hooks.append(module.register_forward_pre_hook(entering, with_kwargs=True))
            self._hooks.append(module.register_forward_hook(leaving, with_kwargs=True))

    def release(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._stack.clear()

    def _called_path(self, module: nn.Module) -> str:
        """Return the module's path below its caller if it has several, else its first one."""
        paths = self._paths[module]
        caller = self._stack[-1] + "." if self._stack and self._stack[-1] else ""
        return next((path for path in paths if path.startswith(caller)), paths[0])
