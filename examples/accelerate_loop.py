"""Hugging Face Accelerate: `prepare` wraps model, optimiser and data; the loop is the usual one.

`accelerator.accumulate` lets `optimizer.step()` through at every second batch only, and the period counts those steps.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from multirate_core.data.digits import load_digits_split
from multirate_core.optim import MultirateSGD


def make_model() -> nn.Sequential:
    """Return a small network for 8 x 8 digits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def make_optimizer(model: nn.Sequential) -> MultirateSGD:
    """The head gets a gradient at every step, the rest at every fourth."""
    groups = [
        {"params": model[5].parameters(), "name": "fast"},
        {"params": model[:5].parameters(), "name": "slow", "period": 4},
    ]
    return MultirateSGD(groups, lr=0.05, momentum=0.9)


def make_data() -> DataLoader:
    """Return scikit-learn's digits in batches of 32, in a fixed random order."""
    digits = load_digits_split(image_size=8)
    data = TensorDataset(digits.train_images / 255, digits.train_labels)
    return DataLoader(data, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))


def main(epochs: int = 5) -> float:
    """Train and return the mean loss of the last epoch."""
    accelerator = Accelerator(gradient_accumulation_steps=2, cpu=True)
    model = make_model()
    model, optimizer, loader = accelerator.prepare(model, make_optimizer(model), make_data())
    losses = []
    for _ in range(epochs):
        losses.clear()
        for images, labels in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(images), labels)
                accelerator.backward(loss)
                if accelerator.sync_gradients:  # the gradient of this step is complete
                    accelerator.clip_grad_norm_(model.parameters(), 0.3)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
    return sum(losses) / len(losses)


if __name__ == "__main__":
    print(f"loss of the last epoch {main():.3f}")
