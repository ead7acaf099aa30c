"""Real files beyond the default: SqueezeNet's ImageNet weights on photos, Fashion-MNIST with ResNet-18 from scratch."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import run
from benchmarks.figures import Check, Figure, Result
from benchmarks.races import Comparison, compare
from benchmarks.run import NotMeasurableError
from multirate_core.events import Evaluated
from multirate_core.machine import usable_cores

VARIABLE = "MULTIRATE_SHARED"
PHOTOS = Path("data/hymenoptera_data")
FASHION = Path("data")
SQUEEZENET = Path("weights/squeezenet1_1-ncnn-2742afef.pth")
ARMS = ("sgd", "multirate")
ABOUT = (
    "Two races from the command line on all cores, one seed each: what happened, no verdict. Ants and bees are 244 "
    "photos to learn and 153 to test; of Fashion-MNIST {fashion} training images are used and all 10,000 test images. "
    "Losses are means over the test part, before the first step and after the last."
)


@dataclass(frozen=True)
class RealRace:
    """A race on real files.

    Args:
        name: for programs.
        title: for people.
        words: of the command line.
    """

    name: str
    title: str
    words: tuple[str, ...]


def measure(quick: bool) -> Result:
    """Race both, and tell the losses, the evaluations and the three answers."""
    shared, images = _shared(), "256" if quick else "3000"
    found = []
    with run.fresh_home():
        for race in (_photos(shared, quick), _fashion(shared, images)):
            found.append((race, compare(*race.words, "--threads", str(usable_cores()))))
    figures = [figure for race, each in found for figure in _figures(race, each)]
    checks = [check for race, each in found for check in _checks(race, each)]
    details = {race.name: {"report": each.report, "notes": each.notes} for race, each in found}
    commands = [each.command.replace(str(shared), f"${VARIABLE}") for _, each in found]
    answers = {race.title: each.answers for race, each in found}
    about = ABOUT.format(fashion=images)
    return Result("real_input", about, figures, checks, {"commands": commands}, details, answers)


def _photos(shared: Path, quick: bool) -> RealRace:
    words = ("--preset", "photos", "--data-path", str(shared / PHOTOS), "--weights", str(shared / SQUEEZENET))
    return RealRace("photos", "SqueezeNet, ants and bees", (*words, "--epochs", "1" if quick else "2"))


def _fashion(shared: Path, images: str) -> RealRace:
    words = ("--preset", "fashion", "--data-path", str(shared / FASHION), "--train-images", images)
    return RealRace("fashion", "ResNet-18, Fashion-MNIST", (*words, "--epochs", "1"))


def _shared() -> Path:
    """Return the folder with real data and weights; NotMeasurableError if it is not named or not there."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if not os.environ.get(VARIABLE) or not (folder / PHOTOS).is_dir():
        raise NotMeasurableError(
            f"set {VARIABLE} to a folder that holds {PHOTOS}, {FASHION}/FashionMNIST and {SQUEEZENET}"
        )
    return folder.resolve()


def _figures(race: RealRace, each: Comparison) -> list[Figure]:
    """Return what happened in a race: training time, accuracy, speed-up at equal epochs, wall time."""
    found = [Figure(f"{race.name}_wall_s", f"{race.title}: from the command to its result", "s", [each.wall_s])]
    for arm in ARMS:
        title = f"{race.title}, {arm}"
        found += [
            Figure(f"{race.name}_{arm}_s", f"{title}: training time", "s", each.per_seed(arm, "train_seconds")),
            Figure(
                f"{race.name}_{arm}_accuracy",
                f"{title}: accuracy",
                "%",
                [100 * value for value in each.per_seed(arm, "final_accuracy")],
            ),
        ]
    speedup = each.report["speedup_equal_epochs"]
    if speedup is not None:
        found.append(Figure(f"{race.name}_speedup", f"{race.title}: speed-up at equal epochs", "×", [speedup]))
    return found


def _checks(race: RealRace, each: Comparison) -> list[Check]:
    """Return whether it was a race: it ended well, was evaluated, learned, and has the three answers."""
    tests = {lane: [test for test in each.evaluations if test.lane == lane] for lane in range(len(ARMS))}
    missing = [name for name, answer in each.answers.items() if not answer]
    because = f"missing: {', '.join(missing)}" if missing else "they stand in the table below"
    return [
        *(_evaluated(race, arm, tests[lane]) for lane, arm in enumerate(ARMS)),
        Check(f"{race.name}_answers", f"{race.title}: the three answers are there", not missing, because),
    ]


def _evaluated(race: RealRace, arm: str, tests: list[Evaluated]) -> Check:
    falls = len(tests) >= 2 and tests[-1].loss < tests[0].loss
    because = f"{len(tests)} evaluations" + (f", {tests[0].loss:.3f} → {tests[-1].loss:.3f}" if tests else "")
    return Check(f"{race.name}_{arm}_loss_falls", f"{race.title}, {arm}: the test loss falls", falls, because)


if __name__ == "__main__":
    sys.exit(run.main(measure, "real_input"))
