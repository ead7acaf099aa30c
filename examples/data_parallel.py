"""Multirate training on several processes. Start it with `torchrun --nproc-per-node 2 examples/data_parallel.py`.

Each process trains on its own share of every batch; at a fast step only the head's gradients are exchanged.
"""

from __future__ import annotations

import argparse
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.optim import MultirateSGD

TRAINING_IMAGES = 1400


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return training and test images of 8 × 8 pixels with their labels."""
    numbers, labels = load_digits(return_X_y=True)
    images = torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, targets = images[order], torch.tensor(labels)[order]
    split = TRAINING_IMAGES
    return TensorDataset(images[:split], targets[:split]), TensorDataset(images[split:], targets[split:])


def make_model() -> nn.Sequential:
    """Return a small network; its last layer is the head."""
    conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(conv, nn.Linear(16 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10))


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Return the share of right answers."""
    images, labels = data.tensors
    model.eval()
    with torch.no_grad():
        share = (model(images).argmax(1) == labels).float().mean().item()
    model.train()
    return share


def main() -> None:
    """Train, and let the first process tell the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if on_gpu else "gloo")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)

    torch.manual_seed(0)
    model = make_model().to(device)
    slow = [weight for layer in model[:-1] for weight in layer.parameters()]
    optimizer = MultirateSGD(
        [
            {"params": model[-1].parameters(), "name": "fast", "period": 1},
            {"params": slow, "name": "slow", "period": 5},
        ],
        lr=0.01,
        momentum=0.9,
    )
    parallel = MultirateDataParallel(model, optimizer)

    training, test = digits()
    sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(training)
    loader = DataLoader(training, batch_size=16, sampler=sampler, drop_last=True)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        parallel.average_buffers()  # BatchNorm's statistics are each process's own until here
        if dist.get_rank() == 0:
            print(f"epoch {epoch + 1}: last loss {loss.item():.3f}", flush=True)
    if dist.get_rank() == 0:
        print(f"test accuracy {accuracy(model.cpu(), test):.1%}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
