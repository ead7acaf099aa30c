"""Hugging Face Trainer with a multirate optimiser: it goes in as `optimizers=(optimizer, scheduler)`, nothing else.

Embeddings and the first encoder layer get a gradient at every third step, the last layer and the head at every step.
The Trainer's gradient accumulation, clipping and checkpoints work as they do with any optimiser.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from toy_text import tokenised
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)

from multirate_core.optim import MultirateAdamW

FAST = ("bert.encoder.layer.1", "bert.pooler", "classifier")


def make_model(vocabulary: int) -> BertForSequenceClassification:
    """Return a tiny BERT with random weights; a pretrained one is treated alike."""
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config)


def make_optimizer(model: torch.nn.Module) -> MultirateAdamW:
    """Split the parameters by name into a fast and a slow group."""
    named = list(model.named_parameters())
    groups = [
        {"params": [pair for pair in named if pair[0].startswith(FAST)], "name": "fast"},
        {"params": [pair for pair in named if not pair[0].startswith(FAST)], "name": "slow", "period": 3},
    ]
    return MultirateAdamW(groups, lr=3e-3, weight_decay=0.01)


def make_trainer(folder: str, **arguments: Any) -> Trainer:
    """Return a Trainer over the toy sentences, ready to `train()`.

    Args:
        folder: where checkpoints go.
        arguments: more of `TrainingArguments`, or others than these.
    """
    set_seed(0)
    tokenizer, sentences = tokenised()
    model = make_model(len(tokenizer))
    optimizer = make_optimizer(model)
    options = {
        "output_dir": folder,
        "max_steps": 30,
        "per_device_train_batch_size": 5,
        "gradient_accumulation_steps": 2,
        "max_grad_norm": 0.5,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        **arguments,
    }
    scheduler = get_linear_schedule_with_warmup(optimizer, 3, options["max_steps"])
    return Trainer(
        model=model,
        args=TrainingArguments(**options),
        train_dataset=sentences,
        data_collator=DataCollatorWithPadding(tokenizer),
        optimizers=(optimizer, scheduler),
    )


def main() -> float:
    """Train and return the loss of the last step."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(folder, logging_steps=10)
        trainer.train()
        return trainer.state.log_history[-2]["loss"]


if __name__ == "__main__":
    print(f"last loss {main():.3f}")
