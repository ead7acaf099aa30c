"""Every network that can be raced, by name: plain facts, known without importing torch.

The torchvision rows are a copy of what torchvision says about itself; `tests/core/test_models_catalog.py` holds the
two together.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from multirate_core.errors import ModelError

OFFLINE_NAME: Final = "glyph_net"
OFFLINE_TEXT_NAME: Final = "doc_net"
OWN_NAME: Final = "own"
SHIPPED_FAMILY: Final = "Ships with this project"
CIFAR_FAMILY: Final = "ResNet for CIFAR"

Takes = Literal["images", "texts"]
Maker = Literal["shipped", "torchvision", "hugging_face", "timm", "own"]


@dataclass(frozen=True)
class ModelInfo:
    """What a picker and the data loading need to know about a network.

    Args:
        name: as in `ModelConfig.name`; torchvision's own name for its models.
        title: the name as people write it.
        family: what it is grouped under.
        image_size: edge in pixels of the images that it was made for; 0 if the network has to be asked for it.
        channels: of the images it takes: 3 for torchvision's models, 1 for the offline network, 0 for any.
        offline: its pretrained weights ship with this project.
        pretrained: there are published or shipped weights.
        note: parameters and size of the download, in words.
        smallest_size: the smallest edge in pixels that it can be trained on.
        fixed_size: it takes images of exactly `image_size`.
        takes: what it is trained on.
        maker: which library makes it: "shipped" is this project's own code, "own" the user's.
        hub: its source where that is known: a name on Hugging Face's hub, or code that is listed under this name; ""
            where the user has to name one.
        most_tokens: of a text network: the longest text that it takes.
    """

    name: str
    title: str
    family: str
    image_size: int
    channels: int
    offline: bool
    pretrained: bool
    note: str
    smallest_size: int = 8
    fixed_size: bool = False
    takes: Takes = "images"
    maker: Maker = "torchvision"
    hub: str = ""
    most_tokens: int = 0


# family: (title, smallest size, fixed size, ((name, title, image size, parameters in millions, download in MB), ...)).
# Smallest sizes were found by running every model on ever smaller images; below 8 pixels no image is accepted.
_FAMILIES: Final = {
    "resnet": ("ResNet", 8, False, (
        ("resnet18", "ResNet-18", 224, 11.7, 45), ("resnet34", "ResNet-34", 224, 21.8, 83),
        ("resnet50", "ResNet-50", 224, 25.6, 98), ("resnet101", "ResNet-101", 224, 44.5, 171),
        ("resnet152", "ResNet-152", 224, 60.2, 230),
    )),
    "resnext": ("ResNeXt", 8, False, (
        ("resnext50_32x4d", "ResNeXt-50 32×4d", 224, 25.0, 96),
        ("resnext101_32x8d", "ResNeXt-101 32×8d", 224, 88.8, 340),
        ("resnext101_64x4d", "ResNeXt-101 64×4d", 224, 83.5, 319),
    )),
    "wide_resnet": ("Wide ResNet", 8, False, (
        ("wide_resnet50_2", "Wide ResNet-50-2", 224, 68.9, 263),
        ("wide_resnet101_2", "Wide ResNet-101-2", 224, 126.9, 485),
    )),
    "mobilenet": ("MobileNet", 8, False, (
        ("mobilenet_v2", "MobileNet V2", 224, 3.5, 14),
        ("mobilenet_v3_small", "MobileNet V3 small", 224, 2.5, 10),
        ("mobilenet_v3_large", "MobileNet V3 large", 224, 5.5, 21),
    )),
    "efficientnet": ("EfficientNet", 8, False, (
        ("efficientnet_b0", "EfficientNet-B0", 224, 5.3, 20), ("efficientnet_b1", "EfficientNet-B1", 240, 7.8, 30),
        ("efficientnet_b2", "EfficientNet-B2", 288, 9.1, 35), ("efficientnet_b3", "EfficientNet-B3", 300, 12.2, 47),
        ("efficientnet_b4", "EfficientNet-B4", 380, 19.3, 74), ("efficientnet_b5", "EfficientNet-B5", 456, 30.4, 117),
        ("efficientnet_b6", "EfficientNet-B6", 528, 43.0, 165), ("efficientnet_b7", "EfficientNet-B7", 600, 66.3, 255),
        ("efficientnet_v2_s", "EfficientNet V2-S", 384, 21.5, 83),
        ("efficientnet_v2_m", "EfficientNet V2-M", 480, 54.1, 208),
        ("efficientnet_v2_l", "EfficientNet V2-L", 480, 118.5, 455),
    )),
    "squeezenet1_0": ("SqueezeNet", 21, False, (("squeezenet1_0", "SqueezeNet 1.0", 224, 1.2, 5),)),
    "squeezenet1_1": ("SqueezeNet", 17, False, (("squeezenet1_1", "SqueezeNet 1.1", 224, 1.2, 5),)),
    "convnext": ("ConvNeXt", 32, False, (
        ("convnext_tiny", "ConvNeXt tiny", 224, 28.6, 109), ("convnext_small", "ConvNeXt small", 224, 50.2, 192),
        ("convnext_base", "ConvNeXt base", 224, 88.6, 338), ("convnext_large", "ConvNeXt large", 224, 197.8, 755),
    )),
    "densenet": ("DenseNet", 29, False, (
        ("densenet121", "DenseNet-121", 224, 8.0, 31), ("densenet161", "DenseNet-161", 224, 28.7, 110),
        ("densenet169", "DenseNet-169", 224, 14.1, 55), ("densenet201", "DenseNet-201", 224, 20.0, 77),
    )),
    "regnet": ("RegNet", 8, False, (
        ("regnet_x_400mf", "RegNet X 400 MF", 224, 5.5, 21), ("regnet_x_800mf", "RegNet X 800 MF", 224, 7.3, 28),
        ("regnet_x_1_6gf", "RegNet X 1.6 GF", 224, 9.2, 35), ("regnet_x_3_2gf", "RegNet X 3.2 GF", 224, 15.3, 59),
        ("regnet_x_8gf", "RegNet X 8 GF", 224, 39.6, 151), ("regnet_x_16gf", "RegNet X 16 GF", 224, 54.3, 208),
        ("regnet_x_32gf", "RegNet X 32 GF", 224, 107.8, 412),
        ("regnet_y_400mf", "RegNet Y 400 MF", 224, 4.3, 17), ("regnet_y_800mf", "RegNet Y 800 MF", 224, 6.4, 25),
        ("regnet_y_1_6gf", "RegNet Y 1.6 GF", 224, 11.2, 43), ("regnet_y_3_2gf", "RegNet Y 3.2 GF", 224, 19.4, 75),
        ("regnet_y_8gf", "RegNet Y 8 GF", 224, 39.4, 151), ("regnet_y_16gf", "RegNet Y 16 GF", 224, 83.6, 319),
        ("regnet_y_32gf", "RegNet Y 32 GF", 224, 145.0, 554), ("regnet_y_128gf", "RegNet Y 128 GF", 384, 644.8, 2462),
    )),
    "shufflenet": ("ShuffleNet V2", 8, False, (
        ("shufflenet_v2_x0_5", "ShuffleNet V2 ×0.5", 224, 1.4, 5),
        ("shufflenet_v2_x1_0", "ShuffleNet V2 ×1.0", 224, 2.3, 9),
        ("shufflenet_v2_x1_5", "ShuffleNet V2 ×1.5", 224, 3.5, 14),
        ("shufflenet_v2_x2_0", "ShuffleNet V2 ×2.0", 224, 7.4, 28),
    )),
    "mnasnet": ("MNASNet", 8, False, (
        ("mnasnet0_5", "MNASNet 0.5", 224, 2.2, 9), ("mnasnet0_75", "MNASNet 0.75", 224, 3.2, 12),
        ("mnasnet1_0", "MNASNet 1.0", 224, 4.4, 17), ("mnasnet1_3", "MNASNet 1.3", 224, 6.3, 24),
    )),
    "vit": ("Vision Transformer", 224, True, (
        ("vit_b_16", "ViT-B/16", 224, 86.6, 330), ("vit_b_32", "ViT-B/32", 224, 88.2, 337),
        ("vit_l_16", "ViT-L/16", 224, 304.3, 1161), ("vit_l_32", "ViT-L/32", 224, 306.5, 1169),
        ("vit_h_14", "ViT-H/14", 518, 633.5, 2417),
    )),
    "swin": ("Swin Transformer", 8, False, (
        ("swin_t", "Swin tiny", 224, 28.3, 108), ("swin_s", "Swin small", 224, 49.6, 190),
        ("swin_b", "Swin base", 224, 87.8, 335), ("swin_v2_t", "Swin V2 tiny", 256, 28.4, 109),
        ("swin_v2_s", "Swin V2 small", 256, 49.7, 191), ("swin_v2_b", "Swin V2 base", 256, 87.9, 336),
    )),
    "maxvit": ("MaxViT", 224, True, (("maxvit_t", "MaxViT tiny", 224, 30.9, 119),)),
    "vgg": ("VGG", 32, False, (
        ("vgg11", "VGG-11", 224, 132.9, 507), ("vgg13", "VGG-13", 224, 133.0, 508),
        ("vgg16", "VGG-16", 224, 138.4, 528), ("vgg19", "VGG-19", 224, 143.7, 548),
        ("vgg11_bn", "VGG-11 with BatchNorm", 224, 132.9, 507), ("vgg13_bn", "VGG-13 with BatchNorm", 224, 133.1, 508),
        ("vgg16_bn", "VGG-16 with BatchNorm", 224, 138.4, 528), ("vgg19_bn", "VGG-19 with BatchNorm", 224, 143.7, 548),
    )),
    "alexnet": ("AlexNet", 63, False, (("alexnet", "AlexNet", 224, 61.1, 233),)),
    "googlenet": ("GoogLeNet", 15, False, (("googlenet", "GoogLeNet", 224, 6.6, 50),)),
    "inception": ("Inception", 75, False, (("inception_v3", "Inception V3", 299, 27.2, 104),)),
}  # fmt: skip

# name, title, parameters in millions. Made here, without weights: see `cifar_resnets`.
_CIFAR_RESNETS: Final = (
    ("resnet20", "ResNet-20", 0.27),
    ("resnet32", "ResNet-32", 0.46),
    ("resnet56", "ResNet-56", 0.85),
)

# name, title, name on the hub, size in words. Any other one, and any local folder, goes by "hugging_face".
_HUGGING_FACE: Final = (
    ("distilbert", "DistilBERT", "distilbert/distilbert-base-uncased", "67 M parameters, 268 MB to download"),
    ("bert", "BERT base", "google-bert/bert-base-uncased", "110 M parameters, 440 MB to download"),
    ("roberta", "RoBERTa base", "FacebookAI/roberta-base", "125 M parameters, 499 MB to download"),
    ("minilm", "MiniLM-L6", "sentence-transformers/all-MiniLM-L6-v2", "23 M parameters, 91 MB to download"),
    ("deberta", "DeBERTa V3 small", "microsoft/deberta-v3-small", "141 M parameters, 286 MB to download"),
    ("hugging_face", "Another from Hugging Face", "", "A folder or a name on the hub, of any network that classifies "
     "texts; needs the package transformers."),
)  # fmt: skip

# What the source of a network is, by its maker; the others need none.
_SOURCES: Final = {
    "hugging_face": "a local folder with config.json, or a name on the hub such as "
    "'distilbert/distilbert-base-uncased'",
    "timm": "a name in timm such as 'resnet18.a1_in1k' or 'vit_tiny_patch16_224'",
    "own": "code that makes the network: 'path/to/file.py:function' or 'package.module:function'",
}
_TIMM_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")  # neither a folder nor somebody's page on the hub


def model_info(name: str) -> ModelInfo:
    """Return the facts about one network.

    Raises:
        ModelError: the name is unknown; the message offers the nearest ones.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.4) or [OFFLINE_NAME, "resnet18"]
    raise ModelError(
        f"unknown model {name[:80]!r}; the nearest names are {', '.join(near)}. "
        f"Choose one of the {len(MODELS)} models of multirate_core.models.catalog."
    )


def source_of(info: ModelInfo, source: str) -> str:
    """Return what a network comes from: a folder, a name or code; "" for one that needs none.

    Raises:
        ModelError: a source for a network that has none, none for one that needs it, or no name in timm.
    """
    if info.maker not in _SOURCES:
        if source:
            raise ModelError(
                f"{info.name} has no source, got {source[:80]!r}. Leave it out, or choose hugging_face, timm or own."
            )
        return ""
    found = source or info.hub
    if not found:
        raise ModelError(f"{info.name} needs a source: {_SOURCES[info.maker]}.")
    if info.maker == "timm" and not _TIMM_NAME.fullmatch(found):
        raise ModelError(f"{found[:80]!r} is not a name in timm, which has letters, digits, '.', '_' and '-' only.")
    return found


def require_weights(info: ModelInfo, weights: str) -> None:
    """Raise ModelError for pretrained weights of a network that has none; own code returns what it likes.

    Args:
        info: of the network.
        weights: as in `ModelConfig`.
    """
    if weights == "pretrained" and not info.pretrained and info.maker != "own":
        raise ModelError(
            f"{info.name} has no pretrained weights that ship with this project or can be downloaded, got weights "
            "'pretrained'. Use 'none' (random weights), or the path of a local state dict (.pth, .pt, .th or "
            ".safetensors)."
        )


def require_image_size(info: ModelInfo, image_size: int) -> None:
    """Raise ModelError unless the network can be trained on images with an edge of `image_size` pixels."""
    if info.fixed_size and image_size != info.image_size:
        raise ModelError(
            f"{info.name} takes images of exactly {info.image_size} pixels, got {image_size}. "
            f"Set the image size to {info.image_size}."
        )
    if image_size < info.smallest_size:
        raise ModelError(
            f"{info.name} needs images of at least {info.smallest_size} pixels, got {image_size}. "
            f"Set the image size to {info.smallest_size} or more; its weights were made at {info.image_size}."
        )


def _offline() -> ModelInfo:
    note = "Small convolutional network, pretrained on rendered letters; its weights ship with this project."
    return ModelInfo(OFFLINE_NAME, "Glyph net", SHIPPED_FAMILY, 32, 1, True, True, note, maker="shipped")


def _offline_text() -> ModelInfo:
    note = (
        "Small transformer, pretrained on documentation of Python and of packages; its weights ship with this project."
    )
    return _text_model(OFFLINE_TEXT_NAME, "Doc net", SHIPPED_FAMILY, note, maker="shipped", most_tokens=128)


def _text_model(
    name: str, title: str, family: str, note: str, maker: Maker, hub: str = "", most_tokens: int = 512
) -> ModelInfo:
    return ModelInfo(
        name,
        title,
        family,
        0,
        0,
        maker == "shipped",
        True,
        note,
        takes="texts",
        maker=maker,
        hub=hub,
        most_tokens=most_tokens,
    )


def _cifar_resnet(name: str, title: str, millions: float) -> ModelInfo:
    note = f"{millions:g} M parameters, for images of 32 pixels; random weights, or your own state dict from a file."
    return ModelInfo(name, title, CIFAR_FAMILY, 32, 3, False, False, note, maker="shipped")


def _timm() -> ModelInfo:
    note = "Any network for images that timm knows, by its name there; needs the package timm."
    return ModelInfo("timm", "Another from timm", "timm", 0, 3, False, True, note, maker="timm")


def _own() -> ModelInfo:
    note = "A network that code of your own makes; images are scaled to [-1, 1]."
    return ModelInfo(OWN_NAME, "Your own", "Your own", 224, 0, False, False, note, maker="own")


def _catalog() -> dict[str, ModelInfo]:
    rows = {OFFLINE_NAME: _offline(), OFFLINE_TEXT_NAME: _offline_text()}
    rows |= {member[0]: _cifar_resnet(*member) for member in _CIFAR_RESNETS}
    for family, smallest, fixed, members in _FAMILIES.values():
        for name, title, size, millions, megabytes in members:
            note = f"{millions:g} M parameters; pretrained weights: {megabytes} MB to download."
            least = size if fixed else smallest
            rows[name] = ModelInfo(name, title, family, size, 3, False, True, note, least, fixed)
    for name, title, hub, words in _HUGGING_FACE:
        note = f"{words}; needs the package transformers." if hub else words
        rows[name] = _text_model(name, title, "Hugging Face", note, "hugging_face", hub)
    return rows | {row.name: row for row in (_timm(), _own())}


MODELS: Final = MappingProxyType(_catalog())
