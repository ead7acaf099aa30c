"""The user's own networks: a function in a file or a module is called and must return one.

This runs code. Who may name it is decided elsewhere: the command line and the server's owner, never a browser; see
`own_sources`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from multirate_core.errors import ModelError
from multirate_core.models import heads
from multirate_core.models.own_sources import file_of, split_source

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_DIGITS: Final = 12  # of a digest in a note


def build(
    source: str, num_classes: int, input_shape: tuple[int, ...]
) -> tuple[nn.Module, tuple[str, ...], tuple[str, ...]]:
    """Call the user's function with num_classes and, if it takes them, in_channels and image_size.

    The network is made on the CPU, also under `torch.device("meta")`: its code may look at numbers.

    Args:
        source: "path/to/file.py:function" or "package.module:function".
        num_classes: how many scores an image gets.
        input_shape: of one image, (C, H, W).

    Returns:
        The network, the module path of its head, and notes on what made it and how the head was found.

    Raises:
        ModelError: there is no such function, it fails, or it returns no network with parameters.
    """
    place, name = split_source(source)
    with _told(source, place), torch.device("cpu"):
        function = _function(place, name)
        made = function(**_arguments(function, source, num_classes, input_shape))
    if not isinstance(made, nn.Module) or not [*made.parameters()]:
        got = "a network without parameters" if isinstance(made, nn.Module) else type(made).__name__
        raise ModelError(f"{source} must return a torch.nn.Module with parameters, got {got}.")
    head, notes = _head(made)
    return made, (head,), (f"The network is what {name} in {_described(source)} returned.", *notes)


def _head(model: nn.Module) -> tuple[str, tuple[str, ...]]:
    """Return the module path of the head and a note if it is only the last layer that has parameters."""
    try:
        return heads.head_path(model), ()
    except ModelError:
        name = [name for name, _ in model.named_parameters()][-1].rpartition(".")[0]
    return name, (f"The head was taken to be the last layer with parameters, {name or 'the whole network'}.",)


def _function(place: str, name: str) -> Callable[..., Any]:
    module = _from_file(Path(place).expanduser()) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, name, None)
    if not callable(found):
        own = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise ModelError(f"{place} has no function {name!r}; it defines {', '.join(own[:5]) or 'none'}.")
    return found  # type: ignore[no-any-return]


def _from_file(path: Path) -> ModuleType:
    """Import a file under a name that its content is part of: a file that was changed is imported again."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"the code {str(path)[:200]} cannot be read: {reason}. Check the path.") from error
    name = f"own_{path.stem}_{hashlib.sha256(str(path).encode() + content).hexdigest()[:_DIGITS]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    code = compile(content, str(path), "exec")
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        exec(code, vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _arguments(
    function: Callable[..., Any], source: str, num_classes: int, input_shape: tuple[int, ...]
) -> dict[str, int]:
    parameters = inspect.signature(function).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind in _BY_NAME}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        named.add("num_classes")
    if "num_classes" not in named:
        raise ModelError(f"{source} must take num_classes, the number of scores per image. Add it to its parameters.")
    known = {"num_classes": num_classes, "in_channels": input_shape[0], "image_size": input_shape[-1]}
    return {name: value for name, value in known.items() if name in named}


@contextlib.contextmanager
def _told(source: str, place: str) -> Iterator[None]:
    """Let a file import its neighbours, and say where foreign code failed."""
    folder = [str(Path(place).expanduser().parent)] if place.endswith(".py") else []
    sys.path[:0] = folder
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        raise ModelError(
            f"{source} failed{_where(error, file_of(source))}: {type(error).__name__}: {str(error)[:300]}"
        ) from error
    finally:
        for each in folder:
            sys.path.remove(each)


def _where(error: BaseException, file: Path | None) -> str:
    """Return the last line of the user's own file that was running, ", line 12", "" if there was none."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""


def _described(source: str) -> str:
    """Return the file's name and the beginning of its SHA-256, or the module's name."""
    file = file_of(source)
    if file is None:
        return split_source(source)[0]
    return f"{file.name} (SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]})"
