"""The residual networks for images of 32 × 32 pixels, ResNet-20, -32 and -56, written after the paper.

No weights ship with them. Modules are named as in the state dicts that are published most often for them (`conv1`,
`bn1`, `layer1` to `layer3`, `linear`), so that such a file fits; those expect images with the mean and standard
deviation of ImageNet's channels, which every image is given here, whatever the weights.

Source: K. He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385), section 4.2.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

# Blocks in each of the three stages: the paper's n, of 6n + 2 layers.
BLOCKS: Final = MappingProxyType({"resnet20": 3, "resnet32": 5, "resnet56": 9})
MEAN: Final = (0.485, 0.456, 0.406)  # of pixels in [0, 1], as published weights expect them: (pixel - MEAN) / STD
STD: Final = (0.229, 0.224, 0.225)


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm, added to a shortcut without weights (option A of section 4.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ⌈H / stride⌉, ⌈W / stride⌉)."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(inner + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        """Return every stride-th pixel, with channels of zeros: half before, half after, as published weights want."""
        if self.stride == 1 and not self.new_channels:
            return x
        before = self.new_channels // 2
        picked = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(picked, (0, 0, 0, 0, before, self.new_channels - before))


class CifarResNet(nn.Module):
    """A convolution, three stages of blocks with 16, 32 and 64 channels, the mean over the image, and a linear head."""

    def __init__(self, blocks: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, 32, 32) to class scores (B, num_classes); other sizes from 8 pixels up work."""
        x = functional.relu(self.bn1(self.conv1(x)))  # (B, 16, 32, 32)
        x = self.layer3(self.layer2(self.layer1(x)))  # (B, 64, 8, 8)
        scores: Tensor = self.linear(x.mean(dim=(2, 3)))
        return scores


def build(name: str, num_classes: int) -> nn.Module:
    """Build one of the networks with random weights, drawn as in K. He et al., ICCV 2015 (arXiv 1502.01852).

    Args:
        name: a key of `BLOCKS`.
        num_classes: outputs of the head, ≥ 1.

    Returns:
        The network in train mode; its random weights follow `torch.manual_seed`.
    """
    return CifarResNet(BLOCKS[name], num_classes)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    following = (BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride), *following)
