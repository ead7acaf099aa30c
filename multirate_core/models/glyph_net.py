"""The small convolutional network of the offline default pair, with the weights that this project trained itself.

About 100,000 parameters, made for 32 × 32 grey images. The weights come from `pretrain_glyphs` (letters and symbols,
no digits) and lie beside this file; `assets/glyph_net.json` says how they were made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

ASSET_PATH: Final = Path(__file__).parent / "assets" / "glyph_net.safetensors"
RECORD_PATH: Final = ASSET_PATH.with_suffix(".json")
SHA256: Final = "199154b9f7fcf785296559c89d8928ef293ceba2a9bb4f42033c888a4f384b88"
INPUT_SIZE: Final = 32  # pixels
MEAN: Final = (0.25,)  # of pixels in [0, 1], as the weights expect them: (pixel - MEAN) / STD
STD: Final = (0.33,)


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm, around which the input passes through a 1 × 1 convolution.

    Source: K. He et al., Identity Mappings and Deep Residual Learning, CVPR 2016 (arXiv 1512.03385), section 3.3,
    option C.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class GlyphNet(nn.Module):
    """A stem, three residual blocks, the maximum over the image, and a small linear head.

    The last block is narrow: 32 features are enough for letters, and too few to read digits without being
    trained themselves, so that what the slow part learns can be seen.
    """

    def __init__(self, num_classes: int, in_channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.layer1 = ResidualBlock(16, 32, stride=1)
        self.layer2 = ResidualBlock(32, 64, stride=2)
        self.layer3 = ResidualBlock(64, 32, stride=2)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, in_channels, 32, 32) to class scores (B, num_classes); other sizes from 8 pixels up work."""
        x = self.layer1(self.stem(x))  # (B, 32, 16, 16)
        x = self.layer3(self.layer2(x))  # (B, 32, 4, 4)
        scores: Tensor = self.fc(x.amax(dim=(2, 3)))
        return scores


def build(num_classes: int, in_channels: int = 1) -> nn.Module:
    """Build the network with random weights.

    Args:
        num_classes: outputs of the head, ≥ 1.
        in_channels: channels of the images, default 1; the shipped weights fit 1.

    Returns:
        The network in train mode; its random weights follow `torch.manual_seed`.
    """
    return GlyphNet(num_classes, in_channels)
