"""The two halves of the installed packages' docstrings: one to pretrain on, one to make a task of."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirate_core.errors import DataError
from multirate_core.models import python_packages
from multirate_core.models.python_packages import PLACEHOLDER, half_of, package_files, without_names


def test_every_file_of_a_package_is_in_one_half_and_both_are_large() -> None:
    task, pretraining = set(package_files("networkx", "task")), set(package_files("networkx", "pretraining"))
    assert not task & pretraining
    assert min(len(task), len(pretraining)) > 0.4 * len(task | pretraining)
    assert all(file.suffix == ".py" and "tests" not in file.parts for file in task | pretraining)


def test_the_half_follows_from_package_and_name_alone() -> None:
    names = [Path("a.py"), Path("b/c.py"), Path("b/d.py"), Path("e.py")]
    assert [half_of("numpy", name) for name in names] == ["pretraining", "pretraining", "task", "task"]
    assert [half_of("numpy", name) for name in names] != [half_of("torch", name) for name in names]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A NumPy array", f"A {PLACEHOLDER} array"),
        ("see np.dot, not torch.nn", f"see {PLACEHOLDER}.dot, not {PLACEHOLDER}.nn"),
        ("scikit-learn's sklearn", f"{PLACEHOLDER}'s {PLACEHOLDER}"),
        ("the last step", "the last step"),
    ],
)
def test_names_of_packages_are_masked(text: str, expected: str) -> None:
    assert without_names(text) == expected


def test_a_package_without_source_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(python_packages.PACKAGES, "nowhere", "no_such_package")
    with pytest.raises(DataError, match="nowhere cannot be read: no_such_package has no source files"):
        package_files("nowhere", "task")
