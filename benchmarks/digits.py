"""The promise of the digits preset: as accurate as SGD in much less training time, and true transfer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks import run
from benchmarks.figures import Check, Figure, Result, Target
from benchmarks.races import Comparison, compare
from multirate_core.presets import race_preset

PRESET = ("--preset", "digits")
HEAD = ("--fast", "head", "--k", "5")
ARMS = ("sgd", "multirate", "frozen")
SEEDS = 3
LR_FACTORS = {"a third of": 1 / 3, "three times": 3.0}
WALL_S, TIME_RATIO = Target("at most", 75.0), Target("at most", 0.60)
FROZEN_POINTS = Target("at least", 3.0)
WITHIN_POINTS = 1.0
ABOUT = (
    "The command line's own races. The wall time is that of the first command below, from its start to its result; "
    "everything else compares means over {seeds} seeds. The test part has {images} images: one image is {point:.2f} "
    "points. Every accuracy is the one after the last epoch."
)

Runs = Mapping[str, Comparison]


def measure(quick: bool) -> Result:
    """Race one seed for the wall time, then all arms over the seeds, then the runs that the checks need."""
    seeds = ("--seeds", str(1 if quick else SEEDS), *(("--epochs", "2") if quick else ()))
    short = seeds[2:]
    with run.fresh_home():
        ones = [compare(*PRESET, *HEAD, "--seeds", "1", *short) for _ in range(1 if quick else 3)]
        main = compare(*PRESET, *HEAD, "--arms", ",".join(ARMS), *seeds)
        runs = _runs_for_checks(main, seeds)
    images = int(main.notes["test_images"])
    about = ABOUT.format(seeds=len(main.per_seed("sgd", "steps")), images=images, point=100 / images)
    settings = {"commands": [each.command for each in (ones[0], *runs.values())]}
    details = {
        "test_images": images,
        "one_image_in_points": round(100 / images, 3),
        "per_seed": {name: _per_seed(each) for name, each in runs.items()},
    }
    answers = {"Handwritten digits": main.answers}
    return Result("digits", about, _figures(ones, main), [_close(main), *_truths(runs)], settings, details, answers)


def _runs_for_checks(main: Comparison, seeds: Sequence[str]) -> dict[str, Comparison]:
    """Return the races behind the checks by what they change: SGD at other rates, and everything from scratch."""
    lr = race_preset("digits").recipe.lr
    rates = {
        words: compare(*PRESET, "--arms", "sgd", "--lr", f"{lr * factor:.4g}", *seeds)
        for words, factor in LR_FACTORS.items()
    }
    scratch = compare(*PRESET, *HEAD, "--weights", "none", "--arms", "sgd,frozen", *seeds)
    return {"preset": main, **rates, "random weights": scratch}


def _figures(ones: Sequence[Comparison], main: Comparison) -> list[Figure]:
    ratios = [mr / sgd for mr, sgd in _paired(main, "multirate", "sgd", "train_seconds")]
    differences = [100 * (mr - sgd) for mr, sgd in _paired(main, "multirate", "sgd", "final_accuracy")]
    below = [100 * (sgd - frozen) for sgd, frozen in _paired(main, "sgd", "frozen", "final_accuracy")]
    percent = {arm: [100 * value for value in main.per_seed(arm, "final_accuracy")] for arm in ARMS}
    return [
        Figure("wall_s", "one seed, from the command to its result", "s", [one.wall_s for one in ones], WALL_S),
        Figure("time_ratio", "multirate's training time / SGD's, equal epochs", "", ratios, TIME_RATIO, "mean"),
        Figure("accuracy_difference", "multirate's accuracy − SGD's", "points", differences, None, "mean"),
        Figure("frozen_below", "SGD's accuracy − that of the frozen arm", "points", below, FROZEN_POINTS, "mean"),
        *(Figure(f"accuracy_{arm}", f"accuracy of {arm}", "%", percent[arm], None, "mean") for arm in ARMS),
    ]


def _close(main: Comparison) -> Check:
    difference = 100 * (main.mean("multirate", "final_accuracy") - main.mean("sgd", "final_accuracy"))
    because = f"multirate's mean differs by {difference:+.2f} points"
    title = f"Multirate's accuracy is within {WITHIN_POINTS:.0f} point of SGD's"
    return Check("accuracy_within_a_point", title, abs(difference) <= WITHIN_POINTS, because)


def _truths(runs: Runs) -> list[Check]:
    """Return the four checks that the preset teaches the truth."""
    main, scratch = runs["preset"], runs["random weights"]
    own, frozen = main.mean("sgd", "final_accuracy"), main.mean("frozen", "final_accuracy")
    rates = {words: runs[words].mean("sgd", "final_accuracy") for words in LR_FACTORS}
    others = ", ".join(f"{value:.2%} at {words} it" for words, value in rates.items())
    full, head = (scratch.mean(arm, "final_accuracy") for arm in ("sgd", "frozen"))
    return [
        Check(
            "lr_is_sgds_best",
            "SGD's learning rate is its own best of {⅓, 1, 3}×",
            own >= max(rates.values()),
            f"{own:.2%}; {others}",
        ),
        Check("full_beats_scratch", "Fine-tuning beats training from scratch", own > full, f"{own:.2%} and {full:.2%}"),
        Check(
            "frozen_beats_random",
            "A frozen pretrained body beats a frozen random one",
            frozen > head,
            f"{frozen:.2%} and {head:.2%}",
        ),
        Check(
            "frozen_is_worse",
            "A frozen pretrained body is clearly worse than fine-tuning",
            FROZEN_POINTS.met_by(100 * (own - frozen)),
            f"{frozen:.2%} and {own:.2%}",
        ),
    ]


def _paired(each: Comparison, arm: str, other: str, number: str) -> list[tuple[float, float]]:
    return list(zip(each.per_seed(arm, number), each.per_seed(other, number), strict=True))


def _per_seed(each: Comparison) -> dict[str, list[dict[str, object]]]:
    return {arm: numbers["per_seed"] for arm, numbers in each.report["arms"].items()}


if __name__ == "__main__":
    sys.exit(run.main(measure, "digits"))
