"""The machine's devices are found out without torch in this process, once, and remembered."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from multirate_core import machine
from multirate_core.backends import devices

ROOT = Path(devices.__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MULTIRATE_HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also a machine with GPUs then has none to show
    monkeypatch.setattr(devices, "_known", {})
    return tmp_path


def test_without_a_hint_at_a_gpu_the_answer_is_cpu_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_hints_at_gpu", lambda: False)
    assert devices.available_devices() == devices.devices_if_known() == ("cpu",)
    assert not (home / "devices").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has a GPU that cannot be hidden")
def test_torch_is_asked_in_a_process_of_its_own_and_the_cpu_alone_is_not_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_hints_at_gpu", lambda: True)
    assert devices.devices_if_known() is None  # and the question is on its way
    deadline = time.monotonic() + 120
    while devices.devices_if_known() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert devices.available_devices() == ("cpu",)
    assert not (home / "devices" / "devices.json").exists()  # a driver that fails today may be back tomorrow


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
def test_an_answer_with_a_gpu_is_kept_until_the_question_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = home / "python"
    script.write_text("""#!/bin/sh\necho '["cuda:0", "cpu"]'\n""", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(devices, "_hints_at_gpu", lambda: True)
    monkeypatch.setattr(devices.sys, "executable", str(script))
    assert devices.available_devices() == ("cuda:0", "cpu")
    monkeypatch.setattr(devices, "_known", {})
    monkeypatch.setattr(devices, "_ask", _must_not_be_called)
    assert devices.devices_if_known() == devices.available_devices() == ("cuda:0", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # another question: the kept answer does not count
    with pytest.raises(AssertionError, match="asked again"):
        devices.available_devices()


def _must_not_be_called(key: str) -> tuple[str, ...]:
    raise AssertionError("asked again")


def test_a_damaged_answer_is_asked_for_again(home: Path) -> None:
    (home / "devices").mkdir()
    for text in ("not JSON", "[1, 2]", "{}"):
        (home / "devices" / "devices.json").write_text(text, encoding="utf-8")
        assert devices._read("any key") == ()


def test_a_process_that_cannot_answer_means_the_cpu(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(devices.sys, "executable", str(home / "no_such_python"))
    assert devices._ask("any key") == ("cpu",)


def test_finding_devices_and_cores_loads_no_torch() -> None:
    code = (
        "import sys; from multirate_core import machine; from multirate_core.backends import devices_if_known; "
        "devices_if_known(); assert machine.default_threads() >= 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_worker_leaves_one_core_to_the_pages_where_there_are_several() -> None:
    assert machine.default_threads() == max(1, machine.usable_cores() - 1)


def test_a_process_is_told_from_a_later_one_with_the_same_number() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    started = machine.process_start(process.pid)
    assert started is not None
    assert machine.life_of(process.pid, started) == "alive"
    assert machine.life_of(process.pid, started - 100) == "other"
    machine.end_process(process.pid, started - 100)  # somebody else's process by now: left alone
    assert process.poll() is None
    machine.end_process(process.pid, started)
    process.wait(10)
    assert machine.life_of(process.pid, started) == "gone"
    assert machine.process_start(process.pid) is None
