"""Damaged zips into `unpack_images` and damaged images into the reader of folders: what comes out, and what is left."""

from __future__ import annotations

import io
import random
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import run
from benchmarks.figures import Check, Figure, Result
from benchmarks.mutations import IMAGE_WAYS, ZIP_WAYS, ZIP_WAYS_IN_PLACE, damaged, fit_images, fit_zips, resealed
from multirate_core.config import DataConfig
from multirate_core.data.image_folder import decode_all
from multirate_core.data.uploads import UploadLimits, unpack_images
from multirate_core.errors import DataError

SEED = 0
ZIPS, IMAGES = 20_000, 20_000
QUICK = 300
EDGE = 16
LIMITS = UploadLimits(upload_bytes=1 << 20, unpacked_bytes=1 << 20, files=100)
CONFIG = DataConfig("folder", bad_images="skip")
ABOUT = (
    "Small zips and tiny images, each with one to four damages: bits flipped, bytes cut, put in and copied, numbers "
    "made extreme, fields of zips changed, entries swapped, names made hostile; half of the zips keep their length, "
    "half of the PNG images get fresh check sums. Of a zip only a folder or a DataError may come, of an image only "
    "pixels or a reason; no warning, and no file anywhere but in the folder that was returned."
)


@dataclass
class Outcome:
    """What came of one kind of input; it fills as the inputs are tried.

    Args:
        taken, refused: inputs.
        seconds: of the slowest input.
        reasons: why inputs were refused: the first words of the reason.
        failures: which input, and what went wrong with it.
    """

    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def measure(quick: bool) -> Result:
    """Try all zips, then all images."""
    with run.fresh_home() as home:
        zips = try_zips(home, QUICK if quick else ZIPS, SEED)
        images = try_images(home, QUICK if quick else IMAGES, SEED)
    figures = [*_figures("zip", "zips", zips), *_figures("image", "images", images)]
    checks = [_check("zip", "A damaged zip gives a folder or a DataError", zips)]
    checks += [_check("image", "A damaged image gives pixels or a reason", images)]
    details = {name: dict(each.reasons.most_common(40)) for name, each in (("zips", zips), ("images", images))}
    failures = {"failures": [*zips.failures, *images.failures][:40]}
    return Result("fuzz_uploads", ABOUT, figures, checks, {"seed": SEED}, {**details, **failures})


def try_zips(home: Path, count: int, seed: int) -> Outcome:
    """Damage and unpack zips; after each, the user data folder must hold what was returned and nothing else."""
    fit, outcome = fit_zips(), Outcome()
    for row in range(count):
        draw = random.Random(f"zip {seed} {row}")
        content = damaged(draw, draw.choice(fit), draw.choice((ZIP_WAYS, ZIP_WAYS_IN_PLACE)))
        _try(outcome, f"zip {row}", lambda content=content: _unpack(home, content))  # type: ignore[misc]
    return outcome


def try_images(home: Path, count: int, seed: int) -> Outcome:
    """Damage and decode images."""
    fit, outcome = fit_images(), Outcome()
    for row in range(count):
        draw = random.Random(f"image {seed} {row}")
        suffix, content = draw.choice(fit)
        path = home / f"image{suffix}"
        content = damaged(draw, content, IMAGE_WAYS)
        path.write_bytes(resealed(content) if suffix == ".png" and draw.random() < 0.5 else content)
        _try(outcome, f"image {row}{suffix}", lambda path=path: _decode(path))  # type: ignore[misc]
        path.unlink()
    return outcome


def _try(outcome: Outcome, name: str, action: Callable[[], str]) -> None:
    """Run an action that returns why it refused, or ""; note every warning and every other error."""
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            why = action()
    except Exception as error:  # noqa: BLE001 - to find what nobody thought of is what this is for
        outcome.failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
        return
    finally:
        outcome.seconds = max(outcome.seconds, time.perf_counter() - begun)
    outcome.failures += [f"{name}: warning: {each.message}"[:300] for each in caught]
    outcome.reasons[why] += bool(why)
    outcome.refused += bool(why)
    outcome.taken += not why


def _unpack(home: Path, content: bytes) -> str:
    """Unpack and remove what came; RuntimeError if anything else lies anywhere below the user data folder."""
    uploads, why, made = home / "data" / "uploads", "", None
    try:
        made = unpack_images(io.BytesIO(content), "fuzz.zip", LIMITS)
    except DataError as error:
        why = _shape(str(error))
    if made is not None:
        if made.parent != uploads or any(path.is_symlink() for path in made.rglob("*")):
            raise RuntimeError(f"{made} is no plain folder of uploads")
        _remove(made)
    left = [path for path in home.rglob("*") if path not in (home / "data", uploads)]
    if left:
        raise RuntimeError(f"left behind: {left[:3]}")
    return why


def _decode(path: Path) -> str:
    """Decode as the loader does and return the reason, if any; RuntimeError if pixels of a wrong shape come."""
    images, bad = decode_all([path], EDGE, 3, CONFIG, lambda _: None)
    if images.shape != (1, 3, EDGE, EDGE):
        raise RuntimeError(f"pixels of the shape {tuple(images.shape)}")
    return _shape(bad[path]) if path in bad else ""


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def _shape(reason: str) -> str:
    """Return a reason without names and numbers, so that equal reasons are counted together."""
    return re.sub(r"\d[\d,]*", "#", "…".join(reason.split("'")[::2]))[:80]


def _figures(name: str, title: str, outcome: Outcome) -> list[Figure]:
    return [
        Figure(f"{name}s_tried", f"damaged {title}", "", [outcome.taken + outcome.refused + len(outcome.failures)]),
        Figure(f"{name}s_refused", f"{title} refused", "", [outcome.refused]),
        Figure(f"{name}s_taken", f"{title} taken", "", [outcome.taken]),
        Figure(f"{name}_slowest_s", f"the slowest of the {title}", "s", [outcome.seconds]),
    ]


def _check(name: str, title: str, outcome: Outcome) -> Check:
    because = f"{outcome.refused:,} refused, {outcome.taken:,} taken, {len(outcome.failures)} otherwise, seed {SEED}"
    return Check(name, title, not outcome.failures, because)


if __name__ == "__main__":
    sys.exit(run.main(measure, "fuzz_uploads"))
