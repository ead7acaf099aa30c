"""The paper's two methods for training from scratch, at a small scale and against SGD: does either help here?"""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import run
from benchmarks.figures import Check, Figure, Result
from benchmarks.run import NotMeasurableError
from examples import random_subgroups, two_copies
from examples.paired import Comparison, interval, verdict

VARIABLE = "MULTIRATE_SHARED"
COMMANDS = (
    f"python -m examples.random_subgroups --full --data-path ${VARIABLE}/data",
    f"python -m examples.two_copies --full --data-path ${VARIABLE}/data",
)
ABOUT = (
    "Both examples with their full settings, on one thread. Differences are paired: equal seeds mean equal first "
    "weights and equal batches. Every arm's options are the best of equally many on a validation part, with seeds "
    "that are not among those compared; every accuracy is the one after the last epoch. *Random subgroups*: one "
    "hidden layer of {hidden} units, the first {train} images of Fashion-MNIST (not the source's MNIST), {epochs} "
    "epochs, all 10,000 test images. *Two copies*: three convolutions on {patched} images of CIFAR-10 (re-encoded as "
    "JPEG) with patches, {patched_epochs} epochs, 2,000 test images; one is 0.05 points. The checks say whether the "
    "95 % interval of the mean difference (Student's t over the seeds) shows what the source reports: a check that "
    "fails is a result, not a fault."
)


def measure(quick: bool) -> Result:
    """Run both examples, and say of each claimed difference which way its interval lies."""
    folder = _data_folder()
    thin, copies = random_subgroups.FULL, two_copies.FULL
    if quick:
        thin = replace(random_subgroups.Settings(), epochs=2)
        copies = replace(two_copies.Settings(), epochs=1)
    thinned = random_subgroups.compare(random_subgroups.load_images(thin, folder), thin)
    run.say(f"random subgroups: {random_subgroups.tell(thinned)['random_subgroups against']}")
    averaged = two_copies.compare(two_copies.load_images(copies, folder), copies)
    run.say(f"two copies: {two_copies.tell(averaged)['two_copies against']}")
    about = ABOUT.format(
        hidden=thin.hidden,
        train=f"{thin.train_images:,}",
        epochs=thin.epochs,
        patched=f"{copies.train_images:,}",
        patched_epochs=copies.epochs,
    )
    settings = {"commands": list(COMMANDS), "random_subgroups": asdict(thin), "two_copies": asdict(copies)}
    details = {"random_subgroups": random_subgroups.tell(thinned), "two_copies": two_copies.tell(averaged)}
    figures = [*_thinned_figures(thinned), *_copies_figures(averaged)]
    return Result(
        "from_scratch", about, figures, [*_thinned_checks(thinned), *_copies_checks(averaged)], settings, details
    )


def _data_folder() -> Path:
    root = os.environ.get(VARIABLE)
    if not root:
        raise NotMeasurableError(f"{VARIABLE} does not name the folder whose `data` holds Fashion-MNIST and CIFAR-10")
    return Path(root) / "data"


def _thinned_figures(found: Comparison) -> list[Figure]:
    titles = {"sgd": "SGD", "drop": "a subset dropped anew at every step", "random_subgroups": "random subgroups"}
    accuracies = [
        Figure(
            f"subgroups_{arm}",
            f"Fashion-MNIST, {title} ({_words(found, arm)})",
            "%",
            found.values(arm, "test"),
            None,
            "mean",
        )
        for arm, title in titles.items()
    ]
    differences = [
        _difference(found, "random_subgroups", other, "test", f"random subgroups − {titles[other]}")
        for other in ("sgd", "drop")
    ]
    return [*accuracies, *differences]


def _copies_figures(found: Comparison) -> list[Figure]:
    titles = {
        "sgd_small": "SGD, h",
        "sgd_large": "SGD, k·h",
        "two_copies": "two copies",
        "sgd_best": "SGD, its best rate",
    }
    parts = {"clean": "clean", "augmented": "image and patch", "patch_only": "patch only"}
    accuracies = [
        Figure(f"{arm}_{part}", f"{words}: {title} ({_words(found, arm)})", "%", found.values(arm, part), None, "mean")
        for part, words in parts.items()
        for arm, title in titles.items()
    ]
    differences = [
        _difference(found, "two_copies", other, "mean", f"mean of the three: two copies − {titles[other]}")
        for other in ("sgd_small", "sgd_large", "sgd_best")
    ]
    return [*accuracies, *differences]


def _difference(found: Comparison, arm: str, other: str, score: str, title: str) -> Figure:
    return Figure(f"{arm}_minus_{other}", title, "points", found.differences(arm, other, score), None, "mean")


def _words(found: Comparison, arm: str) -> str:
    """Return an arm's options as the reader knows them."""
    names = {"lr": "lr", "fraction": "share", "period": "k"}
    return ", ".join(f"{names[name]} {value:g}" for name, value in found.chosen[arm].items())


def _thinned_checks(found: Comparison) -> list[Check]:
    """Return the source's two claims: more accurate than SGD, and than dropping at every step."""
    return [
        _better(found, "random_subgroups", other, "test", f"Random subgroups are more accurate than {words}")
        for other, words in (("sgd", "SGD"), ("drop", "dropping a new subset at every step"))
    ]


def _copies_checks(found: Comparison) -> list[Check]:
    """Return the source's claims: better on clean images than either rate, and the patch is not lost."""
    return [
        _better(found, "two_copies", "sgd_small", "clean", "Two copies beat SGD with h on clean images"),
        _better(found, "two_copies", "sgd_large", "clean", "Two copies beat SGD with k·h on clean images"),
        _better(found, "two_copies", "sgd_large", "patch_only", "Two copies know the patch better than SGD with k·h"),
        _better(found, "two_copies", "sgd_best", "mean", "Two copies beat SGD with its best rate, mean of the three"),
    ]


def _better(found: Comparison, arm: str, other: str, score: str, title: str) -> Check:
    """Say whether an arm is better than another one beyond the noise of the seeds."""
    differences = found.differences(arm, other, score)
    if len(differences) < 2:
        return Check(f"{arm}_{other}_{score}", title, False, "one seed is no verdict")
    low, high = interval(differences)
    because = (
        f"{statistics.fmean(differences):+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}, "
        f"{len(differences)} seeds: {verdict(differences)}"
    )
    return Check(f"{arm}_{other}_{score}", title, verdict(differences) == "better", because)


if __name__ == "__main__":
    sys.exit(run.main(measure, "from_scratch"))
