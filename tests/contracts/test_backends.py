"""What every backend promises, over all of them; then what only worker processes can promise."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import psutil
import pytest
from image_cases import draw_folder
from scripted_engine import COMMAND, run, scripted

from multirate_core import machine, store
from multirate_core.backends import Backend, Inline, LocalProcess
from multirate_core.config import (
    ArmConfig,
    Budget,
    DataConfig,
    GroupSpec,
    ModelConfig,
    PartitionSpec,
    RaceConfig,
    Rule,
)
from multirate_core.errors import ConfigError, QueueFullError, RaceNotFoundError
from multirate_core.store import RaceRow

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "inline": lambda path: Inline(path, COMMAND, run),
    "local_process": lambda path: LocalProcess(path, COMMAND),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "races.sqlite3"
    yield place
    with store.open_store(place) as opened:  # a test that failed must leave no worker behind
        for race in store.list_races(opened):
            if store.finish(opened, race.id, "stopped") and race.pid is not None:
                machine.end_process(race.pid, None)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, path: Path) -> Backend:
    return BACKENDS[request.param](path)


def wait_for(backend: Backend, race_id: str, *states: str, within_s: float = 60.0) -> RaceRow:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        race = backend.status(race_id)
        if race.state in states:
            return race
        time.sleep(0.05)
    raise AssertionError(f"not {states} within {within_s} s: {race}")


def wait_for_steps(path: Path, race_id: str, count: int, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    with store.open_store(path) as opened:
        while time.monotonic() < deadline:
            if store.lanes(opened, race_id)[0].steps >= count:
                return
            time.sleep(0.05)
    raise AssertionError(f"{race_id} did not reach {count} steps within {within_s} s")


def test_submit_returns_at_once_and_the_race_comes_to_its_end(backend: Backend, path: Path) -> None:
    race_id = backend.submit(scripted(steps=20, step_s=0.02))
    assert backend.status(race_id).state != "ended"
    race = wait_for(backend, race_id, "ended")
    assert (race.outcome, race.message, race.device) == ("finished", "", "cpu")
    with store.open_store(path) as opened:
        assert len(store.steps_since(opened, race_id, 1)) == 20


def test_races_on_one_device_run_one_after_the_other(backend: Backend) -> None:
    ids = [backend.submit(scripted(steps=5, step_s=0.02)) for _ in range(3)]
    races = [wait_for(backend, race_id, "ended") for race_id in ids]
    assert [race.outcome for race in races] == ["finished"] * 3
    for earlier, later in itertools.pairwise(races):
        assert earlier.ended_at is not None
        assert later.started_at is not None
        assert earlier.ended_at <= later.started_at


def test_a_running_race_stops_when_asked(backend: Backend, path: Path) -> None:
    race_id = backend.submit(scripted(steps=100_000, step_s=0.01))
    wait_for_steps(path, race_id, 3)
    assert backend.request(race_id, "stop")
    assert wait_for(backend, race_id, "ended").outcome == "stopped"
    assert not backend.request(race_id, "stop")


def test_a_race_pauses_and_resumes_when_asked(backend: Backend, path: Path) -> None:
    race_id = backend.submit(scripted(steps=100_000, step_s=0.01))
    wait_for_steps(path, race_id, 3)
    assert backend.request(race_id, "pause")
    wait_for(backend, race_id, "paused")
    with store.open_store(path) as opened:
        count = len(store.steps_since(opened, race_id, 0))
    assert backend.request(race_id, "resume")
    wait_for_steps(path, race_id, count + 1)
    assert backend.request(race_id, "stop")
    assert wait_for(backend, race_id, "ended").outcome == "stopped"


def test_a_waiting_race_is_cancelled(backend: Backend, path: Path) -> None:
    running = backend.submit(scripted(steps=100_000, step_s=0.01))
    wait_for(backend, running, "running")
    waiting = backend.submit(scripted())
    assert backend.status(waiting).queue_position == 1
    assert backend.request(waiting, "stop")
    assert wait_for(backend, waiting, "ended").outcome == "stopped"
    backend.request(running, "stop")
    wait_for(backend, running, "ended")


def test_an_error_of_the_engine_is_told_by_the_race(backend: Backend) -> None:
    race = wait_for(backend, backend.submit(scripted(then="data")), "ended")
    assert race.outcome == "failed"
    assert race.message.startswith("the folder /images holds one class")


def test_a_device_that_is_not_there_is_refused(backend: Backend) -> None:
    with pytest.raises(ConfigError, match="no device 'cuda:7'"):
        backend.submit(scripted(device="cuda:7"))


def test_an_unknown_race_is_told_as_such(backend: Backend) -> None:
    backend.tend()
    with pytest.raises(RaceNotFoundError):
        backend.status("nothing")
    with pytest.raises(RaceNotFoundError):
        backend.request("nothing", "stop")


def test_a_full_queue_is_told_at_submit(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_MAX_QUEUED", "0")
    running = backend.submit(scripted(steps=100_000, step_s=0.01))
    wait_for(backend, running, "running", "starting")
    with pytest.raises(QueueFullError):
        backend.submit(scripted())
    backend.request(running, "stop")
    wait_for(backend, running, "ended")


def test_a_worker_killed_by_sigkill_is_lost_and_the_next_race_starts(path: Path) -> None:
    backend = LocalProcess(path, COMMAND)
    victim = backend.submit(scripted(steps=100_000, step_s=0.01))
    following = backend.submit(scripted(steps=5))
    wait_for_steps(path, victim, 5)
    pid = backend.status(victim).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    race = wait_for(backend, victim, "ended", within_s=30)
    assert race.outcome == "lost"
    assert wait_for(backend, following, "ended").outcome == "finished"
    with store.open_store(path) as opened:
        assert len(store.steps_since(opened, victim, 0)) >= 5


def test_a_killed_worker_leaves_no_zombie(path: Path) -> None:
    backend = LocalProcess(path, COMMAND)
    race_id = backend.submit(scripted(steps=100_000, step_s=0.01))
    pid = wait_for(backend, race_id, "running").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(backend, race_id, "ended")
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_a_stop_breaks_into_an_engine_that_does_not_ask(path: Path) -> None:
    backend = LocalProcess(path, COMMAND)
    race_id = backend.submit(scripted(silent_s=600.0))
    wait_for(backend, race_id, "running")
    backend.request(race_id, "stop")
    assert wait_for(backend, race_id, "ended", within_s=30).outcome == "stopped"


def test_sigterm_stops_a_worker_and_its_race_says_so(path: Path) -> None:
    backend = LocalProcess(path, COMMAND)
    race_id = backend.submit(scripted(steps=100_000, step_s=0.01))
    wait_for_steps(path, race_id, 3)
    pid = backend.status(race_id).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    assert wait_for(backend, race_id, "ended").outcome == "stopped"


SUBMIT = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
from scripted_engine import COMMAND, scripted
from multirate_core.backends import LocalProcess
backend = LocalProcess(Path({path!r}), COMMAND)
for _ in range({count}):
    print(backend.submit(scripted(steps={steps}, step_s={step_s})), flush=True)
{then}
"""


def submitter(path: Path, count: int, steps: int, step_s: float, then: str = "") -> subprocess.Popen[str]:
    """Start a process that submits races, as a server would."""
    paths = [str(ROOT), str(ROOT / "tests" / "core")]
    code = SUBMIT.format(paths=paths, path=str(path), count=count, steps=steps, step_s=step_s, then=then)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_a_worker_goes_on_when_the_server_and_its_whole_session_are_killed(path: Path) -> None:
    server = submitter(path, 2, 100, 0.02, then="time.sleep(600)")
    assert server.stdout is not None
    ids = [server.stdout.readline().strip() for _ in range(2)]
    wait_for_steps(path, ids[0], 3)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    backend = LocalProcess(path, COMMAND)
    races = [wait_for(backend, race_id, "ended") for race_id in ids]
    assert [race.outcome for race in races] == ["finished", "finished"]  # the worker started the second one itself


def test_submitters_in_several_processes_never_start_two_races_on_a_device(path: Path) -> None:
    servers = [submitter(path, 3, 5, 0.01) for _ in range(3)]
    ids = [line.strip() for server in servers for line in (server.communicate(timeout=120)[0]).splitlines()]
    assert len(set(ids)) == 9
    backend = LocalProcess(path, COMMAND)
    races = [wait_for(backend, race_id, "ended", within_s=120) for race_id in ids]
    assert [race.outcome for race in races] == ["finished"] * 9
    spans = sorted((race.started_at or 0.0, race.ended_at or 0.0) for race in races)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end <= start


def test_what_a_worker_prints_is_in_its_log(path: Path) -> None:
    backend = LocalProcess(path, COMMAND)
    race_id = backend.submit(scripted(then="bug"))
    wait_for(backend, race_id, "ended")
    with store.open_store(path) as opened:
        log = store.log_path(opened, race_id)
    deadline = time.monotonic() + 10
    while "failed" not in log.read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert f"race {race_id}: failed" in log.read_text(encoding="utf-8")


def test_the_real_worker_trains_a_real_network_and_both_arms_are_tested(path: Path) -> None:
    data = DataConfig("digits", train_images=64)
    split = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", 5)), (Rule("fc", "fast"), Rule("*", "slow")))
    arms = (ArmConfig("SGD", "sgd"), ArmConfig("multirate", "multirate", split))
    config = RaceConfig(arms, ModelConfig("glyph_net", "none"), data, budget=Budget(epochs=2), device="cpu", threads=1)
    backend = LocalProcess(path)
    race = wait_for(backend, backend.submit(config), "ended", within_s=200)
    assert (race.outcome, race.message, race.traceback) == ("finished", "", "")
    assert race.environment["threads"] == "1"
    with store.open_store(path) as opened:
        for lane in store.lanes(opened, race.id):
            columns = store.steps_since(opened, race.id, lane.lane)
            assert len(columns) == lane.steps == 4
            assert (columns.train_seconds[1:] > columns.train_seconds[:-1]).all()
            tested = [e for e in store.evaluations(opened, race.id) if e.lane == lane.lane]
            assert len(tested) >= 2
        slow_due = store.steps_since(opened, race.id, 1).due >> 1
        assert slow_due.tolist() == [1, 0, 0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse file names that are no Unicode")
@pytest.mark.parametrize(("bad_images", "outcome"), [("refuse", "failed"), ("skip", "finished")])
def test_a_bad_image_whose_name_is_no_unicode_is_named_and_the_race_is_not_lost(
    path: Path, tmp_path: Path, bad_images: Literal["refuse", "skip"], outcome: str
) -> None:
    folder = draw_folder(tmp_path / "images", {"blue": 8, "red": 8})
    Path(os.fsdecode(os.fsencode(folder / "red") + b"/caf\xe9.jpg")).write_bytes(b"no picture")
    data = DataConfig("folder", path=str(folder), bad_images=bad_images)
    arms = (ArmConfig("SGD", "sgd"),)
    config = RaceConfig(arms, ModelConfig("glyph_net", "none"), data, budget=Budget(epochs=1), device="cpu", threads=1)
    backend = LocalProcess(path)
    race = wait_for(backend, backend.submit(config), "ended", within_s=200)
    assert race.outcome == outcome, race.message
    assert "caf\\udce9.jpg" in (race.message if bad_images == "refuse" else race.environment["notes"])
