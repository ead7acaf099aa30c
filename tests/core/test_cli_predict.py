"""`predict`: what a partition will cost, as one line of JSON or in words, from a calibration that is kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from calibrate_cases import SGD
from cost_cases import keep, made_up

from multirate_core import home, kept_answer, store
from multirate_core.cli.parser import PREDICT_EPILOG, make_parser
from multirate_core.cli.program import main
from multirate_core.cli.settings import race_config
from multirate_core.config import RaceConfig
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.forecast import prediction, run_of
from multirate_core.cost.predict import Prediction
from multirate_core.cost.request import CalibrationRequest, request_of
from multirate_core.data.catalog import data_shape
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.models.catalog import model_info
from multirate_core.store.queue import take_turn

CPU = ("--device", "cpu", "--threads", "1")
KEYS: Mapping[str, set[str]] = {
    "peak_bytes": {"sgd", "multirate", "lean"},
    "allreduce_bytes_per_step": {"sgd", "multirate"},
    "calibration": {"seconds", "cached"},
}
NUMBERS = {"full_step_s", "fast_step_s", "sgd_step_s", "ratio", "ratio_limit"}
Capture = pytest.CaptureFixture[str]


def tree() -> LayerTree:
    found = describe.read(describe.SHIPPED)
    assert isinstance(found, LayerTree)
    return found


def asked(*words: str) -> tuple[RaceConfig, CalibrationRequest]:
    config = race_config(make_parser().parse_args(["predict", *CPU, *words]))
    return config, request_of(config, data_shape(config.data, model_info(config.model.name)), "cpu")


def expected(calibration: Calibration, *words: str) -> Prediction:
    config, _ = asked(*words)
    arm = next(arm for arm in config.arms if arm.kind == "multirate")
    shape = data_shape(config.data, model_info(config.model.name))
    return prediction(calibration, config, arm, tree(), run_of(config, shape.train_images))


def predicted(capsys: Capture, *words: str) -> dict[str, Any]:
    """The one line that stdout holds."""
    capsys.readouterr()
    assert main(["predict", *CPU, *words, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    found: dict[str, Any] = json.loads(lines[0])
    return found


def refused(capsys: Capture, *words: str) -> str:
    """The one line of stderr of a call that ends with exit code 2 and prints nothing."""
    capsys.readouterr()
    assert main(["predict", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.fixture
def kept() -> Calibration:
    """Made-up costs of the default network, where its request finds them."""
    made = made_up(tree())
    keep(asked()[1], made)
    return made


class Ended:
    """A process that has ended."""

    returncode = 0

    def poll(self) -> int:
        return self.returncode

    def wait(self) -> int:
        return self.returncode


def measuring(monkeypatch: pytest.MonkeyPatch, work: Callable[[CalibrationRequest], object]) -> None:
    """Let something else do what the measuring process would."""

    def start(request: CalibrationRequest) -> Ended:
        work(request)
        return Ended()

    monkeypatch.setattr(requests, "start", start)


# JSON


def test_the_line_has_the_documented_keys_and_the_prediction(kept: Calibration, capsys: Capture) -> None:
    found, right = predicted(capsys), expected(kept)
    assert found.keys() >= NUMBERS | KEYS.keys() | {"backward_reaches"}
    assert all(found[name].keys() >= keys for name, keys in KEYS.items())
    assert {name: found[name] for name in NUMBERS} == {name: getattr(right, name) for name in NUMBERS}
    assert found["mean_step_s"] == right.mean_step_s and found["ratio_uncertainty"] == right.uncertainty
    assert found["peak_bytes"] == {"sgd": 50_000_000, "multirate": 52_000_000, "lean": 30_000_000}
    assert found["allreduce_bytes_per_step"] == {
        "sgd": right.sgd_allreduce_bytes,
        "multirate": right.multirate_allreduce_bytes,
    }
    assert found["backward_reaches"] == "fc" and found["layers_crossed"][0] == 1
    assert found["calibration"] == {"seconds": 7.5, "cached": True, "device": "cpu"}


def test_every_key_that_the_help_names_is_there(kept: Calibration, capsys: Capture) -> None:
    named = set(re.findall(r'"(\w+)"', PREDICT_EPILOG))
    assert named and named <= predicted(capsys).keys()


def test_peaks_that_nobody_could_count_are_null(capsys: Capture) -> None:
    keep(asked()[1], replace(made_up(tree()), peaks=None))
    assert predicted(capsys)["peak_bytes"] == {"sgd": None, "multirate": None, "lean": None}


@pytest.mark.parametrize(
    "words",
    [
        ("--k", "9"),
        ("--fast-pattern", "fc", "--fast-pattern", "layer1", "--k", "3"),
        ("--memory", "lean"),
        ("--epochs", "1", "--train-images", "70"),
        ("--arms", "multirate"),
        ("--no-drift", "--arms", "sgd,frozen,multirate"),
    ],
)
def test_the_options_of_a_race_count(kept: Calibration, capsys: Capture, words: tuple[str, ...]) -> None:
    right = expected(kept, *words)
    found = predicted(capsys, *words)
    assert (found["ratio"], found["full_step_s"]) == (right.ratio, right.full_step_s)


def test_an_early_fast_layer_is_where_gradients_reach(kept: Calibration, capsys: Capture) -> None:
    found = predicted(capsys, "--fast-pattern", "stem", "--fast-pattern", "fc")
    crossed, layers = found["layers_crossed"]
    assert found["backward_reaches"] == "stem.0" and crossed == layers > 5


# Measured, kept, measured again


def test_what_was_measured_is_not_measured_again_until_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    first, second = (replace(made_up(tree()), took_s=seconds) for seconds in (1.0, 2.0))
    measuring(monkeypatch, lambda request: keep(request, first))
    calibration = predicted(capsys)["calibration"]
    assert (calibration["seconds"], calibration["cached"]) == (1.0, False)
    measuring(monkeypatch, lambda request: keep(request, second))
    calibration = predicted(capsys)["calibration"]
    assert (calibration["seconds"], calibration["cached"]) == (1.0, True)
    calibration = predicted(capsys, "--recalibrate")["calibration"]
    assert (calibration["seconds"], calibration["cached"]) == (2.0, False)


def test_another_batch_size_is_measured_by_itself(
    monkeypatch: pytest.MonkeyPatch, kept: Calibration, capsys: Capture
) -> None:
    wanted: list[CalibrationRequest] = []
    measuring(monkeypatch, lambda request: (wanted.append(request), keep(request, kept)))
    assert not predicted(capsys, "--batch-size", "7")["calibration"]["cached"]
    assert [request.recipe.batch_size for request in wanted] == [7]


def test_a_measurement_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    reason = json.dumps({"error": "the memory\nof cpu is full. Use a smaller batch."})
    measuring(monkeypatch, lambda request: kept_answer.write(requests.answer_of(request).error_path, reason))
    assert refused(capsys, *CPU) == "error: the memory of cpu is full. Use a smaller batch.\n"


def test_progress_goes_to_stderr(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    made, wanted = made_up(tree()), asked()[1]

    class Working(Ended):
        polls = 0

        def poll(self) -> int | None:  # type: ignore[override]
            self.polls += 1
            if self.polls < 4:
                kept_answer.write(requests.progress_path(wanted), f'{{"text": "step {self.polls}", "fraction": 0.5}}')
                return None
            keep(wanted, made)
            return 0

    monkeypatch.setattr(requests, "start", lambda _: Working())
    assert main(["predict", *CPU, "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err.splitlines() == [" 50%  step 1", " 50%  step 2", " 50%  step 3"]


# Words


def test_without_json_people_can_read_it(kept: Calibration, capsys: Capture) -> None:
    assert main(["predict", *CPU, "--fast-pattern", "stem", "--fast-pattern", "fc"]) == 0
    text = capsys.readouterr().out
    right = expected(kept, "--fast-pattern", "stem", "--fast-pattern", "fc")
    assert text.startswith(f"{1 / right.ratio:.2f} times sgd's speed, at most {1 / right.ratio_limit:.2f} as k grows\n")
    for words in (
        "ms a step (",
        "sgd 0.1 GB, multirate 0.1 GB, lean less than 0.1 GB",
        "between GPUs: ",
        "back to stem.0",
        "moving it to slow saves ",
    ):
        assert words in text
    assert "stem" in text.splitlines()[-1]


def test_notes_of_the_calibration_are_told(capsys: Capture) -> None:
    keep(asked()[1], made_up(tree(), notes=("the machine was busy.",)))
    assert main(["predict", *CPU]) == 0
    assert capsys.readouterr().out.endswith("the machine was busy.\n")


# Refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arms", "sgd"), "there is no multirate arm to predict"),
        (("--arms", "sgd,frozen"), "there is no multirate arm to predict"),
        (("--compile",), "Turn compiling off"),
        (("--fast-pattern", "no.such.layer"), "no.such.layer"),
        (("--k", "0"), "period"),
        (("--model", "no_such_net"), "no_such_net"),
        (("--batch-size", "0"), "batch_size"),
        (("--threads", "0"), "threads"),
        (("--device", "cuda:71"), "this machine has no device 'cuda:71'"),
        (("--device", "toaster"), "unknown device 'toaster'"),
        (("--memory", "lean", "--compile"), "lean"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    kept: Calibration, capsys: Capture, words: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, *CPU, *words)


def test_an_unknown_option_is_one_line_too(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--no-such-option"])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


# Processes


@pytest.mark.slow
def test_what_is_kept_is_told_without_torch(kept: Calibration) -> None:
    program = f"""
import sys
from multirate_core.cli.program import main
assert main(["predict", *{CPU!r}, "--json"]) == 0
assert not {{"torch", "streamlit"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60, capture_output=True)


@pytest.mark.slow
def test_while_a_race_holds_the_device_it_is_refused(capsys: Capture) -> None:
    with store.open_store(home.store_path()) as opened:
        race_id = store.submit(opened, RaceConfig(arms=(SGD,), device="cpu"), attend=True)
        assert take_turn(opened, race_id)
        assert main(["predict", *CPU]) == 2
        store.finish(opened, race_id, "stopped")
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith("error: a race holds cpu")


@pytest.mark.slow
def test_the_default_network_is_measured_once_and_then_predicted_at_once(capsys: Capture) -> None:
    assert main(["predict", *CPU, "--batch-size", "8", "--json"]) == 0
    out, err = capsys.readouterr()
    first = json.loads(out)
    assert "%  measuring, round " in err
    assert 0 < first["ratio_limit"] < first["ratio"] and first["fast_step_s"] < first["full_step_s"]
    assert first["peak_bytes"]["lean"] and not first["calibration"]["cached"]
    again = predicted(capsys, "--batch-size", "8")
    first["calibration"]["cached"] = True
    assert again == first
