"""A plain training loop on scikit-learn's handwritten digits: nothing is called that another optimiser would not need.

The hidden layers get a gradient at every fourth step and drift in between; the last layer gets one at every step.
"""

from __future__ import annotations

import torch
from torch import nn

from multirate_core.data.digits import load_digits_split
from multirate_core.optim import MultirateSGD


def main(epochs: int = 20) -> float:
    """Train a small network and return its test accuracy in percent."""
    torch.manual_seed(0)
    digits = load_digits_split(image_size=8)
    images, labels = digits.train_images / 255, digits.train_labels
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    slow, fast = model[:5], model[5]
    optimizer = MultirateSGD(
        [
            {"params": fast.parameters(), "name": "fast"},
            {"params": slow.parameters(), "name": "slow", "period": 4},
        ],
        lr=0.02,
        momentum=0.9,
    )
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        right = model(digits.test_images / 255).argmax(1) == digits.test_labels
    return 100 * right.float().mean().item()


if __name__ == "__main__":
    print(f"test accuracy {main():.1f} %")
