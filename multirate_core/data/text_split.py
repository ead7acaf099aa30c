"""Labelled texts of one or two files made into training and test rows, with what has to be said about them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from multirate_core.data.folder_scan import TEST_SHARE, split_rows
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError

BadRows = Literal["refuse", "skip"]
MAX_CLASSES: Final = 1_000
MAX_LABEL_CHARACTERS: Final = 100
_NAMED: Final = 5  # places named in a note


@dataclass
class LabelledTexts:
    """The texts of one file with the names of their classes, as they are read.

    Args:
        path: of the file.
        texts, labels: one label per text.
        first_lines: the line in which each label was first seen, in the order in which they were.
        bad_rows: how many rows were left out.
        bad_places: the first of them, each with its line and the reason.
    """

    path: Path
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    first_lines: dict[str, int] = field(default_factory=dict)
    bad_rows: int = 0
    bad_places: list[str] = field(default_factory=list)

    def add(self, line: int, text: str, label: str) -> None:
        """Take a row; DataError if there are more classes than MAX_CLASSES."""
        if label not in self.first_lines:
            if len(self.first_lines) == MAX_CLASSES:
                raise DataError(
                    f"{self.path}, line {line}: {label!r} is label number {MAX_CLASSES + 1:,}; at most {MAX_CLASSES:,} "
                    "classes are possible. Is it the column of the labels?"
                )
            self.first_lines[label] = line
        self.texts.append(text)
        self.labels.append(sys.intern(label))  # one string per class, not per row

    def refuse(self, line: int, reason: str, bad_rows: BadRows) -> None:
        """Raise DataError for a bad row, or with "skip" count it."""
        if bad_rows == "refuse":
            raise DataError(f"{self.path}, line {line}: {reason}. Mend the row, or choose to skip bad rows.")
        self.bad_rows += 1
        if len(self.bad_places) < _NAMED:
            self.bad_places.append(f"{self.path.name} line {line} ({reason})")


def to_text_rows(
    train: LabelledTexts,
    test: LabelledTexts | None,
    class_names: Sequence[str],
    seed: int,
    notes: Sequence[str],
    share: float | None = None,
) -> TextRows:
    """Return rows with numbered labels.

    Args:
        train: the texts for training, or all texts.
        test: None splits test texts off `train`.
        class_names: in the order of their numbers; all that occur in `train`.
        seed: of the split.
        notes: come first.
        share: of every class that is split off; None takes a fifth.

    Raises:
        DataError: fewer than two classes, a class that cannot be split, or a test label that training never saw.
    """
    _require_classes(train)
    places = {name: place for place, name in enumerate(class_names)}
    if test is None:
        train_texts, train_labels, test_texts, test_labels, how = _split(train, places, seed, share)
    else:
        _require_known_labels(train, test)
        train_texts, train_labels = train.texts, [places[label] for label in train.labels]
        test_texts, test_labels = test.texts, [places[label] for label in test.labels]
        how = f"Training texts from {train.path.name}, test texts from {test.path.name}."
    said = (
        *notes,
        how,
        *_bad_note((train,) if test is None else (train, test)),
        *_missing_note(test_labels, class_names),
        *_common_note(train_texts, test_texts),
    )
    return TextRows(train_texts, train_labels, test_texts, test_labels, tuple(class_names), said)


def _split(
    train: LabelledTexts, places: Mapping[str, int], seed: int, share: float | None
) -> tuple[list[str], list[int], list[str], list[int], str]:
    """Return texts and labels for training and for testing, and a note on how they came about."""
    _require_two_of_each(train)
    labels = [places[label] for label in train.labels]
    train_rows, test_rows = split_rows(labels, seed, share or TEST_SHARE)
    part = "a fifth" if share is None else f"{share:.0%}"
    note = (
        f"All texts are from {train.path.name}: {len(test_rows):,} of {len(labels):,}, {part} of every class, are for "
        f"testing (seed {seed})."
    )
    train_texts, test_texts = [train.texts[i] for i in train_rows], [train.texts[i] for i in test_rows]
    return train_texts, [labels[i] for i in train_rows], test_texts, [labels[i] for i in test_rows], note


def _require_classes(train: LabelledTexts) -> None:
    left_out = "".join(f" {note}" for note in _bad_note((train,)))
    if len(train.first_lines) < 2:
        names = f" ({next(iter(train.first_lines))!r})" if train.first_lines else ""
        raise DataError(
            f"{train.path} has {len(train.first_lines)} class(es){names}; training needs at least 2. Check the column "
            f"of the labels.{left_out}"
        )


def _require_two_of_each(train: LabelledTexts) -> None:
    for label, count in Counter(train.labels).items():
        if count < 2:
            raise DataError(
                f"{train.path}, line {train.first_lines[label]}: the label {label!r} occurs once; without a test file "
                "at least 2 texts of each class are needed, one to train and one to test. Add texts, or a test file."
            )


def _require_known_labels(train: LabelledTexts, test: LabelledTexts) -> None:
    if not test.texts:
        left_out = "".join(f" {note}" for note in _bad_note((test,)))
        raise DataError(f"{test.path} has no text to test with. Add rows, or remove the file.{left_out}")
    for label, line in test.first_lines.items():
        if label not in train.first_lines:
            raise DataError(
                f"{test.path}, line {line}: the label {label!r} does not occur in {train.path.name}. Mend the label, "
                "or give training texts of this class."
            )


def _bad_note(parts: Sequence[LabelledTexts]) -> tuple[str, ...]:
    count = sum(part.bad_rows for part in parts)
    if not count:
        return ()
    named = [place for part in parts for place in part.bad_places][:_NAMED]
    more = f" and {count - len(named):,} more" if count > len(named) else ""
    return (f"{count:,} bad row(s) left out: {', '.join(named)}{more}.",)


def _missing_note(test_labels: Sequence[int], class_names: Sequence[str]) -> tuple[str, ...]:
    missing = sorted(set(range(len(class_names))) - set(test_labels))
    if not missing:
        return ()
    named = ", ".join(class_names[label] for label in missing[:_NAMED])
    return (f"{len(missing):,} class(es) without a test text: {named}{', …' if len(missing) > _NAMED else ''}.",)


def _common_note(train_texts: Sequence[str], test_texts: Sequence[str]) -> tuple[str, ...]:
    tested = set(test_texts)
    common = {text for text in train_texts if text in tested}
    count = sum(text in common for text in test_texts)
    if not count:
        return ()
    return (f"{count:,} of {len(test_texts):,} test texts are also training texts, letter for letter; they were kept.",)
