"""Which files a data set of Hugging Face's `datasets` may have: its own, and nothing that its card points to.

The library follows the card of a data set wherever it leads, to files of this machine or to any address. A name typed
in a browser must not open these: folders are listed here, and what the hub gives is checked before it is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from multirate_core.errors import DataError

_READERS: Final = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json"}
_PARTS: Final = (
    ("test", {"test", "testing", "eval", "evaluation"}),
    ("validation", {"validation", "valid", "val", "dev"}),
)
_MOST_FILES: Final = 10_000
_ON_HUB: Final = "hf://datasets/"


def own_files(folder: Path) -> tuple[str, dict[str, list[str]]]:
    """Return the reader of a folder's data files, and the files by part.

    Args:
        folder: with .parquet, .csv or .jsonl files, at any depth. A file is for testing or validating if its name or
            one of its folders' says so ("test", "validation", "dev" …), else for training.

    Returns:
        "parquet", "csv" or "json", as `datasets` calls its readers, and full paths by part.

    Raises:
        DataError: there are none, of several kinds or too many, or one leads out of the folder.
    """
    found = sorted(path for path in _walked(folder) if path.suffix.lower() in _READERS)
    readers = {_READERS[path.suffix.lower()] for path in found}
    if len(readers) != 1:
        what = " and ".join(sorted(readers)) if readers else "no .parquet, .csv or .jsonl files"
        raise DataError(
            f"{folder} is no data set that can be read: it holds {what}. Give a folder with data files of one kind, or "
            "one that save_to_disk has written."
        )
    parts: dict[str, list[str]] = {}
    for path in found:
        _require_inside(path, folder)
        parts.setdefault(_part_of(path.relative_to(folder)), []).append(str(path))
    return readers.pop(), parts


def require_own_parts(folder: Path) -> None:
    """Require that what `save_to_disk` has written names files of the folder only; DataError if not."""
    for state in (folder / "state.json", *folder.glob("*/state.json")):
        for name in _named(state):
            if Path(name).name != name:
                raise DataError(
                    f"{state} names the file {name[:200]!r}, which is not beside it. Save the data set again."
                )
            _require_inside(state.parent / name, folder)
    for name in _listed(folder / "dataset_dict.json", "splits"):
        if not re.fullmatch(r"\w+([.-]\w+)*", name):
            raise DataError(f"{folder / 'dataset_dict.json'} names the part {name[:200]!r}. Save the data set again.")


def require_from_hub(path: str, files: Mapping[str, Any] | None) -> None:
    """Require that every file of a data set lies on the hub; DataError if its card names another place.

    Args:
        path: the name of the data set.
        files: places by part, as the library has resolved them; None if it is in the cache already.
    """
    for places in (files or {}).values():
        for place in places:
            if not str(place).startswith(_ON_HUB):
                raise DataError(
                    f"{path} names a file outside the hub, {str(place)[:200]!r}, which is not read. Choose another set."
                )


def _walked(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(folder.rglob("*")):
        if count >= _MOST_FILES:
            raise DataError(f"{folder} holds more than {_MOST_FILES:,} files. Give the folder of one data set.")
        if path.is_file():
            yield path


def _require_inside(path: Path, folder: Path) -> None:
    """Require that a file lies in a folder, also behind links, and that its name is no pattern to the library."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path} is a link that leads out of its data set. Put the file itself there.")
    if re.search(r"[*?\[\]{}]|::|://", str(path)):
        raise DataError(f"{path} has one of * ? [ ] {{ }} :: in its name, which stand for patterns. Rename it.")


def _part_of(path: Path) -> str:
    words = {word for part in (*path.parent.parts, path.stem) for word in re.split(r"[^a-z]+", part.lower())}
    return next((name for name, signs in _PARTS if words & signs), "train")


def _named(state: Path) -> list[str]:
    """Return the files that a part names."""
    return [
        str(each["filename"]) for each in _listed(state, "_data_files") if isinstance(each, dict) and "filename" in each
    ]


def _listed(file: Path, field: str) -> list[Any]:
    """Return a list in a file of JSON, empty if there is none: the library will say what is wrong with the file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))[field]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return found if isinstance(found, list) else []
