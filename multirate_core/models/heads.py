"""The head of a classification network, the layer that makes the class scores: found in every family."""

from __future__ import annotations

from torch import nn

from multirate_core.errors import ModelError

# Where the catalog's families keep it, the most specific path first.
_PLACES = ("heads.head", "fc", "head", "classifier", "linear")


def head_path(model: nn.Module) -> str:
    """Return the module path of the head: the last linear layer or 1×1 convolution below the place named for it.

    Raises:
        ModelError: none of the known places holds such a layer.
    """
    for place in _PLACES:
        module = _submodule(model, place)
        layers = [] if module is None else _layers(module, place)
        if layers:
            return layers[-1]
    raise ModelError(
        f"{type(model).__name__} has no head that is known: looked for a linear layer or a 1×1 convolution at "
        f"{', '.join(_PLACES)}. Choose another model."
    )


def _submodule(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _layers(module: nn.Module, place: str) -> list[str]:
    """Return the paths of the layers below `place` that can be a head, in architecture order."""
    named = ((f"{place}.{name}".rstrip("."), layer) for name, layer in module.named_modules())
    return [path for path, layer in named if isinstance(layer, nn.Linear) or _is_pointwise(layer)]


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
