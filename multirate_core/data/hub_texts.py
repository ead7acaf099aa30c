"""Texts and labels from Hugging Face's `datasets`, which is optional: by name from the hub, or from a local folder.

No code that comes with a data set is run: `datasets` from 4.0 on refuses scripts, and older ones are refused here. The
owner's account on the hub is not used: who types a name in a browser gets what everybody gets.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from multirate_core.checks import require_choice
from multirate_core.data.folder_scan import require_folder
from multirate_core.data.hub_facts import is_hub_name, is_offline, require_leave
from multirate_core.data.hub_files import own_files, require_from_hub, require_own_parts
from multirate_core.data.room import disk_room
from multirate_core.data.table_columns import SAMPLE_ROWS, TableSample, choose_columns
from multirate_core.data.tables import row_problem, sorted_classes
from multirate_core.data.text_lines import TableLimits
from multirate_core.data.text_split import BadRows, LabelledTexts, to_text_rows
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError, DownloadError, MultirateError
from multirate_core.home import subfolder
from multirate_core.kept_answer import version_of
from multirate_core.network import FAILURES, patience

PROBE_S: Final = 10.0  # for the first answer of the hub: the library itself would ask six times
_OLDEST: Final = 4
_TEST_PARTS: Final = ("test", "validation", "valid", "val", "dev")  # the first one that has labels is used
_TEXT_KINDS: Final = ("string", "large_string", "string_view")
_DEFAULT_LIMITS: Final = TableLimits()


def read_hub(
    path: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
    share: float | None = None,
    bad_rows: BadRows = "refuse",
    limits: TableLimits = _DEFAULT_LIMITS,
    download: bool = False,
) -> TextRows:
    """Read texts with their labels; a data set on the hub is downloaded into the cache of `datasets`.

    Args:
        path: "owner/name" or "owner/name:configuration" on the hub, or the absolute path of a folder that
            `save_to_disk` has written or that holds .parquet, .csv or .jsonl files.
        text_column, label_column: a name, or a place from "1" on; None guesses. Labels are classes by name, whole
            numbers or words.
        seed: of the split where no test part has labels: a fifth of every class becomes test texts.
        share: of every class's training texts that become test texts; a test part is left out. None takes the part.
        bad_rows: "refuse" stops at the first row without a text or a label, "skip" leaves it out and says so.
        limits: of each part.
        download: a name on the hub may be asked for and downloaded; needed but for HF_HUB_OFFLINE.

    Raises:
        DataError: `datasets` is missing, the folder is no data set, it would have to run code, a column is missing or
            of another kind, or there are too many rows; the message names the row.
        DownloadError: the hub does not give it.
        ConfigError: an argument is not one of the allowed ones.
    """
    require_choice("bad_rows", bad_rows, get_args(BadRows))
    _require_place(path, download)
    with _in_words(path):
        parts = _load(path, limits)
        train, test, class_names, notes = _read_parts(path, parts, (text_column, label_column), share, bad_rows, limits)
    return to_text_rows(train, test, class_names, seed, notes, share)


def _read_parts(
    path: str,
    parts: Mapping[str, Any],
    asked: tuple[str | None, str | None],
    share: float | None,
    bad_rows: BadRows,
    limits: TableLimits,
) -> tuple[LabelledTexts, LabelledTexts | None, Sequence[str], list[str]]:
    """Return the texts to train and to test with, the classes in their order, and notes."""
    first = _training_part(path, parts)
    names = _columns(Path(path) / first, parts[first], *asked)
    train = _read(Path(path) / first, parts[first], names, bad_rows, limits)
    test, notes = None, [f"Texts from the column {names[0]!r}, labels from {names[1]!r}."]
    tested = _test_part(parts, names[1]) if share is None else None
    for name in (name for name in parts if name != first):
        if name == tested:
            test = _read(Path(path) / name, parts[name], names, bad_rows, limits)
        else:
            notes.append(f"The part {name} was not used.")
    own = getattr(parts[first].features[names[1]], "names", None)
    return train, test, own or sorted_classes(train), notes


def _require_place(path: str, download: bool) -> None:
    """Require `datasets`, and a folder or a name that the hub has."""
    if importlib.util.find_spec("datasets") is None or int(version_of("datasets").partition(".")[0] or 0) < _OLDEST:
        raise DataError(
            f"data from Hugging Face need the package datasets, {_OLDEST}.0 or newer. Install it: "
            f"pip install 'datasets>={_OLDEST}.0'."
        )
    folder = Path(path)
    if folder.is_absolute():
        require_folder(folder)
    elif not is_hub_name(path):
        raise DataError(
            f"{path[:200]!r} is neither a folder nor a name on the hub, which has the form owner/name or "
            "owner/name:configuration. Check it."
        )
    elif Path(path.partition(":")[0]).exists():  # datasets would take that for the data set
        raise DataError(f"{path!r} is also a folder where this program runs. Give the folder's full path, or move it.")
    elif not is_offline():
        require_leave(path, download)
        _require_on_hub(path.partition(":")[0])


def _load(path: str, limits: TableLimits) -> Mapping[str, Any]:
    """Return the parts of a data set by name."""
    import datasets  # optional, and takes seconds

    with _quiet(datasets):
        found = _opened(datasets, path, limits)
    parts = found if isinstance(found, Mapping) else {"train": found}
    # A saved part may remember that it gives tensors, or only some columns.
    return {name: part.with_format(None) for name, part in parts.items()}


def _opened(datasets: Any, path: str, limits: TableLimits) -> Any:
    """Return what `datasets` makes of a folder or a name: one part, or several by name."""
    folder = Path(path)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        require_own_parts(folder)
        return datasets.load_from_disk(path)
    if folder.is_absolute():
        reader, files = own_files(folder)
        return datasets.load_dataset(reader, data_files=files, cache_dir=str(subfolder("hub")))
    name, _, chosen = path.partition(":")
    builder = datasets.load_dataset_builder(name, chosen or None, token=False)
    require_from_hub(path, builder.config.data_files)
    for part in (builder.info.splits or {}).values():  # before they are downloaded, where the hub says it
        _require_count(Path(path) / part.name, part.num_examples or 0, limits)
    _require_room(path, (builder.info.download_size or 0) + (builder.info.dataset_size or 0))
    builder.download_and_prepare()
    return builder.as_dataset()


def _require_room(path: str, count: int) -> None:
    """Require that a download fits the disk, where the hub says how large it is."""
    if count > disk_room():
        raise DataError(
            f"{path} needs {count / 1e9:.1f} GB of disk, and {disk_room() / 1e9:.1f} GB are free. Choose a smaller set."
        )


def _require_on_hub(name: str) -> None:
    """Ask the hub for a data set, so that what is missing is said within seconds."""
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    request = urllib.request.Request(f"{hub}/api/datasets/{name}", headers={"User-Agent": "multirate-explorer"})
    try:
        with patience(PROBE_S), urllib.request.urlopen(request):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in (401, 403, 404):
            raise DownloadError(f"the hub answers HTTP {error.code} for {name}. Try again later.") from error
        raise DownloadError(
            f"the hub gives no data set {name!r} without an account (HTTP {error.code}). Check the name, or get it "
            "with your account and give the folder that save_to_disk writes."
        ) from error
    except (*FAILURES, ValueError) as error:
        raise DownloadError(
            f"{name} cannot be had: the hub cannot be reached ({getattr(error, 'reason', error)}). Get it on another "
            "machine and give its folder, or set HF_HUB_OFFLINE=1 to use what was downloaded before."
        ) from error


@contextlib.contextmanager
def _in_words(path: str) -> Iterator[None]:
    """Say in words why `datasets` cannot read a data set."""
    from datasets.exceptions import DatasetsError

    local = not is_hub_name(path)
    try:
        with patience(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MultirateError:
        raise
    except (DatasetsError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError) as error:
        raise DataError(f"{path} is no data set that can be read: {_first_line(error)}") from error
    except OSError as error:
        if local:
            raise DataError(f"{path} is no data set that can be read: {_first_line(error)}") from error
        raise DownloadError(
            f"{path} cannot be had from the hub: {_first_line(error)} Check the name, or get it on another machine and "
            "give its folder."
        ) from error
    except RuntimeError as error:
        if "script" not in str(error):
            raise DataError(f"{path} is no data set that can be read: {_first_line(error)}") from error
        raise DataError(
            f"{path} is read by code of its own, which is never run here ({_first_line(error)[:-1]}). Give a copy in "
            "Parquet, or a folder that save_to_disk has written."
        ) from error
    except Exception as error:  # the library's transport has errors that are no OSError, and which ones changes
        kind = DataError if local else DownloadError
        raise kind(f"{path} cannot be read: {type(error).__name__}: {_first_line(error)} Try again.") from error


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Keep the progress bars and reports of `datasets` out of the log."""
    before, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(before)
        if not bars:
            datasets.enable_progress_bars()


def _training_part(path: str, parts: Mapping[str, Any]) -> str:
    if "train" in parts or len(parts) == 1:
        return "train" if "train" in parts else next(iter(parts))
    raise DataError(f"{path} has the parts {', '.join(parts)[:200]}; one must be called train. Rename it.")


def _test_part(parts: Mapping[str, Any], label: str) -> str | None:
    """Return the first part for testing in which a row has a label; in unlabelled ones all are -1 or missing."""
    for name in _TEST_PARTS:
        if name in parts and label in parts[name].features:
            batches = parts[name].select_columns([label]).iter(1000)
            if any(value not in (None, -1) for batch in batches for value in batch[label]):
                return name
    return None


def _columns(place: Path, part: Any, text: str | None, label: str | None) -> tuple[str, str]:
    """Return the names of the columns of texts and labels."""
    names = tuple(part.column_names)
    plain = [name for name in names if hasattr(part.features[name], "dtype")]
    first = part.select(range(min(len(part), SAMPLE_ROWS))).select_columns(plain)[:] if plain else {}
    cells = [[str(value) for value in first[name]] if name in first else [""] * SAMPLE_ROWS for name in names]
    sample = TableSample(place, names, tuple(zip(*cells, strict=False)), True)
    places = choose_columns(sample, text, label)
    return names[places[0]], names[places[1]]


def _read(place: Path, part: Any, columns: tuple[str, str], bad_rows: BadRows, limits: TableLimits) -> LabelledTexts:
    """Read a whole part; rows are counted from 1."""
    _require_count(place, len(part), limits)
    _require_kinds(place, part, *columns)
    found, names = LabelledTexts(place), getattr(part.features[columns[1]], "names", None)
    for number, (text, value) in enumerate(_pairs(part, *columns), 1):
        label = _label(value, names)
        if problem := row_problem(text, label, limits):
            found.refuse(number, problem, bad_rows)
        else:
            found.add(number, text, label)
    return found


def _pairs(part: Any, text: str, label: str) -> Iterator[tuple[str, object]]:
    for batch in part.select_columns([text, label]).iter(1000):
        for words, value in zip(batch[text], batch[label], strict=True):
            yield (words or "").strip(), value


def _label(value: object, names: list[str] | None) -> str:
    """Return the class of a row, "" if it has none."""
    if names is None:
        return "" if value is None else str(value).strip()
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else ""


def _require_kinds(place: Path, part: Any, text: str, label: str) -> None:
    for name in (text, label):
        if name not in part.features:
            raise DataError(f"{place} has no column {name!r}, which the training part has. Add it, or remove the part.")
    kinds = [str(getattr(part.features[name], "dtype", part.features[name]))[:80] for name in (text, label)]
    if kinds[0] not in _TEXT_KINDS:
        raise DataError(f"{place}: the column {text!r} holds {kinds[0]}, not texts. Name the column of the texts.")
    if kinds[1] not in (*_TEXT_KINDS, "bool") and not kinds[1].startswith(("int", "uint")):
        raise DataError(
            f"{place}: the column {label!r} holds {kinds[1]}; a label is a class by name, a whole number or a word. "
            "Name the column of the labels."
        )


def _require_count(place: Path, count: int, limits: TableLimits) -> None:
    if count > limits.rows:
        raise DataError(f"{place} has {count:,} rows; at most {limits.rows:,} are read. Give fewer.")


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.rstrip(".")[:300] + "."
