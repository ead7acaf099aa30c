"""`compare` for real: in this process, in a worker, interrupted, and with input that only the worker can refuse."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cost_cases import keep, made_up

from multirate_core import store
from multirate_core.cli.parser import make_parser
from multirate_core.cli.program import main
from multirate_core.cli.settings import race_config
from multirate_core.cost import request as requests
from multirate_core.cost.beside import forecast_of
from multirate_core.data.catalog import data_shape
from multirate_core.home import store_path
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.models.catalog import model_info
from pages.components.race.predicted import measurement_of

pytestmark = pytest.mark.slow

SMALL = [
    "--preset",
    "digits",
    "--weights",
    "none",
    "--train-images",
    "64",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--json",
]


def test_a_race_in_this_process_prints_its_result_as_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["compare", *SMALL, "--inline", "--epochs", "1", "--arms", "sgd,multirate,frozen", "--fast", "head"])
    out, _ = capsys.readouterr()
    assert code == 0
    report = json.loads(out.splitlines()[-1])
    assert report["outcome"] == "finished"
    assert {arm["steps"] for arm in report["arms"].values()} == {4}
    assert all(0 <= arm["final_accuracy"] <= 1 and arm["train_seconds"] > 0 for arm in report["arms"].values())
    assert report["speedup_equal_epochs"] > 0
    with store.open_store(store_path()) as opened:
        (race,) = store.list_races(opened)  # and it stands on the Runs page
        assert race.outcome == "finished"
        assert len(store.evaluations(opened, race.id)) >= 6
        assert race.environment["threads"] == "1" and race.environment["torch"]


def test_a_race_on_a_network_whose_costs_are_known_says_what_was_predicted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["compare", *SMALL[:-1], "--inline", "--epochs", "2", "--fast", "head", "--k", "2"]
    tree = describe.read(describe.SHIPPED)
    assert isinstance(tree, LayerTree)
    config = race_config(make_parser().parse_args(words))
    request = requests.request_of(config, data_shape(config.data, model_info(config.model.name)), "cpu")
    keep(request, made_up(tree))
    assert main(words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "predicted" in line]
    assert re.fullmatch(r"multirate: predicted 0\.\d\d of SGD's time, measured \d\.\d\d \(.* %.*\)", line)
    with store.open_store(store_path()) as opened:
        (race,) = store.list_races(opened)
    assert set(forecast_of(race.environment, race.config)) == {"sgd", "multirate"}
    assert measurement_of(race) == request  # what "Measure again" throws away


def test_weights_that_do_not_fit_are_bad_input_though_only_the_worker_sees_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.pth"
    torch.save({"nowhere.weight": torch.zeros(3)}, file)
    code = main(["compare", *SMALL, "--weights", str(file), "--inline"])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    memory, _ = err.splitlines()
    assert memory.startswith("Needs about ")
    assert "nowhere.weight" in err


def test_batchnorm_on_single_pixels_is_bad_input_though_only_the_worker_sees_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = {"model": "glyph_net", "num_classes": 10, "input_shape": (1, 8, 8)}
    assert describe.main([json.dumps(request)]) == 0  # else the command would start a process
    code = main(["compare", *SMALL, "--batch-size", "1", "--image-size", "8", "--inline"])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    memory, _ = err.splitlines()
    assert memory.startswith("Needs about ")
    assert "BatchNorm cannot train on a batch of 1" in err
    assert "Use a batch size ≥ 2" in err


# Like `python -m multirate_core`, but a shell that started the tests in the background has told them to ignore Ctrl+C.
WITH_CTRL_C = """import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("multirate_core", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_stops_the_worker_and_prints_what_there_is(own_home: Path) -> None:
    words = [sys.executable, "-c", WITH_CTRL_C, "compare", *SMALL, "--seconds", "600"]
    done = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        _wait_for_steps(own_home, done)
        done.send_signal(signal.SIGINT)
        out, err = done.communicate(timeout=60)
    finally:
        done.kill()
        done.wait()
        with store.open_store(own_home / "races.sqlite3") as opened:  # else a failure here leaves a worker at work
            for race in store.list_races(opened):
                store.request(opened, race.id, "stop")
    assert done.returncode == 130, err
    report = json.loads(out.splitlines()[-1])
    assert report["outcome"] == "stopped"
    assert report["arms"]["sgd"]["steps"] > 0


def _wait_for_steps(home: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (home / "races.sqlite3").exists():
            with store.open_store(home / "races.sqlite3") as opened:
                races = store.list_races(opened)
                if races and all(lane.steps > 0 for lane in store.lanes(opened, races[0].id)):
                    return
        time.sleep(0.2)
    raise AssertionError(f"no step was recorded: {process.stderr.read() if process.stderr else ''}")
