"""SST-2, TREC questions, AG News and SMS spam: from a folder, in the forms in which people have them, or downloaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args

from multirate_core.checks import require_choice
from multirate_core.data.table_rows import delimited_rows
from multirate_core.data.text_lines import Encoding, TableLimits, read_lines
from multirate_core.data.text_split import LabelledTexts, to_text_rows
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError
from multirate_core.home import subfolder

KnownName = Literal["sst2", "trec", "ag_news", "sms_spam"]
# A row: its line, its text and class, or None if it is in no known form.
_Row = tuple[int, tuple[str, str] | None]

_LIMITS: Final = TableLimits()
_SENTIMENTS: Final = {"0": "negative", "1": "positive"}
_QUESTIONS: Final = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}
_TOPICS: Final = {"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"}
_MESSAGES: Final = {"ham": "ham", "spam": "spam"}
_QUESTION: Final = re.compile(r"([A-Z]+):\w+ (.+)")


@dataclass(frozen=True)
class _KnownSet:
    """Where the files of a set lie and how they are read.

    Args:
        title: the name as people write it.
        class_names: in the order of the labels.
        folders: below the given one; the first that holds a file is used. A download makes the first of them.
        train, test: names of files; of each the first that exists is used.
        form: what a row looks like, in words.
        read: yields the rows of a file.
    """

    title: str
    class_names: tuple[str, ...]
    folders: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    form: str
    read: Callable[[Path], Iterator[_Row]]


# The file to train with, or the only one there is; the one to test with; and notes on the files.
_Found = tuple[Path, Path | None, tuple[str, ...]]


def read_known(
    name: str,
    folder: str | Path | None,
    seed: int = 0,
    share: float | None = None,
    download: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> TextRows:
    """Read a known data set of texts; nothing is written but what is downloaded.

    Args:
        name: "sst2", "trec", "ag_news" or "sms_spam".
        folder: holds the files of the set, or the folder that they are published in; None is `data` in the user data
            folder, where downloads go.
        seed: of the split where only one of the files for training and testing is there: a fifth of every class
            becomes test texts.
        share: of every class's training texts that become test texts; the set's own are left out. None takes its own.
        download: fetch the files if they are neither in `folder` nor where downloads go.
        say: called with lines about the progress of a download; what it raises ends the reading.

    Raises:
        DataError: files are missing, unreadable or in no known form; the message names what was looked for, or the
            line.
        DownloadError: the network does not give the files.
        ConfigError: the name is unknown.
    """
    require_choice("name", name, get_args(KnownName))
    known = _KNOWN[name]
    train_path, test_path, notes = _locate(name, known, folder, download, say)
    train = _read(known, train_path)
    if share is not None and test_path is not None:
        notes, test_path = (*notes, f"The file {test_path.name} was not used."), None
    test = None if test_path is None else _read(known, test_path)
    return to_text_rows(train, test, known.class_names, seed, notes, share)


def _locate(
    name: str, known: _KnownSet, folder: str | Path | None, download: bool, say: Callable[[str], None]
) -> _Found:
    """Return the files of a set, which are downloaded if that is allowed and needed."""
    kept = [subfolder("data") / each for each in known.folders]
    given = [] if folder is None else [Path(folder), *(Path(folder) / each for each in known.folders)]
    found = _find(known, given if given and not download else [*given, *kept])
    if found is None and download:
        from multirate_core.data import text_downloads  # loads torchvision

        found = _find(known, [text_downloads.fetch(name, known.title, known.folders[0], say)])
    if found is None:
        names, below = ", ".join((*known.train, *known.test)), ", ".join(known.folders)
        raise DataError(
            f"{known.title} is not in {folder or subfolder('data')}: looked for {names} there and in {below} below. "
            "Give the folder that holds them, or allow the download."
        )
    return found


def _find(known: _KnownSet, places: Sequence[Path]) -> _Found | None:
    """Return the files in the first place that holds any; None if no place does."""
    for place in places:
        try:
            train = [place / name for name in known.train if (place / name).is_file()]
            test = [place / name for name in known.test if (place / name).is_file()]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{str(place)[:200]!r} cannot be read: {reason}. Check the path.") from error
        if train or test:
            unused = tuple(f"The file {path.name} was not used." for path in (*train[1:], *test[1:]))
            if train and test:
                return train[0], test[0], unused
            return (*train, *test)[0], None, (*_incomplete(known, "test" if train else "train"), *unused)
    return None


def _incomplete(known: _KnownSet, part: Literal["train", "test"]) -> tuple[str, ...]:
    """Return the note that a file is missing which the complete set has."""
    names = known.train if part == "train" else known.test
    return (f"{known.title} is not complete: there is no {' or '.join(names)}.",) if names else ()


def _read(known: _KnownSet, path: Path) -> LabelledTexts:
    found = LabelledTexts(path)
    for line, row in known.read(path):
        if row is None or row[1] not in known.class_names or not row[0]:
            raise DataError(f"{path}, line {line} is not {known.form}. Get the files of {known.title} again.")
        found.add(line, *row)
    return found


def _sst2_rows(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path, "utf-8"):
        text, tab, label = line.rpartition("\t")
        if number > 1 or (text, label) != ("sentence", "label"):
            yield number, (text.strip(), _SENTIMENTS.get(label, "")) if tab else None


def _trec_rows(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path, "latin-1"):
        match = _QUESTION.fullmatch(line)
        yield number, (match[2].strip(), _QUESTIONS.get(match[1], "")) if match else None


def _ag_news_rows(path: Path) -> Iterator[_Row]:
    for line, cells in delimited_rows(path, "utf-8", _LIMITS):
        if isinstance(cells, str) or len(cells) != 3:
            yield line, None
        elif line > 1 or [cell.lower() for cell in cells] != ["class index", "title", "description"]:
            topic, title, description = cells
            yield line, (f"{title.strip()} {description.strip()}".strip(), _TOPICS.get(topic, ""))


def _sms_rows(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path, "utf-8"):
        label, tab, text = line.partition("\t")
        yield number, (text.strip(), _MESSAGES.get(label, "")) if tab else None


def _lines(path: Path, encoding: Encoding) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold anything, with their numbers and without their ends."""
    for number, line in enumerate(read_lines(path, encoding, _LIMITS), 1):
        if not line.isspace():
            yield number, line[:-1]


def _known_sets() -> dict[str, _KnownSet]:
    return {
        "sst2": _KnownSet(
            "SST-2",
            tuple(_SENTIMENTS.values()),
            ("sst2", "SST-2"),
            ("train.tsv",),
            ("dev.tsv", "test.tsv"),
            "a sentence, a tab, and 0 or 1",
            _sst2_rows,
        ),
        "trec": _KnownSet(
            "TREC questions",
            tuple(_QUESTIONS.values()),
            ("trec6", "trec", "TREC"),
            ("TREC.train", "train_5500.label"),
            ("TREC.test", "TREC_10.label"),
            f"a class ({', '.join(_QUESTIONS)}), a colon, a finer class, a space, and a question",
            _trec_rows,
        ),
        "ag_news": _KnownSet(
            "AG News",
            tuple(_TOPICS.values()),
            ("ag_news", "ag_news_csv", "ag_news_test"),
            ("train.csv",),
            ("test.csv",),
            "a class from 1 to 4, a title and a description, separated by commas",
            _ag_news_rows,
        ),
        "sms_spam": _KnownSet(
            "SMS spam",
            tuple(_MESSAGES.values()),
            ("sms_spam", "smsspamcollection"),
            ("sms.tsv", "SMSSpamCollection"),
            (),
            "ham or spam, a tab, and a message",
            _sms_rows,
        ),
    }


_KNOWN: Final = MappingProxyType(_known_sets())
