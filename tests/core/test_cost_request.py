"""Which calibration is wanted: filed under what shapes it, kept, measured anew where it is damaged, taken in turns."""

from __future__ import annotations

import fcntl
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calibrate_cases import DIGITS, SGD, ask, request
from cost_cases import keep, made_up

from multirate_core import home, kept_answer
from multirate_core.config import ArmConfig, Budget, DataConfig, Execution, ModelConfig, Recipe
from multirate_core.cost import calibrate
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.request import CalibrationError, CalibrationRequest
from multirate_core.data.catalog import DataShape
from multirate_core.errors import ConfigError, StoreError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree

TEXTS = DataShape(5, (24,), (), 1000, 200)


@pytest.fixture
def made() -> Calibration:
    """A calibration of the default network that nobody had to measure."""
    tree = describe.read(describe.SHIPPED)
    assert isinstance(tree, LayerTree)
    return made_up(tree)


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch, made: Calibration) -> list[CalibrationRequest]:
    """Let measurements be made up; return what was asked for."""
    asked: list[CalibrationRequest] = []

    def instead(wanted: CalibrationRequest, say: Any) -> Calibration:
        say("measuring", 0.5)
        asked.append(wanted)
        return made

    monkeypatch.setattr(calibrate, "calibrate", instead)
    return asked


# What is asked for


DECAYED = Recipe(batch_size=16, weight_decay=0.1)
OTHERS = {
    "batch size": request(recipe=Recipe(batch_size=17)),
    "threads": request(threads=2),
    "device": request(device="cuda:0"),
    "another device": request(device="cuda:1"),
    "precision": request(execution=Execution(precision="bf16")),
    "memory format": request(execution=Execution(channels_last=True)),
    "base rule": request(recipe=Recipe(batch_size=16, base="adamw")),
    "no momentum": request(recipe=Recipe(batch_size=16, momentum=0.0)),
    "nesterov": request(recipe=Recipe(batch_size=16, nesterov=True)),
    "weight decay": request(recipe=DECAYED),
    "norms without decay": request(recipe=replace(DECAYED, decay_norms=False)),
    "label smoothing": request(recipe=Recipe(batch_size=16, label_smoothing=0.1)),
    "clipping": request(recipe=Recipe(batch_size=16, clip_norm=1.0)),
    "micro-batches": request(recipe=Recipe(batch_size=16, accumulate=2)),
    "network": request(model=ModelConfig("resnet18")),
    "classes": request(replace(DIGITS, num_classes=11)),
    "image size": request(replace(DIGITS, input_shape=(1, 40, 40))),
    "texts": request(TEXTS),
    "other texts": request(TEXTS, data=DataConfig("docstrings")),
    "fewer texts": request(TEXTS, data=DataConfig("docstrings", train_images=100)),
    "seed of texts": request(TEXTS, seeds=(3,)),
}


def test_whatever_shapes_a_step_is_another_calibration() -> None:
    keys = {name: requests.key(each) for name, each in OTHERS.items()}
    keys["as it is"] = requests.key(request())
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize(
    "same",
    [
        request(recipe=Recipe(batch_size=16, lr=0.5, momentum=0.5)),
        request(recipe=Recipe(batch_size=16, schedule="cosine", warmup=0.2)),
        request(recipe=Recipe(batch_size=16, decay_norms=False)),  # of no decay at all
        request(budget=Budget(epochs=77)),
        request(budget=Budget(seconds=3.0)),
        request(arms=(SGD, ArmConfig("second", "sgd"))),
        request(seeds=(5, 6)),
        request(device="cpu", evaluations=3, record_steps=False),
        request(execution=Execution(memory="lean")),
        request(data=DataConfig(train_images=50, augment="crop_flip")),
        request(model=ModelConfig(weights="none")),
    ],
)
def test_what_costs_no_time_is_the_same_calibration(same: CalibrationRequest) -> None:
    assert requests.key(same) == requests.key(request())


def test_sizes_of_rates_do_not_matter_where_they_are_not_zero() -> None:
    first = Recipe(batch_size=16, weight_decay=0.1, clip_norm=1.0, label_smoothing=0.1)
    second = Recipe(batch_size=16, weight_decay=0.2, clip_norm=5.0, label_smoothing=0.3)
    assert request(recipe=first) == request(recipe=second)
    assert requests.step_of(requests.step_of(first)) == requests.step_of(first)
    tests = (DataConfig("docstrings", test_images=9), DataConfig("docstrings"))
    assert request(TEXTS, data=tests[0]) == request(TEXTS, data=tests[1])


@pytest.mark.parametrize("name", ["_processor", "usable_cores", "_gpus", "__version__"])
def test_another_machine_or_version_is_another_calibration(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = requests.key(request())
    monkeypatch.setattr(requests, name, "other" if name == "__version__" else lambda: "other")
    assert requests.key(request()) != before


def test_an_own_network_that_was_changed_is_another_calibration(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    model = ModelConfig("own", "none", f"{file}:build")
    keys = []
    for code in ("pass", "pass  # and more"):
        file.write_text(code, encoding="utf-8")
        keys.append(requests.key(request(model=model)))
    assert keys[0] != keys[1]


@pytest.mark.parametrize("wanted", [*OTHERS.values(), request()], ids=[*OTHERS, "as it is"])
def test_a_request_survives_its_way_to_the_process(wanted: CalibrationRequest) -> None:
    assert requests.request_from_json(requests.answer_of(wanted).request) == wanted


def test_threads_that_nobody_chose_are_those_of_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "default_threads", lambda: 7)
    assert request(threads=None).threads == 7


def test_a_compiled_race_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"a compiled network has no layers left to measure\. Turn compiling off"):
        request(execution=Execution(compile=True))


# What is kept


def test_a_calibration_is_read_until_it_is_forgotten(made: Calibration) -> None:
    wanted = request()
    assert requests.read(wanted) is None and requests.kept(wanted) is None
    keep(wanted, made)
    assert requests.read(wanted) == made and requests.read(wanted) is requests.kept(wanted)
    assert requests.read(request(threads=2)) is None
    requests.forget(wanted)
    assert requests.read(wanted) is None
    requests.forget(wanted)  # nothing there: nothing happens


def test_what_was_measured_is_kept_and_not_measured_again(
    no_measuring: list[CalibrationRequest], made: Calibration
) -> None:
    wanted = request()
    assert ask(wanted) == (0, made)
    assert ask(wanted) == (0, made)
    assert no_measuring == [wanted]
    assert requests.progress(wanted) is None  # nothing is left over
    assert not list(requests.answer_of(wanted).path.parent.glob("*.partial"))


@pytest.mark.parametrize("damage", [b'{"format": "multirate-cal', b"\xff\xfe\x00", b"", b"[]"])
def test_a_damaged_file_is_measured_anew_and_a_note_says_so(
    no_measuring: list[CalibrationRequest], made: Calibration, damage: bytes
) -> None:
    wanted = request()
    keep(wanted, made)
    requests.answer_of(wanted).path.write_bytes(damage)
    assert requests.read(wanted) is None
    code, found = ask(wanted)
    assert code == 0 and no_measuring == [wanted]
    assert isinstance(found, Calibration) and replace(found, notes=()) == made
    assert found.notes == ("What was kept of an earlier measurement was damaged: this one is new.",)


def test_an_error_is_kept_until_the_next_try(
    monkeypatch: pytest.MonkeyPatch, no_measuring: list[CalibrationRequest], made: Calibration
) -> None:
    wanted = request()
    with monkeypatch.context() as patch:
        patch.setattr(calibrate, "calibrate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            calibrate.main([requests.answer_of(wanted).request])
    found = requests.read(wanted)
    assert isinstance(found, CalibrationError)
    assert found.message.startswith("the calibration of glyph_net on cpu cannot be made: ZeroDivisionError")
    assert ask(wanted) == (0, made)


def test_progress_is_what_the_process_says_and_never_nonsense() -> None:
    wanted = request()
    assert requests.progress(wanted) is None
    for text, fraction in (('{"text": "a", "fraction": 0.25}', 0.25), ('{"text": "a", "fraction": 7}', 1.0)):
        kept_answer.write(requests.progress_path(wanted), text)
        assert requests.progress(wanted) == requests.Progress("a", fraction)
    for text in ("", "[]", '{"text": "a"}', '{"text": "a", "fraction": "x"}', "7"):
        kept_answer.write(requests.progress_path(wanted), text)
        assert requests.progress(wanted) is None


def test_a_process_that_dies_without_a_word_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    process = requests.start(request())
    process.wait(30)
    found = requests.outcome(request(), process)
    assert isinstance(found, CalibrationError) and "exit code 1" in found.message
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StoreError, match="the calibration of glyph_net on cpu cannot be made"):
        requests.start(request())


# Turns


def test_two_measurements_take_turns(
    monkeypatch: pytest.MonkeyPatch, no_measuring: list[CalibrationRequest], made: Calibration
) -> None:
    monkeypatch.setattr(calibrate, "WAIT_S", 0.05)
    monkeypatch.setattr(calibrate, "POLL_S", 0.01)
    wanted = request()
    with (home.home_folder() / calibrate.LOCK).open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, found = ask(wanted)
        assert code == 2 and isinstance(found, CalibrationError) and not no_measuring
        assert found.message == "another measurement has not ended for ten minutes. Try again."
    assert ask(wanted) == (0, made)


def test_whoever_waited_for_the_same_takes_what_was_measured_meanwhile(
    monkeypatch: pytest.MonkeyPatch, no_measuring: list[CalibrationRequest], made: Calibration
) -> None:
    wanted, lock = request(), (home.home_folder() / calibrate.LOCK).open("w", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def other_ends(_: float) -> None:
        progress = requests.progress(wanted)
        assert progress is not None and progress.text == "waiting for another measurement"
        keep(wanted, made)
        lock.close()

    monkeypatch.setattr(time, "sleep", other_ends)
    assert ask(wanted) == (0, made) and not no_measuring
