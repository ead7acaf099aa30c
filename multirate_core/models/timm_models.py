"""Networks of timm, by their names there; timm is optional, and only its own published weights are downloaded."""

from __future__ import annotations

import difflib
import importlib.util
import warnings
from typing import Any, Final

import torch
from torch import nn

from multirate_core.errors import DownloadError, ModelError
from multirate_core.models import heads
from multirate_core.models.forward_check import require_scores
from multirate_core.network import FAILURES, patience

_USUAL_SIZE: Final = 224  # of the few that say nothing
_USUAL_MEAN: Final = (0.485, 0.456, 0.406)
_USUAL_STD: Final = (0.229, 0.224, 0.225)


def build_skeleton(
    name: str, num_classes: int, input_shape: tuple[int, ...], pretrained: bool = False
) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a network, by default with random weights; under `torch.device("meta")` no memory is taken.

    Returns:
        The network and the module paths of its head.

    Raises:
        ModelError: timm is missing, there is no such network, or it does not take images of this size.
        DownloadError: its pretrained weights are not at hand and the network does not give them.
    """
    _require_known(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names and settings of timm's own
        _require_fit(name, num_classes, input_shape)
        options = {"num_classes": num_classes, "in_chans": input_shape[0]}
        model: nn.Module = _timm().create_model(name, pretrained=pretrained, **options)
    return model, head_of(model)


def build_pretrained(
    name: str, num_classes: int, input_shape: tuple[int, ...]
) -> tuple[nn.Module, tuple[str, ...], tuple[str, ...]]:
    """Make a network with timm's weights; its head is new unless theirs has as many classes.

    Returns:
        The network, the module paths of its head, and notes on where the weights come from and what is new.

    Raises:
        ModelError: as `build_skeleton`, or timm has no weights for it.
        DownloadError: they are not in the cache and the network does not give them.
    """
    _require_known(name)
    if not _timm().is_model_pretrained(name):
        raise ModelError(f"timm has no pretrained weights for {name}. Use weights 'none' or the path of a local file.")
    try:
        with patience():
            model, head = build_skeleton(name, num_classes, input_shape, pretrained=True)
    except FAILURES as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")[:300]
        raise DownloadError(
            f"the weights of {name} cannot be had from the hub: {reason}. Try again with a network connection, or use "
            "weights 'none' or the path of a local file."
        ) from error
    facts = _facts(name)
    notes = (
        f"Pretrained weights: {facts.hf_hub_id or facts.architecture} from timm.",
        "The published head has as many classes and is used."
        if facts.num_classes == num_classes
        else f"The head is new, with random weights: the published one has {facts.num_classes} classes.",
    )
    return model, head, notes


def image_size(name: str) -> int:
    """Return the edge in pixels of the images that a network was made for.

    Raises:
        ModelError: timm is missing, there is no such network, or its images are not square.
    """
    _require_known(name)
    height, width = _size(name)
    if height != width:
        raise ModelError(f"{name} was made for images of {height}×{width}, and images are square here. Set their size.")
    return height


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel that a network's published weights were trained with."""
    facts = _facts(name)
    return (tuple(facts.mean), tuple(facts.std)) if facts is not None else (_USUAL_MEAN, _USUAL_STD)


def head_of(model: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the head: what timm calls the classifier, which may be several layers.

    Raises:
        ModelError: the network has none.
    """
    ask = getattr(model, "get_classifier", None)
    given = ask() if callable(ask) else ()
    layers = given if isinstance(given, tuple | list | nn.ModuleList) else (given,)
    paths = tuple(path for path, module in model.named_modules() if any(module is layer for layer in layers))
    return paths or (heads.head_path(model),)


def _require_known(name: str) -> None:
    """Raise ModelError unless timm is there and has a network of this name, with this tag if it has one."""
    if importlib.util.find_spec("timm") is None:
        raise ModelError(f"{name} needs the package timm. Install it: pip install 'timm>=1.0'.")
    known = {*_timm().list_models(), *_timm().list_models(pretrained=True)}
    if name not in known:
        raise ModelError(f"timm has no network {name!r}; the nearest names are {', '.join(_nearest(name, known))}.")


def _nearest(name: str, known: set[str]) -> list[str]:
    """Return up to three names: of the same network with other weights, else those that look alike."""
    network = name.partition(".")[0]
    same = sorted(each for each in known if each.startswith(f"{network}."))[:3]
    return same or difflib.get_close_matches(name, known, n=3, cutoff=0.4) or ["resnet18", "vit_tiny_patch16_224"]


def _require_fit(name: str, num_classes: int, input_shape: tuple[int, ...]) -> None:
    """Raise ModelError unless the network takes images of this shape; the trial takes no memory."""
    height, width = _size(name)
    advice = f"Set the image size to {height}." if height == width else f"It was made for {height}×{width} pixels."
    with torch.device("meta"):
        model = _timm().create_model(name, num_classes=num_classes, in_chans=input_shape[0])
        require_scores(name, model.train(), input_shape, num_classes, advice)


def _size(name: str) -> tuple[int, int]:
    facts = _facts(name)
    return (_USUAL_SIZE, _USUAL_SIZE) if facts is None else facts.input_size[-2:]


def _facts(name: str) -> Any:
    """Return what timm writes down about a network's published weights, None for a few old names."""
    return _timm().models.get_pretrained_cfg(name)


def _timm() -> Any:
    import timm  # optional, and takes seconds

    return timm
