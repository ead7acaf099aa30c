"""The target task of the offline text pair: which package does the opening of this docstring come from?

The texts are read from packages that this project depends on, so they are on every machine that can run it; nothing is
imported or run. They come from the half of the files that the pretraining did not read. Which rows there are depends
on the versions of these packages. No torch, no download.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError
from multirate_core.home import subfolder
from multirate_core.models.python_packages import PACKAGES, PLACEHOLDER, package_files, without_names
from multirate_core.models.python_text import docstrings, read_source

TRAIN_PER_CLASS: Final = 300
TEST_PER_CLASS: Final = 75  # one point of test accuracy is 6 texts
MIN_WORDS: Final = 5
MAX_WORDS: Final = 60
_NEEDED: Final = TRAIN_PER_CLASS + TEST_PER_CLASS
_COLLECTED: Final = _NEEDED + 25  # texts read per package: some may turn out to be another package's as well
_PER_FILE: Final = 16  # so that no single module makes up a class
_RULES_VERSION: Final = 2  # of what follows; raised when the same packages give other rows

_HEADING: Final = re.compile(r"[A-Z][\w ]{0,30}(?::\s*(?:\n|$)|\n\s*[-=~^]{3})")
_NO_PROSE: Final = re.compile(r">>>|\.\. |[:@]\w+|[-=*+]{3}")  # an example, a directive, a field list, a table
_SIGNATURE: Final = re.compile(r"[\w.]+\s?\(.*\)(?:\s*->.*)?")
_QUOTED: Final = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"")


def load_docstrings(seed: int = 0, share: float | None = None) -> TextRows:
    """Read the docstrings and split them, each class with 300 training and 75 test texts.

    Args:
        seed: of the split, default 0; the same seed and the same versions of the packages give the same rows.
        share: of each class's 375 texts that are for testing; None takes 75, a fifth.

    Returns:
        The rows; no text is in both parts or in two classes.

    Raises:
        DataError: a package is missing, or has too few docstrings.
    """
    generator = random.Random(seed)
    train: list[tuple[str, int]] = []
    test: list[tuple[str, int]] = []
    versions = _versions()
    test_count = TEST_PER_CLASS if share is None else round(share * _NEEDED)
    for label, texts in enumerate(_collected(versions).values()):
        drawn = generator.sample(texts, _NEEDED)
        test += [(text, label) for text in drawn[:test_count]]
        train += [(text, label) for text in drawn[test_count:]]
    generator.shuffle(train)
    generator.shuffle(test)
    return TextRows(
        train_texts=[text for text, _ in train],
        train_labels=[label for _, label in train],
        test_texts=[text for text, _ in test],
        test_labels=[label for _, label in test],
        class_names=tuple(PACKAGES),
        notes=_notes(versions),
    )


def opening(docstring: str) -> str | None:
    """Return the prose that a docstring opens with, names of packages masked, or None if there is too little.

    Args:
        docstring: indentation removed. Signatures, examples and everything from the first heading on are left out.

    Returns:
        One line of MIN_WORDS to MAX_WORDS words; longer prose is cut.
    """
    words: list[str] = []
    for paragraph in docstring.split("\n\n"):
        text = paragraph.strip()
        if _HEADING.match(text) or _NO_PROSE.match(text):
            break
        if not _SIGNATURE.fullmatch(" ".join(text.split())):
            words += without_names(text).split()
    return " ".join(words[:MAX_WORDS]) if len(words) >= MIN_WORDS else None


def pattern(text: str) -> str:
    """Return what is left of a text without quoted words, identifiers and numbers: equal for generated texts."""
    words = [word.strip(".,:;()") for word in _QUOTED.sub(" ", text).split()]
    return " ".join(word.lower() for word in words if word.isalpha() and (len(word) == 1 or word[1:].islower()))


def _versions() -> dict[str, str]:
    """Return the version of every package; DataError if one is missing."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError as error:
            raise DataError(
                f"the docstrings of {name} cannot be read: it is not installed. It comes with this project: install "
                "requirements.txt again, or choose other data."
            ) from error
    return found


def _collected(versions: Mapping[str, str]) -> dict[str, list[str]]:
    """Return texts by package; kept in a file, since reading the packages takes seconds."""
    key = hashlib.sha256(repr((_RULES_VERSION, sorted(versions.items()))).encode()).hexdigest()[:16]
    file = subfolder("data") / f"docstrings-{key}.json"
    try:
        kept: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or damaged
        kept = _collect()
        with contextlib.suppress(OSError):
            _keep(file, kept)
    return kept


def _keep(file: Path, collected: Mapping[str, Sequence[str]]) -> None:
    """Write the file under another name first: several workers may want it at once."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".json", delete=False, encoding="utf-8") as part:
        json.dump(collected, part)
    Path(part.name).replace(file)


def _collect() -> dict[str, list[str]]:
    """Read all packages and leave out what two of them say; DataError if one has too little left."""
    found = {name: _read_package(name) for name in PACKAGES}
    sayers = Counter(key for texts in found.values() for key in texts)
    own = {name: [text for key, text in texts.items() if sayers[key] == 1] for name, texts in found.items()}
    for name, texts in own.items():
        if len(texts) < _NEEDED:
            raise DataError(
                f"{name} {version(name)} has {len(texts)} docstrings that can be used, {_NEEDED} "
                "are needed. Install it with its source files, or choose other data."
            )
    return own


def _read_package(name: str) -> dict[str, str]:
    """Return texts of a package by their pattern, from as many of its files as it takes."""
    found: dict[str, str] = {}
    for file in package_files(name, "task"):
        new = {pattern(text): text for text in _openings(file)}
        fresh = [key for key in new if key not in found]
        found |= {key: new[key] for key in fresh[:_PER_FILE]}
        if len(found) >= _COLLECTED:
            break
    return found


def _openings(file: Path) -> Iterator[str]:
    yield from filter(None, map(opening, docstrings(read_source(file))))


def _notes(versions: Mapping[str, str]) -> tuple[str, ...]:
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Openings of docstrings of {listed}; other versions give other rows.",
        f"Names of these packages are replaced by {PLACEHOLDER!r}; texts that two packages share are left out, and "
        "so are files that the shipped weights were pretrained on.",
    )
