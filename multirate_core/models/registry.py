"""A network by name, ready to train: with a head of the right size and the weights that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from multirate_core.config import ModelConfig
from multirate_core.errors import ModelError
from multirate_core.models import heads
from multirate_core.models.catalog import (
    CIFAR_FAMILY,
    OFFLINE_NAME,
    OFFLINE_TEXT_NAME,
    ModelInfo,
    model_info,
    require_image_size,
    require_weights,
    source_of,
)
from multirate_core.models.forward_check import require_scores
from multirate_core.models.published import published_weights, torchvision_entry
from multirate_core.models.weights import load_weights, read_weights


@dataclass(frozen=True)
class BuiltModel:
    """A network that is ready to train.

    Args:
        module: on the CPU, in train mode.
        head: module paths of the head.
        mean, std: one number per channel, for images in [0, 1]: (image - mean) / std is what the network takes; () for
            a text network.
        notes: what a reader of the results should know about its weights.
    """

    module: nn.Module
    head: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int, ...]) -> BuiltModel:
    """Make a network with the weights that `config` names and a head of the right size.

    Everything random is drawn from torch's current seed: the same seed gives the same network.

    Args:
        config: name and weights.
        num_classes: size of the head, ≥ 2.
        input_shape: of one sample, as `sample_shape` tells it: (C, H, W) of an image, (L,) of a text.

    Raises:
        ModelError: unknown name, wrong number of channels, images that the network cannot take, or pretrained weights
            of a network that has none.
        WeightsError: the weights cannot be read or do not fit.
        DownloadError: the weights have to be downloaded and the network does not give them.
    """
    info = model_info(config.name)
    source = source_of(info, config.source)
    require_weights(info, config.weights)
    if info.takes == "images":
        require_image_size(info, input_shape[-1])
    module, head, notes = _made(config, source, num_classes, input_shape)
    mean, std = _normalisation(info, source, input_shape) if info.takes == "images" else ((), ())
    return BuiltModel(module.train(), head, mean, std, notes)


def _made(
    config: ModelConfig, source: str, num_classes: int, input_shape: tuple[int, ...]
) -> tuple[nn.Module, tuple[str, ...], tuple[str, ...]]:
    """Return the network with the weights that `config` names, its head, and notes on both."""
    info = model_info(config.name)
    notes: tuple[str, ...] = ()
    if info.maker == "own":
        module, head, notes = _own_model(source, num_classes, input_shape)
        if config.weights in ("pretrained", "none"):
            return module, head, (*notes, "Its weights are as they were returned.")
    elif config.weights == "pretrained" and info.maker == "hugging_face":
        from multirate_core.models import hugging_face

        return hugging_face.build_pretrained(info, source, num_classes)
    elif config.weights == "pretrained" and info.maker == "timm":
        _require_channels(info, input_shape[0])
        from multirate_core.models import timm_models

        return timm_models.build_pretrained(source, num_classes, input_shape)
    else:
        module, head = build_skeleton(config.name, num_classes, input_shape, source)
        if config.weights == "none":
            return module, head, ("The weights are random.",)
    tensors, found = _tensors(config)
    return module, head, (*notes, *found, *load_weights(module, tensors, head))


def _own_model(
    source: str, num_classes: int, input_shape: tuple[int, ...]
) -> tuple[nn.Module, tuple[str, ...], tuple[str, ...]]:
    """Return the user's own network, its head and notes, if it can be raced on such images."""
    from multirate_core.models import own_models

    module, head, notes = own_models.build(source, num_classes, input_shape)
    advice = "Let its function take in_channels and image_size, or choose another image size."
    require_scores(source, module.eval(), input_shape, num_classes, advice)
    return module, head, notes


def sample_shape(config: ModelConfig, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a sample: edges of 0 become the network's own image size.

    Args:
        config: name and source of the network.
        shape: as `data_shape` tells it.

    Raises:
        ModelError: the name is unknown, or the network cannot say.
    """
    if 0 not in shape:
        return shape
    from multirate_core.models import timm_models

    edge = timm_models.image_size(source_of(model_info(config.name), config.source))
    return (shape[0], edge, edge)


def build_skeleton(
    name: str, num_classes: int, input_shape: tuple[int, ...], source: str = ""
) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a network with random weights and a head for `num_classes` classes.

    Under `torch.device("meta")` no memory is taken. Weights are drawn from torch's current seed.

    Args:
        name: of the catalog.
        num_classes: size of the head, ≥ 2.
        input_shape: of one sample, as `sample_shape` tells it.
        source: of a network that needs one, as in `ModelConfig`.

    Returns:
        The network and the module paths of its head.

    Raises:
        ModelError: the name is unknown, or the network does not take images of so many channels.
    """
    info = model_info(name)
    if info.maker == "hugging_face":
        from multirate_core.models import hugging_face

        return hugging_face.build_skeleton(info, source, num_classes)
    if info.takes == "images":
        _require_channels(info, input_shape[0])
    if info.maker == "timm":
        from multirate_core.models import timm_models

        return timm_models.build_skeleton(source_of(info, source), num_classes, input_shape)
    if info.maker == "own":
        from multirate_core.models import own_models

        module, head, _ = own_models.build(source_of(info, source), num_classes, input_shape)
        return module, head
    model = _shipped_model(info, num_classes) if info.maker == "shipped" else _torchvision_model(info, num_classes)
    return model, (heads.head_path(model),)


def _shipped_model(info: ModelInfo, num_classes: int) -> nn.Module:
    if info.name == OFFLINE_TEXT_NAME:
        from multirate_core.models import doc_net

        return doc_net.build(num_classes)
    if info.family == CIFAR_FAMILY:
        from multirate_core.models import cifar_resnets

        return cifar_resnets.build(info.name, num_classes)
    from multirate_core.models import glyph_net

    return glyph_net.build(num_classes, info.channels)


def _tensors(config: ModelConfig) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    if config.weights == "pretrained":
        return published_weights(config.name)
    path = Path(config.weights).expanduser()
    tensors, notes = read_weights(path)
    return tensors, (f"Weights from the file {path.name}.", *notes)


def _normalisation(
    info: ModelInfo, source: str, input_shape: tuple[int, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel that the published weights were trained with."""
    if info.maker == "own":
        return (0.5,) * input_shape[0], (0.5,) * input_shape[0]
    if info.maker == "timm":
        from multirate_core.models import timm_models

        return timm_models.normalisation(source)
    if info.family == CIFAR_FAMILY:
        from multirate_core.models import cifar_resnets

        return cifar_resnets.MEAN, cifar_resnets.STD
    if info.name == OFFLINE_NAME:
        from multirate_core.models import glyph_net

        return glyph_net.MEAN, glyph_net.STD
    transform = torchvision_entry(info.name).transforms()
    return tuple(transform.mean), tuple(transform.std)


def _require_channels(info: ModelInfo, channels: int) -> None:
    if info.channels and channels != info.channels:
        raise ModelError(
            f"{info.name} takes images of {info.channels} channel(s), got {channels}. "
            "The data loading repeats or mixes channels: load the images with the model's number of channels."
        )


def _torchvision_model(info: ModelInfo, num_classes: int) -> nn.Module:
    """Make a torchvision network: its stem stays as published, its head gets its family's own initialisation."""
    import torchvision  # takes more than a second: not for the offline network

    options: dict[str, Any] = {"num_classes": num_classes}
    if info.family in ("GoogLeNet", "Inception"):
        # Auxiliary heads would make the output a tuple. The published weights expect inputs scaled to [-1, 1], which
        # transform_input makes from ImageNet's normalisation.
        options |= {"aux_logits": False, "init_weights": True, "transform_input": True}
    if info.family == "Vision Transformer":
        options |= {"image_size": info.image_size}
    make = partial(torchvision.models.get_model, info.name, weights=None, **options)
    if info.family == "RegNet" and torch.empty(0).is_meta:
        return _make_regnet_on_meta(make)
    model: nn.Module = make()
    return model


def _make_regnet_on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a RegNet without memory for its weights; it computes its widths with tensors, which need a real device."""
    with torch.device("cpu"), _EmptyOnMeta():
        model = make()
    return model.to("meta")


class _EmptyOnMeta(TorchFunctionMode):
    """Sends only `torch.empty`, which all weights are made by, to the meta device."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)
