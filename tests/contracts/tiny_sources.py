"""Every source of networks and of data in a tiny local form, as words of the command line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from image_cases import small_fashion
from set_cases import FOLDERS, write_cifar10, write_cifar100, write_images, write_set
from table_cases import write, write_rows
from text_cases import save_checkpoint
from zip_cases import unpack, zip_of

from multirate_core.data.catalog import DATASETS
from multirate_core.models.catalog import MODELS

# Which family of `text_cases` stands for a network of the hub.
FAMILIES = {"minilm": "bert", "deberta": "deberta-v2", "hugging_face": "distilbert"}
TIMM_NAME = "test_resnet.r160_in1k"
# torchvision's own classes, and so with their heads, but for small images; and one with nothing but a head.
OWN_NETS = """
from torch import nn
from torchvision import models

def vit(num_classes, in_channels):
    return models.VisionTransformer(32, 16, 2, 2, 32, 64, num_classes=num_classes)

def swin(num_classes, in_channels):
    return models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [2, 2], num_classes=num_classes)

def densenet(num_classes, in_channels):
    return models.DenseNet(8, (2, 2), 8, num_classes=num_classes)

class Pooled(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 32, 4, stride=4)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, images):
        return self.fc(self.stem(images).relu().mean((2, 3)))

def pooled(num_classes, in_channels):
    return Pooled(num_classes, in_channels)
"""
CLASS_WORDS = ("good", "bad", "what", "who", "where", "not")
FILLERS = ("the", "film", "was", "very", "it", "and")
# Beside the names of `data.sets`: the forms in which somebody's own images and texts come.
FORMS = {
    **{"zip": "folder", "parts": "folder"},
    **{f"table.{suffix}": "table" for suffix in ("csv", "tsv", "jsonl")},
}
EVERY_SOURCE = tuple(name for name in (*DATASETS, *FORMS) if name != "table")


def network_words(model: str, folder: Path) -> list[str]:
    """Return the words that name a network, or with "own." before it a function of OWN_NETS."""
    model, _, function = model.partition(".")
    words, maker = ["--model", model], MODELS[model].maker
    if maker == "hugging_face":
        return [*words, "--source", str(save_checkpoint(FAMILIES.get(model, model), folder / "checkpoint"))]
    if maker == "timm":
        return [*words, "--source", TIMM_NAME]
    if maker == "own":
        return [*words, "--source", f"{write(folder / 'my_nets.py', OWN_NETS)}:{function}"]
    return words


def data_words(source: str, folder: Path) -> list[str]:
    """Return the words that name data of one of EVERY_SOURCE, written into a new folder "data" inside the folder."""
    words, info = ["--data", FORMS.get(source, source)], DATASETS.get(source)
    if info is not None and info.source == "shipped":
        return words
    folder = folder / "data"
    folder.mkdir()
    texts = source in (*_ROWS, "hub") or source.startswith("table")
    written = _texts(source, folder) if texts else _images(source, folder)
    return [*words, "--data-path", str(written)]


def _images(source: str, folder: Path) -> Path:
    if source in FOLDERS:
        return write_set(source, folder)
    if source == "zip":
        drawn = write_classes(folder, 10)
        return unpack(zip_of({path.relative_to(drawn).as_posix(): path.read_bytes() for path in drawn.rglob("*.jpg")}))
    if source == "parts":
        write_classes(folder / "val", 4)
        return write_classes(folder / "train", 8).parent
    if source == "folder":
        return write_classes(folder, 10)
    return {"fashion_mnist": small_fashion, "cifar10": write_cifar10, "cifar100": write_cifar100}[source](folder)


def write_classes(folder: Path, each: int) -> Path:
    """Write a folder of images for each of two classes; return the folder above them."""
    for label, name in enumerate(("first", "second")):
        paths = [folder / name / f"{number}.jpg" for number in range(each)]
        write_images(paths, [label] * each, seed=100 * label + each)
    return folder


# The rows of a set of texts as they stand in its files, from a text and the number of its class; and the files.
_ROWS = {
    "sst2": ("{text}\t{label}", 2, ("train.tsv", "dev.tsv")),
    "trec": ("{name}:other {text}", 6, ("TREC.train", "TREC.test")),
    "ag_news": ('"{number}","{text}","it was"', 4, ("train.csv", "test.csv")),
    "sms_spam": ("{name}\t{text}", 2, ("SMSSpamCollection",)),
}
_NAMES = {"trec": ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"), "sms_spam": ("ham", "spam")}


def _saved(folder: Path) -> Path:
    """Save a set of Hugging Face's `datasets`, or skip without it."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    features = datasets.Features(sentence=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"]))
    parts = {}
    for seed, (part, count) in enumerate({"train": 48, "validation": 12}.items()):
        texts, labels = zip(*reviews(2, count, seed=seed), strict=True)
        parts[part] = datasets.Dataset.from_dict({"sentence": texts, "label": labels}, features=features)
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


def _texts(source: str, folder: Path) -> Path:
    if source == "hub":
        return _saved(folder)
    if source.startswith("table"):
        rows = [(text, ("negative", "positive")[label]) for text, label in reviews(2, 40)]
        return write_rows(folder / f"reviews.{source.partition('.')[2]}", rows)
    form, classes, files = _ROWS[source]
    names: Sequence[str] = _NAMES.get(source, [""] * classes)
    for number, file in enumerate(files):
        lines = [
            form.format(text=text, label=label, number=label + 1, name=names[label])
            for text, label in reviews(classes, 48 if number == 0 else 12, seed=number)
        ]
        write(folder / file, "\n".join([*lines, ""]))
    return folder


def reviews(classes: int, count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Return texts with their labels; one word of each says which."""
    draw, rows = random.Random(seed), []
    for number in range(count):
        words = [draw.choice(FILLERS) for _ in range(draw.randint(0, 2))]
        words.insert(draw.randint(0, len(words)), CLASS_WORDS[number % classes])
        rows.append((" ".join(words), number % classes))
    return rows
