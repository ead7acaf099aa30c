"""A network under torch.compile: graphs are made before the step that needs them, and never in secret.

Dynamo keeps its graphs per code object, gives up after eight of them and then runs eagerly with a warning. Here every
network has a code object of its own, so lanes of one architecture do not share a limit, and whatever a step would have
to compile by itself is an error.
"""

from __future__ import annotations

import shutil
import time
import types
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from multirate_core.errors import ConfigError, ModelError
from multirate_core.training.randomness import kept
from multirate_core.training.samples import Inputs, device_of, layout_of, logits

MOST_GRAPHS = 4096  # of one network: kinds of steps × batch shapes, and two for tests
# Names of Dynamo's settings, the present one and that of older versions, and what they must be.
SETTINGS: tuple[tuple[tuple[str, ...], object], ...] = (
    (("recompile_limit", "cache_size_limit"), MOST_GRAPHS),
    (("accumulated_recompile_limit", "accumulated_cache_size_limit"), MOST_GRAPHS),
    (("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"), True),
    # Else a graph may be used again after requires_grad changed (pytorch#139476): a module's dict does not show that.
    (("skip_tensor_guards_with_matching_dict_tags",), False),
    (("use_recursive_dict_tags_for_guards",), False),
)


class CompiledCalls:
    """A network's forward pass under torch.compile, one graph per kind of call.

    Args:
        model: on its device; parameters, buffers and mode are read at every call.
    """

    def __init__(self, model: nn.Module) -> None:
        self.graphs = 0  # kinds of calls that were compiled
        self._model = model
        self._call = torch.compile(_with_own_code(model), dynamic=False, fullgraph=True)
        self._ready: set[Hashable] = set()

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the logits (B, classes) by a compiled graph."""
        return self._call(inputs)

    def compile_for(self, inputs: Inputs, run: Callable[[], object]) -> float:
        """Compile what the next call needs, unless that was done before; return the seconds it took.

        Buffers (BatchNorm's statistics) and random states are as before afterwards, and no gradient is left.

        Args:
            inputs: of the call.
            run: makes the call, and the backward pass where there is one.
        """
        kind, device = self._kind(inputs), device_of(inputs)
        if kind in self._ready:
            return 0.0
        _wait(device)
        begun = time.perf_counter()
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        try:
            with _dynamo_settings(), torch.compiler.set_stance("default"), kept(device):
                run()
        except _compiler_errors() as error:
            raise ModelError(
                f"{type(self._model).__name__} cannot be compiled: {_first_line(error)} Turn compile off."
            ) from error
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for weight in self._model.parameters():
            weight.grad = None
        self._ready.add(kind)
        self.graphs += 1
        _wait(device)
        return time.perf_counter() - begun

    def _kind(self, inputs: Inputs) -> Hashable:
        """Return what a graph depends on: mode, gradients, shape and memory format."""
        wanted = tuple(weight.requires_grad for weight in self._model.parameters())
        return self._model.training, torch.is_grad_enabled(), wanted, layout_of(inputs)


def require_compiler(device: torch.device) -> None:
    """Raise ConfigError unless networks can be compiled for this device here."""
    major, minor = torch.__version__.split(".")[:2]
    if (int(major), int(minor)) < (2, 7):  # it reuses graphs after requires_grad changed, and no setting prevents it
        raise ConfigError(f"compile needs torch 2.7 or newer, got {torch.__version__}. Update it, or turn compile off.")
    if device.type == "mps":
        raise ConfigError("compile is for cpu and cuda, got mps. Turn compile off.")
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise ConfigError("compile needs Triton for cuda, which is missing or too new for this GPU. Turn it off.")
    if not _has_cpp_compiler():
        raise ConfigError("compile needs a C++ compiler, and none was found. Install one (g++), or turn compile off.")


def _has_cpp_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return shutil.which(get_cpp_compiler()) is not None
    except (InvalidCxxCompiler, RuntimeError):
        return False


def _with_own_code(model: nn.Module) -> Callable[[Inputs], Tensor]:
    """Return a function that calls the model and shares its code object with no other."""

    def forward(inputs: Inputs) -> Tensor:
        return logits(model, inputs)

    return types.FunctionType(forward.__code__.replace(), globals(), closure=forward.__closure__)


def _dynamo_settings() -> Any:
    """Return the context in which graphs are made; settings that this version of torch does not know are left out."""
    import torch._dynamo as dynamo

    known = [(names, value) for names, value in SETTINGS if any(hasattr(dynamo.config, name) for name in names)]
    values = {next(name for name in names if hasattr(dynamo.config, name)): value for names, value in known}
    return dynamo.config.patch(values)


def _compiler_errors() -> tuple[type[BaseException], ...]:
    from torch._dynamo import exc

    limit_hit = getattr(exc, "FailOnRecompileLimitHit", exc.TorchDynamoException)  # not all versions have it
    return exc.TorchDynamoException, limit_hit


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.rstrip(".")[:200] + "."


def _wait(device: torch.device) -> None:
    """Wait until the device is idle, so that seconds can be told apart."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
