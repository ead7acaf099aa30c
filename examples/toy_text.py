"""Twenty sentences about the weather and about the kitchen, as tokens: data for the Hugging Face example, no download."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

WEATHER = (
    "rain fell on the hills all night",
    "a cold wind came from the north",
    "the fog lifted before noon",
    "snow lay on the roofs in the morning",
    "clouds gathered and thunder followed",
    "the sun shone on a dry field",
    "frost covered the windows at dawn",
    "a warm breeze moved the leaves",
    "the storm passed over the coast",
    "it was clear and cold after the rain",
)
KITCHEN = (
    "stir the soup until it boils",
    "cut the onions and fry them in butter",
    "add a spoon of salt to the dough",
    "the bread rises in a warm oven",
    "pour the milk over the flour",
    "peel the apples and slice them thin",
    "let the sauce cool before you serve it",
    "beat the eggs with sugar",
    "roast the carrots with oil and pepper",
    "boil the rice in a covered pan",
)


def tokenised() -> tuple[PreTrainedTokenizerFast, list[dict[str, Any]]]:
    """Return a tokeniser trained on the sentences, and the sentences as its tokens with their labels."""
    sentences = [(text, label) for label, texts in enumerate((WEATHER, KITCHEN)) for text in texts]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator([text for text, _ in sentences], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    return fast, [{**fast(text), "labels": label} for text, label in sentences]
