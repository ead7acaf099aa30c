"""The process that measures: what it refuses, and real measurements of images, texts and one's own network."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from calibrate_cases import DIGITS, ask, config, request, shorten
from queue_steps import set_columns

from multirate_core import home, store
from multirate_core.config import DataConfig, Execution, ModelConfig
from multirate_core.cost import calibrate
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.request import CalibrationError, request_of
from multirate_core.data.catalog import data_shape
from multirate_core.errors import ConfigError, ModelError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.models.catalog import model_info
from multirate_core.store.queue import take_turn

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4))
        self.out = nn.Linear(4, num_classes)

    def forward(self, images):
        x = self.stem(images).relu()
        if self.training:
            {while_training}
        return self.out(x.mean((2, 3)))

def build(num_classes):
    return Net(num_classes)
"""


def own_network(folder: Path, while_training: str = "pass") -> ModelConfig:
    """A network out of a file, with code that runs in training only."""
    file = folder / "my_net.py"
    file.write_text(NET.replace("{while_training}", while_training), encoding="utf-8")
    return ModelConfig("own", "none", f"{file}:build")


@pytest.fixture
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture
def running() -> Iterator[str]:
    """A race that holds the CPU; this process is its worker."""
    with store.open_store(home.store_path()) as opened:
        race_id = store.submit(opened, config(), attend=True)
        assert take_turn(opened, race_id)
        yield race_id
        store.finish(opened, race_id, "stopped")


# What is refused


def test_while_a_race_holds_the_device_nothing_is_measured(running: str) -> None:
    code, found = ask(request())
    assert code == 2 and isinstance(found, CalibrationError)
    assert found.message.startswith("a race holds cpu, and both would be slowed down")


@pytest.mark.slow
@pytest.mark.usefixtures("short_rounds")
def test_a_race_whose_process_died_holds_nothing(running: str, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with store.open_store(home.store_path()) as opened:
        set_columns(opened, running, pid=dead.pid)
        assert isinstance(calibrate.calibrate(request(model=own_network(tmp_path))), Calibration)
        assert store.get_race(opened, running).outcome == "lost"


@pytest.mark.usefixtures("short_rounds")
def test_a_race_that_begins_meanwhile_ends_the_measurement() -> None:
    with store.open_store(home.store_path()) as opened:
        race_id = store.submit(opened, config(), attend=True)

        def say(text: str, _: float) -> None:
            if text == "measuring single operations":
                assert take_turn(opened, race_id)

        with pytest.raises(ConfigError, match="a race holds cpu"):
            calibrate.calibrate(request(), say)
        store.finish(opened, race_id, "stopped")


def test_a_device_that_this_machine_has_not_is_refused() -> None:
    code, found = ask(request(device="cuda:71"))
    assert code == 2 and isinstance(found, CalibrationError)
    assert "this machine has no device 'cuda:71'" in found.message


@pytest.mark.usefixtures("short_rounds")
def test_a_network_that_fails_while_it_trains_is_told_by_the_module_that_it_reached(tmp_path: Path) -> None:
    model = own_network(tmp_path, "raise ValueError('no such\\nluck')")
    with pytest.raises(
        ModelError, match=r"a forward pass of Net on 16×1×32×32 failed in its own code: no such\. Choose"
    ):
        calibrate.calibrate(request(model=model))
    model = own_network(tmp_path, "x = self.stem(x)")
    with pytest.raises(ModelError, match=r"failed in stem\.0: .*expected input.* to have 1 channels, but got 4"):
        calibrate.calibrate(request(model=model))


@pytest.mark.usefixtures("short_rounds")
def test_an_input_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    colours = replace(DIGITS, input_shape=(3, 32, 32))
    code, found = ask(request(colours, model=own_network(tmp_path)))
    assert code == 2 and isinstance(found, CalibrationError) and "3" in found.message
    small = replace(DIGITS, input_shape=(1, 2, 2))
    code, found = ask(request(small, model=own_network(tmp_path)))
    assert code == 2 and isinstance(found, CalibrationError)


def test_a_network_without_anything_to_train_is_refused(tmp_path: Path) -> None:
    model = own_network(tmp_path)
    file = Path(model.source.removesuffix(":build"))
    frozen = "\n_net = build\ndef build(num_classes):\n    return _net(num_classes).requires_grad_(False)\n"
    file.write_text(file.read_text(encoding="utf-8") + frozen, encoding="utf-8")
    code, found = ask(request(model=model))
    assert code == 2 and isinstance(found, CalibrationError) and "no parameter that can be trained" in found.message


# Real measurements


@pytest.mark.slow
def test_a_process_of_its_own_measures_the_default_network_and_tells_how_far_it_is() -> None:
    wanted = request()
    process, said = requests.start(wanted), []
    while (found := requests.outcome(wanted, process)) is None:
        progress = requests.progress(wanted)
        if progress is not None and progress not in said:
            said.append(progress)
        time.sleep(0.02)
    assert process.wait(60) == 0 and isinstance(found, Calibration)
    tree = describe.read(describe.SHIPPED)
    assert isinstance(tree, LayerTree) and found.parameters == tuple(each.name for each in tree.trainable())
    assert found.facts["device"] == "cpu" and found.facts["threads"] == "1" and found.facts["batch"] == "16×1×32×32"
    assert found.rounds >= 3 and found.peaks is not None and found.peaks.lean is not None
    fractions = [each.fraction for each in said]
    assert len(said) > 3 and fractions == sorted(fractions)
    assert requests.read(wanted) is found and requests.progress(wanted) is None


@pytest.mark.slow
@pytest.mark.usefixtures("short_rounds")
def test_texts_are_measured_at_the_length_of_the_datas_own_batches() -> None:
    race = config(model=ModelConfig("doc_net", "none"), data=DataConfig("docstrings", train_images=64, max_tokens=24))
    shape = data_shape(race.data, model_info("doc_net"))
    found = calibrate.calibrate(request_of(race, shape, "cpu"))
    batch, length = map(int, found.facts["batch"].split("×"))
    assert batch == 16 and 4 <= length <= 24
    assert "layers.0.attention.query.weight" in found.parameters


@pytest.mark.slow
@pytest.mark.usefixtures("short_rounds")
def test_an_own_network_is_measured_in_reduced_precision_with_channels_last(tmp_path: Path) -> None:
    execution = Execution(precision="bf16", channels_last=True)
    code, found = ask(request(model=own_network(tmp_path), execution=execution))
    assert code == 0 and isinstance(found, Calibration)
    assert (found.facts["precision"], found.facts["memory_format"]) == ("bf16", "channels last")
