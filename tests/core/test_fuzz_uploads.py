"""The fuzzing of uploads: that it finds what it looks for, on a few inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import fuzz_uploads
from benchmarks.fuzz_uploads import try_images, try_zips
from benchmarks.mutations import fit_images, fit_zips
from multirate_core.data.uploads import unpack_images
from multirate_core.errors import DataError


def test_what_it_starts_from_is_fit(own_home: Path) -> None:
    assert all(fuzz_uploads._unpack(own_home, content) == "" for content in fit_zips())
    for suffix, content in fit_images():
        path = own_home / f"a{suffix}"
        path.write_bytes(content)
        assert fuzz_uploads._decode(path) == ""


def test_some_damaged_inputs_are_taken_most_are_refused_and_none_does_anything_else(own_home: Path) -> None:
    for outcome in (try_zips(own_home, 60, seed=7), try_images(own_home, 60, seed=7)):
        assert outcome.failures == [] and outcome.taken + outcome.refused == 60
        assert outcome.refused > 20 and outcome.taken > 0 and len(outcome.reasons) > 3


def raises(_: object) -> None:
    raise ValueError("broken")


def warns(_: object) -> None:
    warnings.warn("odd", stacklevel=1)


def writes(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "left.txt").write_text("x")


@pytest.mark.parametrize(
    ("does", "told"), [(raises, "ValueError: broken"), (warns, "warning: odd"), (writes, "left behind")]
)
def test_other_errors_warnings_and_files_are_found(
    does: Callable[[Path], None], told: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(source: object, name: str, limits: object) -> Path:
        try:
            return unpack_images(source, name, limits)  # type: ignore[arg-type]
        except DataError:
            does(own_home)
            raise

    monkeypatch.setattr(fuzz_uploads, "unpack_images", broken)
    found = try_zips(own_home, 20, seed=7)
    assert found.failures and all(told in each for each in found.failures)
    assert not fuzz_uploads._check("zip", "", found).met


def test_the_same_seed_gives_the_same_inputs(own_home: Path) -> None:
    first, again, other = (try_zips(own_home, 30, seed) for seed in (1, 1, 2))
    assert first.reasons == again.reasons != other.reasons
