"""Weights files: read one without running code from it, and copy it into a network, or say why it does not fit."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from multirate_core.errors import WeightsError

SUFFIXES: Final = (".pth", ".pt", ".th", ".safetensors")
_LISTED: Final = 5  # names in a message before "and so on"
_WRAPPERS: Final = ("state_dict", "model_state_dict", "model")  # where training scripts put the tensors
_PREFIXES: Final = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile
# What torch's restricted reader raises on files that are damaged, are not torch's, or hold more than tensors.
_UNREADABLE: Final = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OSError,
    struct.error,
    AssertionError,
)
# Names in torchvision's published DenseNet and ViT files that differ from those of the modules.
_OLD_NAMES: Final = (
    (re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)"), r"\1\2"),
    (re.compile(r"(.*\.mlp)\.linear_1\.(.*)"), r"\1.0.\2"),
    (re.compile(r"(.*\.mlp)\.linear_2\.(.*)"), r"\1.3.\2"),
)
# Heads that GoogLeNet and Inception use in training only; they are not built here.
_AUXILIARY: Final = re.compile(r"(AuxLogits|aux1|aux2)\..*")


def read_weights(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read a state dict from a file, on the CPU; no code in the file is run.

    Args:
        path: ends in .pth, .pt, .th or .safetensors. `{"state_dict": ...}` and prefixes such as "module." are
            unwrapped.

    Returns:
        Tensors by parameter name, and notes on what was unwrapped.

    Raises:
        WeightsError: the file is missing, damaged, or not a plain state dict.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(
            f"weights must be 'pretrained', 'none' or a file that ends in {', '.join(SUFFIXES)}, got {str(path)!r}."
        )
    try:
        present = path.is_file()
    except OSError as error:  # a folder above it that may not be entered, a name that is too long
        reason = f"{error.strerror}. Check the path and its permissions"
        raise WeightsError(f"the weights file {str(path)[:200]} cannot be read: {reason}.") from error
    if not present:
        raise WeightsError(f"there is no weights file {path}. Check the path, or use weights 'none'.")
    content, notes = _unwrap(_open(path), path)
    tensors = _require_tensors(content, path)
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            notes.append(f"Every name in {path.name} began with {prefix!r}; it was taken off.")
    return tensors, tuple(notes)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], head: tuple[str, ...]) -> tuple[str, ...]:
    """Copy a state dict into a network; only the head may be missing or have another size.

    Args:
        model: changed in place, unless the state dict does not fit.
        tensors: by parameter or buffer name; floating-point numbers are converted to the network's own type.
        head: module paths of the head. It keeps its new weights unless the file's fit exactly.

    Returns:
        Notes on the head and on what was converted or left out.

    Raises:
        WeightsError: names are missing or unknown, or shapes differ, outside the head; the message lists them.
    """
    own = model.state_dict()
    given, notes = _known_names(tensors)
    in_head = {name for name in own if name.startswith(tuple(f"{path}." for path in head))}
    counters = {name for name in own if name.endswith(".num_batches_tracked")}  # old files lack them; unused here
    _require_fit(own, given, optional=in_head | counters, free=in_head)
    fits = all(name in given and given[name].shape == own[name].shape for name in in_head)
    taken = [name for name in own if name in given and (fits or name not in in_head)]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(given[name])  # shares memory with the model; `copy_` converts the type
    types = sorted({str(given[name].dtype) for name in taken if given[name].dtype != own[name].dtype})
    if types:
        notes.append(f"The file's {', '.join(types)} numbers were converted to the network's own type.")
    return (*notes, _head_note(own, given, in_head, fits))


def _open(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path, device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about formats that are refused just below anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a plain state dict: it is no torch file, or a pickle that holds more than tensors, which "
            "could run code and is refused. Save `model.state_dict()` with torch.save or safetensors."
        ) from error
    except (SafetensorError, *_UNREADABLE) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"{path} cannot be read as a weights file: {reason}. Copy or download it again.") from error


def _unwrap(content: Any, path: Path) -> tuple[Any, list[str]]:
    """Return what lies under "state_dict" or the like, if the file is a training checkpoint."""
    if isinstance(content, Mapping):
        for key in _WRAPPERS:
            if isinstance(content.get(key), Mapping):
                return content[key], [f"The state dict was found in {path.name} under {key!r}."]
    return content, []


def _require_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(
            f"{path} holds {'an empty state dict' if isinstance(content, Mapping) else type(content).__name__}; "
            "a state dict, names with tensors, is needed. Save `model.state_dict()`."
        )
    others = [str(key) for key, value in content.items() if not isinstance(key, str) or not _is_plain(value)]
    if others:
        raise WeightsError(
            f"{path} is not a plain state dict: {_listed(others)} are not dense tensors. Save `model.state_dict()`."
        )
    return {name: tensor.detach() for name, tensor in content.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _known_names(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors under the names that modules have today, without auxiliary heads."""
    given: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _OLD_NAMES:
            name = pattern.sub(replacement, name)
        given[name] = tensor
    auxiliary = [name for name in given if _AUXILIARY.fullmatch(name)]
    for name in auxiliary:
        del given[name]
    return given, [f"{len(auxiliary)} tensors of auxiliary heads were left out."] if auxiliary else []


def _require_fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], optional: set[str], free: set[str]) -> None:
    """Raise WeightsError unless names and shapes agree; `optional` may be missing, `free` may have any shape."""
    missing = [name for name in own if name not in given and name not in optional]
    extra = [name for name in given if name not in own]
    shapes = [
        f"{name} is {_shape(given[name])}, must be {_shape(own[name])}"
        for name in own
        if name in given and name not in free and not _same_kind(given[name], own[name])
    ]
    problems = [
        f"{len(names)} {title}: {_listed(names)}"
        for title, names in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise WeightsError(
            f"the weights do not fit the model. {'; '.join(problems)}. "
            "Choose the model that they were saved from, or weights 'none'."
        )


def _same_kind(given: Tensor, own: Tensor) -> bool:
    return given.shape == own.shape and given.is_floating_point() == own.is_floating_point()


def _shape(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    all_names = [name[:120] for name in names]
    rest = len(all_names) - _LISTED
    return ", ".join(all_names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _head_note(own: Mapping[str, Tensor], given: Mapping[str, Tensor], in_head: set[str], fits: bool) -> str:
    names = sorted(in_head)
    if fits:
        return f"The file's head fits ({len(own[names[0]])} classes) and is used."
    found = [f"{name} {tuple(given[name].shape)}" for name in names if name in given]
    return f"The head is new, with random weights; the file has {', '.join(found) or 'none'}."
