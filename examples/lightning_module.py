"""Lightning: `configure_optimizers` returns the multirate optimiser; validation, clipping and checkpoints as ever.

With several optimisers and manual optimisation, `toggle_optimizer` keeps the flags of resting parameters as they are.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from multirate_core.data.digits import load_digits_split
from multirate_core.optim import MultirateSGD


class DigitClassifier(lightning.LightningModule):
    """A small network whose head is fast and whose other layers are slow."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        """Return the loss of a batch."""
        return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        """Log the accuracy, in percent."""
        right = self.head(self.body(batch[0])).argmax(1) == batch[1]
        self.log("accuracy", 100 * right.float().mean())

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimiser and a schedule that is stepped after every optimiser step."""
        groups = [
            {"params": self.head.parameters(), "name": "fast"},
            {"params": self.body.parameters(), "name": "slow", "period": 4},
        ]
        optimizer = MultirateSGD(groups, lr=0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / 200))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_data() -> tuple[DataLoader, DataLoader]:
    """Return scikit-learn's digits for training, in the order of the file, and for validation."""
    digits = load_digits_split(image_size=8)
    train = TensorDataset(digits.train_images / 255, digits.train_labels)
    test = TensorDataset(digits.test_images / 255, digits.test_labels)
    return DataLoader(train, batch_size=32), DataLoader(test, batch_size=200)


def make_trainer(**arguments: Any) -> lightning.Trainer:
    """Return a quiet trainer on the CPU; `arguments` are more of `lightning.Trainer`'s, or others than these."""
    options = {
        "accelerator": "cpu",
        "max_epochs": 5,
        "gradient_clip_val": 0.3,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        **arguments,
    }
    return lightning.Trainer(**options)


def main() -> float:
    """Train and return the accuracy of the last validation, in percent."""
    trainer = make_trainer()
    trainer.fit(DigitClassifier(), *make_data())
    return float(trainer.callback_metrics["accuracy"])


if __name__ == "__main__":
    print(f"validation accuracy {main():.1f} %")
