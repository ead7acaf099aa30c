"""The docstrings of the offline text pair."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from multirate_core import home
from multirate_core.data import docstrings
from multirate_core.data.docstrings import load_docstrings, opening, pattern
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError
from multirate_core.models import python_packages


@pytest.fixture(scope="module")
def said() -> dict[str, set[str]]:
    """What each package was found to say when `rows` was read; filled by `rows`."""
    return {}


@pytest.fixture(scope="module")
def rows(said: dict[str, set[str]]) -> TextRows:
    """Read from the packages, which takes seconds; they stay in the home that all tests share."""
    read = docstrings._read_package

    def listened(name: str) -> dict[str, str]:
        found = read(name)
        said[name] = set(found.values())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docstrings, "_read_package", listened)
        return load_docstrings()


@pytest.fixture
def kept(rows: TextRows, no_users_home: Path, own_home: Path) -> Path:
    """The file that `rows` were kept in, copied to this test's own home."""
    (file,) = (no_users_home / "data").glob("docstrings-*.json")
    return Path(shutil.copy(file, home.subfolder("data")))


# One docstring


def test_prose_is_taken_up_to_the_first_heading_and_the_signature_is_left_out() -> None:
    text = """solve(a, b, *, lower=False)

Solve the equation a x = b
for x.

The matrix may be singular.

Parameters
----------
a : array
"""
    assert opening(text) == "Solve the equation a x = b for x. The matrix may be singular."


@pytest.mark.parametrize(
    "rest",
    [">>> solve(1, 2)\n2", ".. versionadded:: 1.2", ":param a: the matrix", "Args:\n  a: the matrix", "Notes\n====\nx"],
)
def test_examples_directives_and_lists_of_arguments_end_the_prose(rest: str) -> None:
    opened = "One sentence of five words."
    assert opening(f"{opened}\n\n{rest}\n\nAnd some more prose after that.") == opened


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("A NumPy array or torch.Tensor, as scikit-learn has", "A library array or library.Tensor, as library has"),
        ("Return np.float64 or pd.NA, not nx.Graph", "Return library.float64 or library.NA, not library.Graph"),
        ("See is_numpy_array and torchvision_extra for more", "See library and library for more"),
        ("The st of a test is no alias", "The st of a test is no alias"),
    ],
)
def test_names_of_packages_are_masked(text: str, masked: str) -> None:
    assert opening(text) == masked


def test_too_little_prose_is_none_and_too_much_is_cut() -> None:
    assert opening("Four words are few.") is None
    assert opening(">>> one + two + three + four + five") is None
    assert opening(" ".join(["word"] * 100)) == " ".join(["word"] * 60)


def test_generated_texts_have_one_pattern() -> None:
    assert pattern("Sets the `color` of axis 3.") == pattern("Sets the 'width' of axis 12.") == "sets the of axis"
    assert pattern("Convert a MyFrame to a list_of_x.") == pattern("convert a Frame2 to a Listing_9")
    assert pattern("Sets the colour.") != pattern("Sets the width.")


# All of them


@pytest.mark.slow
def test_every_class_has_as_many_rows_as_any_other(rows: TextRows) -> None:
    classes = range(8)
    assert rows.class_names == tuple(docstrings.PACKAGES)
    assert Counter(rows.train_labels) == dict.fromkeys(classes, 300)
    assert Counter(rows.test_labels) == dict.fromkeys(classes, 75)
    assert len(rows.train_texts) == 2400
    assert len(rows.test_texts) == 600
    assert len(set(rows.train_labels[:100])) == 8  # mixed, not sorted by class


@pytest.mark.slow
def test_no_text_and_no_pattern_comes_twice(rows: TextRows) -> None:
    texts = [*rows.train_texts, *rows.test_texts]
    assert len(set(texts)) == len({pattern(text) for text in texts}) == 3000


@pytest.mark.slow
def test_no_name_of_a_package_is_left_in_a_text(rows: TextRows) -> None:
    names = {*docstrings.PACKAGES, *docstrings.PACKAGES.values()}
    for text in [*rows.train_texts, *rows.test_texts]:
        assert not [name for name in names if name in text.lower()], text
        assert not re.search(r"\b(np|nx|pd|st)\.\w", text), text
        assert 5 <= len(text.split()) <= 60
        assert ">>>" not in text


@pytest.mark.slow
def test_labels_stay_with_their_texts(rows: TextRows, said: dict[str, set[str]]) -> None:
    for label, name in enumerate(rows.class_names):
        own = {text for text, of in zip(rows.train_texts, rows.train_labels, strict=True) if of == label}
        assert len(own) == 300 and own <= said[name]


@pytest.mark.slow
@pytest.mark.usefixtures("kept")
def test_a_seed_gives_one_split_and_another_seed_another(rows: TextRows) -> None:
    again, other = load_docstrings(seed=0), load_docstrings(seed=1)
    assert again == rows
    assert set(other.test_texts) != set(rows.test_texts)
    half = load_docstrings(seed=0, share=0.5)
    assert len(half.test_texts) == len(docstrings.PACKAGES) * 188
    assert {*half.test_texts, *half.train_texts} == {*rows.test_texts, *rows.train_texts}


@pytest.mark.slow
def test_the_notes_name_the_versions_that_decide_the_rows(rows: TextRows) -> None:
    import numpy as np

    assert f"numpy {np.__version__}" in rows.notes[0]


@pytest.mark.slow
@pytest.mark.usefixtures("kept")
def test_a_second_reading_takes_the_rows_from_the_users_folder(rows: TextRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "_read_package", lambda _: pytest.fail("read again"))
    assert load_docstrings() == rows


@pytest.mark.slow
def test_a_damaged_file_of_kept_rows_is_made_again(rows: TextRows, kept: Path) -> None:
    whole = kept.read_text(encoding="utf-8")
    kept.write_text(whole[:1000], encoding="utf-8")
    assert load_docstrings() == rows
    assert kept.read_text(encoding="utf-8") == whole


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "PACKAGES", {"no-such-package": "no_such_package"})
    with pytest.raises(DataError, match=r"no-such-package.*not installed"):
        load_docstrings()


def test_a_package_with_too_few_docstrings_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (docstrings, python_packages):
        monkeypatch.setattr(module, "PACKAGES", {"tokenizers": "tokenizers"})
    with pytest.raises(DataError, match=r"tokenizers .* docstrings that can be used, 375 are needed"):
        load_docstrings()


@pytest.mark.slow
def test_reading_the_docstrings_imports_none_of_the_packages() -> None:
    program = (
        "import sys; from multirate_core.data.docstrings import PACKAGES, load_docstrings; load_docstrings(); "
        "sys.exit(sum(name in sys.modules for name in PACKAGES.values()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
