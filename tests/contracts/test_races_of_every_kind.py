"""Races from the command line: one network of every kind of head and one source of every reader, tiny and local.

What counts as raced: both arms are tested twice or more, their training loss falls, and the race stands in the store.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from family_cases import HEADS
from tiny_sources import EVERY_SOURCE, data_words, network_words

from multirate_core import store
from multirate_core.cli.parser import make_parser
from multirate_core.cli.program import main
from multirate_core.cli.settings import data_config, layer_tree, model_config
from multirate_core.data.catalog import data_shape
from multirate_core.home import store_path
from multirate_core.layers import describe
from multirate_core.models.catalog import MODELS, model_info
from multirate_core.partition import resolve
from multirate_core.presets import race_preset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TINY = "--batch-size 8 --k 2 --fast head --arms sgd,multirate --device cpu --threads 1 --json"
SMALL = "--image-size 32 --epochs 4 --weights none"
WORDS = "--epochs 6 --weights none --base adamw --lr 0.01"
SENTENCES = "--epochs 3 --base adamw --lr 0.001 --max-tokens 8"  # of doc_net, with the weights that ship


@dataclass(frozen=True)
class Race:
    """A network and data as in `tiny_sources`, the head that is fast, and further words of the command line."""

    model: str
    data: str
    head: tuple[str, ...]
    options: str

    def words(self, folder: Path) -> list[str]:
        """Return the words of the command line; what they name is written into the folder."""
        named = [*network_words(self.model, folder), *data_words(self.data, folder)]
        return ["compare", *named, *TINY.split(), *self.options.split()]


RACES = (
    Race("resnet18", "cifar10", ("fc",), f"{SMALL} --lr 0.001"),
    Race("mobilenet_v3_small", "svhn", ("classifier.3",), f"{SMALL} --train-images 24 --lr 0.02"),
    Race("squeezenet1_1", "parts", ("classifier.1",), f"{SMALL} --lr 0.003"),
    Race("timm", "imagenette160", ("fc",), f"{SMALL} --train-images 24 --base adamw --lr 0.001"),
    Race("own.vit", "stl10", ("heads.head",), f"{SMALL} --lr 0.02"),
    Race("own.swin", "zip", ("head",), f"{SMALL} --lr 0.05"),
    Race("own.densenet", "eurosat", ("classifier",), f"{SMALL} --train-images 32 --lr 0.05"),
    Race("own.pooled", "flowers102", ("fc",), f"{SMALL} --train-images 102 --lr 0.1"),
    Race("own.pooled", "pets", ("fc",), f"{SMALL} --lr 0.1"),
    Race("own.pooled", "food101", ("fc",), f"{SMALL} --train-images 101 --lr 0.1"),
    Race("glyph_net", "fashion_mnist", ("fc",), f"{SMALL} --lr 0.01"),
    Race("bert", "table.csv", ("classifier",), WORDS),
    Race("distilbert", "table.tsv", ("pre_classifier", "classifier"), WORDS),
    Race("roberta", "table.jsonl", ("classifier",), WORDS),
    Race("doc_net", "sst2", ("head",), SENTENCES),
    Race("doc_net", "trec", ("head",), SENTENCES),
    Race("doc_net", "ag_news", ("head",), SENTENCES),
    Race("doc_net", "sms_spam", ("head",), SENTENCES),
    Race("doc_net", "hub", ("head",), SENTENCES),
    Race("doc_net", "docstrings", ("head",), f"{SENTENCES} --batch-size 16 --train-images 48"),
)
RACED = {race.data for race in RACES} | {"digits"}  # the digits: below, in a process of their own
FAMILIES = tuple(Race(name, "folder", (head,), "") for name, head in HEADS.items())
CAUTIOUS = {"EfficientNet": 5e-5, "VGG": 3e-5}  # lr of the families that take larger steps of AdamW badly
HUB = tuple(name for name, info in MODELS.items() if info.maker == "hugging_face" and info.hub)


def run_here(words: Sequence[str]) -> int:
    """Run a command in this process, layer tree and training too, which the command line gives a process each."""
    options = make_parser().parse_args(words)
    chosen = race_preset(options.preset)
    model = model_config(options, chosen)
    shape = data_shape(data_config(options, chosen), model_info(model.name))
    request = describe.TreeRequest(model.name, shape.num_classes, shape.input_shape, model.source)
    assert describe.main([json.dumps(asdict(request))]) == 0
    return main([*words, "--inline"])


def assert_raced(head: tuple[str, ...]) -> None:
    """Look at the one race of the store: finished, the head fast, both arms tested, and their training loss fallen."""
    with store.open_store(store_path()) as opened:
        (race,) = store.list_races(opened)
        assert (race.outcome, race.message) == ("finished", "")
        assert [arm.name for arm in race.config.arms] == ["sgd", "multirate"]
        assert race.config.arms[1].partition is not None
        groups = resolve(race.config.arms[1].partition, layer_tree(race.config.model, race.config.data)).assignment
        assert {name for name, group in groups.items() if group == "fast"} == {
            name for name in groups if name.startswith(tuple(f"{path}." for path in head))
        }
        tests = store.evaluations(opened, race.id)
        for lane in store.lanes(opened, race.id):
            assert lane.outcome == "finished" and sum(test.lane == lane.lane for test in tests) >= 2
            losses = store.steps_since(opened, race.id, lane.lane).loss
            epochs = np.split(losses, round(lane.epochs))
            assert len(epochs) >= 2 and epochs[-1].mean() < 0.98 * epochs[0].mean(), (lane.arm, losses)


@pytest.mark.parametrize("race", RACES, ids=lambda race: f"{race.model}-{race.data}")
def test_every_kind_of_head_and_every_reader_is_raced(race: Race, tmp_path: Path) -> None:
    words = race.words(tmp_path)
    assert run_here(words) == 0
    assert_raced(race.head)
    with store.open_store(store_path()) as opened:
        config = store.list_races(opened)[0].config
    assert ["--model", config.model.name, *(["--source", config.model.source] if config.model.source else [])] == words[
        1 : words.index("--data")
    ]


def test_a_race_in_processes_of_its_own_prints_its_result_and_is_listed(own_home: Path, tmp_path: Path) -> None:
    race = Race("glyph_net", "digits", ("fc",), "--epochs 3 --train-images 32 --weights none --lr 0.01")
    command = [sys.executable, "-m", "multirate_core"]
    done = subprocess.run(
        [*command, *race.words(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["outcome"] == "finished" and {arm["steps"] for arm in report["arms"].values()} == {12}
    assert_raced(race.head)
    listed = subprocess.run([*command, "races"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert report["race"] in listed and "glyph_net on digits: SGD,multirate" in listed.replace("sgd", "SGD")


@pytest.mark.matrix
@pytest.mark.timeout(1200)  # the largest took 213 seconds beside other work
@pytest.mark.parametrize("race", FAMILIES, ids=lambda race: race.model)
def test_every_family_of_torchvision_is_raced(race: Race, tmp_path: Path) -> None:
    # All images are one batch, so that BatchNorm over few values and the draw of a batch do not hide what is learned.
    size = max(64, MODELS[race.model].smallest_size)
    lr = CAUTIOUS.get(MODELS[race.model].family, 0.0003)
    options = f" --image-size {size} --epochs 6 --batch-size 16 --weights none --base adamw --lr {lr}"
    assert run_here([*race.words(tmp_path), *options.split()]) == 0
    assert_raced(race.head)


@pytest.mark.matrix
@pytest.mark.parametrize("source", [source for source in EVERY_SOURCE if source not in RACED])
def test_every_other_source_is_raced(source: str, tmp_path: Path) -> None:
    race = Race("own.pooled", source, ("fc",), f"{SMALL} --lr 0.1")
    assert run_here(race.words(tmp_path)) == 0
    assert_raced(race.head)


@pytest.mark.matrix
@pytest.mark.parametrize("model", [*HUB, "hugging_face"])
def test_every_network_of_the_hub_is_raced_from_a_local_folder(model: str, tmp_path: Path) -> None:
    assert run_here(Race(model, "table.csv", (), WORDS).words(tmp_path)) == 0
    assert_raced(("pre_classifier", "pooler", "classifier"))


@pytest.mark.matrix
@pytest.mark.parametrize("model", HUB)
def test_every_network_of_the_hub_that_cannot_be_had_says_what_to_do(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    assert main(["compare", "--model", model, *data_words("table.csv", tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and MODELS[model].hub in err and "give its folder as the source" in err
    assert not store_path().exists()
