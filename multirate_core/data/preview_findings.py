"""What can be found out about labels and fingerprints of samples: counts, duplicates, problems. No torch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain, islice, zip_longest
from typing import Final

from multirate_core.data.folder_scan import rows_by_label
from multirate_core.data.preview_form import MOST_SAMPLES, ClassCount, Duplicates

SHOWN_SAMPLES: Final = 12
MOST_IMBALANCE: Final = 10  # times the rarest class
_NAMED: Final = 5  # classes or files named in a sentence


def count_classes(names: Sequence[str], train: Sequence[int], test: Sequence[int]) -> tuple[ClassCount, ...]:
    """Return the samples of every class, from the labels of both parts."""
    trained, tested = Counter(train), Counter(test)
    return tuple(ClassCount(name, trained[label], tested[label]) for label, name in enumerate(names))


def chosen_rows(count: int) -> list[int]:
    """Return the rows to look at, at most MOST_SAMPLES, in an order in which any beginning is a fair sample."""
    return random.Random(0).sample(range(count), min(count, MOST_SAMPLES))


def spread_rows(labels: Sequence[int]) -> list[int]:
    """Return up to SHOWN_SAMPLES rows, of every class one before any class has two."""
    rounds = zip_longest(*(rows for _, rows in sorted(rows_by_label(labels).items())))
    return list(islice((row for row in chain.from_iterable(rounds) if row is not None), SHOWN_SAMPLES))


def find_duplicates(train: Sequence[tuple[Hashable, int]], test: Sequence[Hashable]) -> Duplicates:
    """Compare samples by their fingerprints.

    Args:
        train: fingerprint and label of every training sample that was read.
        test: fingerprints of the test samples that were read.
    """
    labels: dict[Hashable, set[int]] = {}
    for mark, label in train:
        labels.setdefault(mark, set()).add(label)
    conflicting = sum(len(labels[mark]) > 1 for mark, _ in train)
    return Duplicates(len(train), len(test), sum(mark in labels for mark in test), conflicting)


def problems_of(classes: Sequence[ClassCount], duplicates: Duplicates) -> list[str]:
    """Return what a race would refuse, or what makes its result hard to read, in one sentence each."""
    found = {
        "no sample at all": [each.name for each in classes if not each.train + each.test],
        "test samples, but none to train with": [each.name for each in classes if each.test and not each.train],
        "training samples, but none to test with": [each.name for each in classes if each.train and not each.test],
        "a single training sample": [each.name for each in classes if each.train == 1],
    }
    said = [f"{_classes(names)} {what}: {named(names)}." for what, names in found.items() if names]
    if len(classes) < 2:
        said.insert(0, f"There are {len(classes)} class(es); training needs at least 2.")
    return [*said, *_imbalance(classes), *_duplicate_problems(duplicates)]


def named(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _classes(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names):,} classes have"


def _imbalance(classes: Sequence[ClassCount]) -> list[str]:
    trained = [each for each in classes if each.train]
    if not trained:
        return []
    most, least = (pick(trained, key=lambda each: each.train) for pick in (max, min))
    if most.train <= MOST_IMBALANCE * least.train:
        return []
    return [
        f"The classes are of very different sizes: {most.name} has {most.train:,} training samples, {least.name} "
        f"{least.train:,}. Balanced accuracy says more than accuracy then."
    ]


def _duplicate_problems(found: Duplicates) -> list[str]:
    said = []
    if found.in_both:
        said.append(
            f"{found.in_both:,} of {found.test:,} test samples are also training samples: what the network has seen "
            "tests nothing."
        )
    if found.conflicting:
        said.append(
            f"{found.conflicting:,} of {found.train:,} training samples have an equal one in another class: one of the "
            "labels must be wrong."
        )
    return said
