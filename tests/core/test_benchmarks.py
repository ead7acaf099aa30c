"""What the benchmarks compute and keep; how fast anything is is for the benchmarks themselves to say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import RESULTS, report, run
from benchmarks import surroundings as surroundings_module
from benchmarks.__main__ import NAMES
from benchmarks.figures import Check, Figure, Result, Target
from benchmarks.made_up_race import K, MadeUpRace, made_up_config
from benchmarks.report_pairs import pair_lines
from benchmarks.run import complete, fresh_home, keep
from benchmarks.surroundings import surroundings
from benchmarks.timed_server import timed_fragment
from multirate_core import home, store
from multirate_core.backends import Inline
from pages.components.plots.curves import race_curves

AT_MOST_2 = Target("at most", 2.0)
SURROUNDINGS = {
    "hardware": {"processor": "one", "cores": 2, "memory_gib": 8.0, "system": "Linux x86_64"},
    "versions": {"python": "3.11.7"},
    "threads": 1,
    "load_average": [0.1, 0.2, 0.3],
    "others_cores": 0.01,
    "commit": "abc1234",
}


@pytest.fixture(autouse=True)
def watched_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is measured here, so a glance at how busy the machine is will do."""
    monkeypatch.setattr(surroundings_module, "WATCHED_S", 0.02)
    monkeypatch.setattr(run, "SETTLE_S", 0.0)


def record(**changes: object) -> dict[str, object]:
    """The record of a benchmark with a figure that misses its target, a check that holds and three answers."""
    figure = Figure("wait_s", "time waited", "s", [1.0, 2.5, 4.0], AT_MOST_2)
    check = Check("kept", "The zoom is kept", True, "it was 3–5 before and after")
    answers = {
        "Digits": {
            "speedup_equal_epochs": 1.994,
            "speedup_to_target": [{"target": 0.9, "speedup": 1.25}, {"target": 0.98, "speedup": None}],
            "accuracy_at_equal_seconds": {"seconds": 12.34, "sgd": 0.975, "multirate": 0.981},
        }
    }
    result = Result("start", "What it is about.", [figure], [check], answers=answers)
    return {**complete(result, SURROUNDINGS, time.time(), quick=False), "others_cores_after": 0.02, **changes}


def test_a_figure_is_held_against_its_target_by_its_median_and_tells_its_spread() -> None:
    told = Figure("wait_s", "time waited", "s", [1.0, 1.5, 9.0], AT_MOST_2).as_dict()
    assert (told["median"], told["min"], told["max"], told["n"], told["met"]) == (1.5, 1.0, 9.0, 3, True)
    assert told["target"] == {"at_most": 2.0}
    assert "quartiles" not in told


def test_a_figure_may_be_held_by_its_mean_and_tells_quartiles_of_four_values() -> None:
    told = Figure("wait_s", "time waited", "s", [1.0, 2.0, 3.0, 6.0], AT_MOST_2, "mean").as_dict()
    assert (told["mean"], told["met"]) == (3.0, False)
    assert told["quartiles"] == [1.75, 3.75]


def test_targets_have_a_direction_and_include_their_limit() -> None:
    assert Target("at most", 2.0).met_by(2.0)
    assert Target("at least", 3.0).met_by(3.0)
    assert not Target("at most", 2.0).met_by(2.001)
    assert not Target("at least", 3.0).met_by(2.999)


def test_a_result_is_met_only_if_no_figure_and_no_check_fails() -> None:
    told, held = Figure("a", "a", "", [9.0]), Figure("b", "b", "", [1.0], AT_MOST_2)
    missed = Figure("c", "c", "", [9.0], AT_MOST_2)
    assert Result("x", "", [told, held], [Check("d", "d", True, "")]).as_dict()["met"]
    assert not Result("x", "", [told, missed]).as_dict()["met"]
    assert not Result("x", "", [held], [Check("d", "d", False, "")]).as_dict()["met"]


def test_a_record_is_one_json_object_in_the_file_of_its_benchmark(tmp_path: Path) -> None:
    kept = record()
    assert keep(kept, tmp_path) == tmp_path / "start.json"
    assert report.read_results(tmp_path) == {"start": json.loads(json.dumps(kept))}


def test_the_surroundings_name_what_a_reader_needs_to_judge_a_figure() -> None:
    found = surroundings()
    assert set(found) == set(SURROUNDINGS)
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["streamlit"][0].isdigit()
    assert len(found["load_average"]) == 3


def test_the_report_shows_value_spread_target_and_what_was_missed() -> None:
    text = report.render({"start": record()})
    assert "| time waited | **2.5** s (median of 3) | 1 – 4 | ≤ 2 s | **no** |" in text
    assert "| Start | 1 of 2 | time waited |" in text
    assert "- ✓ The zoom is kept: it was 3–5 before and after." in text
    assert "Not measured yet: `python -m benchmarks.board`." in text


def test_the_report_gives_all_three_answers_and_says_which_target_was_never_reached() -> None:
    text = report.render({"start": record()})
    assert "| Digits | 1.99× | 90.0%: 1.25×; 98.0%: never | after 12.3 s: SGD 97.5%, multirate 98.1% |" in text


def test_the_table_of_pairs_has_every_seed_and_names_the_rows_in_which_multirate_is_behind() -> None:
    sgd = {"arm": "sgd", "seconds": [8.0, 9.0], "accuracy": [0.9, 0.92], "to_target": [], "equal_seconds": None}
    head = {"arm": "head", "seconds": [4.0, 4.5], "accuracy": [0.9, 0.899], "to_target": [(0.8, 1.6), (0.91, 1.2)]}
    block = {"arm": "last block + head", "seconds": [5.0, 5.0], "accuracy": [0.91, 0.91], "to_target": [(0.91, None)]}
    arms = [
        {**sgd, "time_ratio": [1.0, 1.0], "loading_share": 0.012},
        {**head, "time_ratio": [0.5, 0.5], "loading_share": 0.034, "equal_seconds": (4.25, 0.85, 0.8995)}
        | {"predicted_ratio": 0.52},
        {**block, "time_ratio": [0.625, 0.56], "loading_share": 0.02, "equal_seconds": (5.0, 0.93, 0.91)},
    ]
    pair = {"title": "A net, a set", "lr": 0.0033333, "steps": 62, "arms": arms, "others_cores": 0.1}
    lines = list(pair_lines({"a_net": pair}))
    assert (
        "| **A net, a set**: 0.0033, 62 | all (SGD) | 1 (8.0, 9.0 s) |  |  | **91.0** (90.0, 92.0) |  |  | 1.2% |"
        in lines
    )
    assert "| 80.0: 1.60×; 91.0: 1.20× | 4.2 s: 85.0%, 90.0% | 3.4% |" in lines[3]
    assert "| **0.50** (0.50, 0.50) |  | +4.0 % (0.52) | **90.0** (90.0, 89.9) |" in lines[3]
    assert "| **0.59** (0.62, 0.56) |  |  | **91.0** (91.0, 91.0) |" in lines[4]  # raced before there were predictions
    assert "Provisional" not in "".join(lines)
    assert "not quiet for A net, a set" in "".join(pair_lines({"a_net": {**pair, "others_cores": 1.0}}))
    assert lines[-4:-1] == [
        "- After equal epochs multirate was less accurate than SGD by a point or more in 1 of 2 rows: "
        "A net, a set (head).",
        "- After equal seconds multirate was less accurate than SGD by a point or more in 1 of 2 rows: "
        "A net, a set (last block + head).",
        "- To SGD's best accuracy multirate was slower than SGD, or never there at some seed, in 1 of 2 rows: "
        "A net, a set (last block + head).",
    ]


@pytest.mark.parametrize("when", ["others_cores", "others_cores_after"])
def test_a_result_from_a_busy_machine_is_marked_as_provisional(when: str) -> None:
    assert "rovisional" not in report.render({"start": record()})
    assert "**Provisional: the machine was not quiet.**" in report.render({"start": record(**{when: 1.5})})


def test_the_document_is_what_the_generator_makes_of_the_results() -> None:
    assert report.DOCUMENT.read_text(encoding="utf-8") == report.render(report.read_results())


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_kept_result_is_complete(path: Path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["benchmark"] == path.stem
    assert path.stem in NAMES
    assert not kept["quick"]
    assert {*record()} <= {*kept}
    for figure in kept["figures"]:
        assert figure["n"] == len(figure["values"]) >= 1
        assert (figure["met"] is None) == (figure["target"] is None)


def test_a_fresh_home_is_empty_and_gone_afterwards(own_home: Path) -> None:
    with fresh_home() as folder:
        assert home.home_folder() == folder != own_home
        assert list(folder.iterdir()) == []
    assert not folder.exists()
    assert home.home_folder() == own_home


@pytest.mark.slow
def test_the_made_up_race_records_exactly_the_steps_that_are_asked_for_and_then_goes_on() -> None:
    filled = threading.Event()
    backend = Inline(home.store_path(), run=MadeUpRace(1_000, 50, filled.set))
    race = backend.submit(made_up_config())
    assert filled.wait(30)
    with store.open_store() as opened:
        columns = [store.steps_since(opened, race, lane) for lane in (0, 1)]
        assert [len(each) >= 1_000 for each in columns] == [True, True]
        assert [each.due[: 2 * K].tolist() for each in columns] == [[1] * 10, [3, 1, 1, 1, 1] * 2]
        assert all((each.train_seconds[1:] > each.train_seconds[:-1]).all() for each in columns)
        until = time.monotonic() + 30
        while len(store.steps_since(opened, race, 0, 1_000)) == 0 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(store.steps_since(opened, race, 0, 1_000)) > 0
    assert [len(lane.evaluations.accuracy) >= 1 for lane in race_curves(race).lanes] == [True, True]
    backend.request(race, "stop")
    while backend.status(race).state != "ended" and time.monotonic() < until:
        time.sleep(0.05)
    assert backend.status(race).outcome == "stopped"


def recorded_times(path: Path) -> Iterator[dict[str, float]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def test_the_clock_around_fragments_times_only_those_that_repeat_and_changes_nothing(tmp_path: Path) -> None:
    seen = []
    times = tmp_path / "times.jsonl"

    def fragment(function: object, **options: object) -> object:
        seen.append(options)
        return function

    timed = timed_fragment(fragment, times)
    assert timed(lambda a, b: a + b, run_every=None)(1, b=2) == 3
    assert not times.exists()
    assert timed(lambda a, b: a + b, run_every=1.0)(1, b=2) == 3
    assert timed(run_every=2.0, key="x")(lambda: "decorated")() == "decorated"
    assert seen == [{"run_every": None}, {"run_every": 1.0}, {"run_every": 2.0, "key": "x"}]
    assert [set(line) for line in recorded_times(times)] == [{"at", "wall_ms", "cpu_ms"}] * 2


def test_a_fragment_that_fails_is_timed_and_fails_all_the_same(tmp_path: Path) -> None:
    timed = timed_fragment(lambda function, **_: function, tmp_path / "times.jsonl")

    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        timed(broken, run_every=1.0)()
    assert len(list(recorded_times(tmp_path / "times.jsonl"))) == 1
