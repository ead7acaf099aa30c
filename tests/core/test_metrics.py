"""The metrics in which every class counts: equal to scikit-learn's, through the store, the report and the pages."""

from __future__ import annotations

import json
import sqlite3
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plot_races import config, recorders
from race_cases import CPU, MULTIRATE, SGD, build_tiny, race, tiny_config, tiny_split
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef

from multirate_core import config_json, store
from multirate_core.cli.report import make_report
from multirate_core.cli.result_text import result_lines
from multirate_core.config import RaceConfig
from multirate_core.errors import ConfigError
from multirate_core.events import EnvironmentFound, Evaluated, LaneEnded
from multirate_core.home import store_path
from multirate_core.metrics import METRICS, MOST_CLASSES, Metric, metric_format, metric_title
from multirate_core.race import engine
from multirate_core.store import LaneRow
from multirate_core.training.batches import Images
from multirate_core.training.confusion import ClassScores, class_scores
from multirate_core.training.evaluation import evaluate
from multirate_core.training.forward import Forward
from pages.components.plots.charts import common_metric, race_figure, race_summary, sweep_figure, sweep_summary
from pages.components.plots.curves import RaceCurves, race_curves
from pages.components.race.card import result_cards
from pages.components.race.words import curves_csv, runs_csv, setting_text, table_row
from pages.components.text import score_text

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "store_v1.sql"


def ours(true: list[int], predicted: list[int], classes: int) -> ClassScores:
    middle = len(true) // 2  # in two batches
    found = class_scores(
        [torch.tensor(true[:middle], dtype=torch.int64), torch.tensor(true[middle:])],
        [torch.tensor(predicted[:middle], dtype=torch.int64), torch.tensor(predicted[middle:])],
        classes,
    )
    assert found is not None
    return found


def theirs(true: list[int], predicted: list[int]) -> ClassScores:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes that are in one of the two lists only
        balanced = float(balanced_accuracy_score(true, predicted))
        f1 = float(f1_score(true, predicted, average="macro", zero_division=0))
        return ClassScores(balanced, f1, float(matthews_corrcoef(true, predicted)))


def expect_equal(true: list[int], predicted: list[int], classes: int) -> None:
    mine, other = ours(true, predicted, classes), theirs(true, predicted)
    for name in ("balanced_accuracy", "macro_f1", "mcc"):
        assert getattr(mine, name) == pytest.approx(getattr(other, name), abs=1e-12), name


@pytest.mark.parametrize("seed", range(12))
def test_random_answers_get_the_scores_that_scikit_learn_gives(seed: int) -> None:
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 12))
    true = draw.choice(classes, 200, p=draw.dirichlet(np.full(classes, 0.5)))
    predicted = np.where(draw.random(200) < 0.6, true, draw.integers(0, classes, 200))
    expect_equal(true.tolist(), predicted.tolist(), classes)


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        ([0, 1, 2, 0, 1, 2], [0, 1, 0, 0, 1, 1]),  # class 2 is never predicted
        ([0, 1, 2, 0, 1, 2], [1, 1, 1, 1, 1, 1]),  # a single class is predicted
        ([1, 1, 1, 1], [1, 1, 1, 1]),  # a single class in the data, and it is predicted
        ([0, 0, 1, 1], [2, 2, 2, 2]),  # nothing right, and the class is not in the data
        ([0, 1, 2, 3], [0, 1, 2, 3]),  # all right
        ([0, 1], [1, 0]),  # all wrong
        ([0] * 99 + [1], [0] * 100),  # the frequent class is always named
    ],
)
def test_degenerate_answers_get_the_scores_that_scikit_learn_gives(true: list[int], predicted: list[int]) -> None:
    expect_equal(true, predicted, 5)


def test_always_naming_the_frequent_class_is_accurate_and_worth_nothing() -> None:
    assert ours([0] * 99 + [1], [0] * 100, 2) == ClassScores(0.5, pytest.approx(0.4974874), 0.0)


def test_of_more_classes_than_a_matrix_can_hold_there_is_the_accuracy_alone() -> None:
    labels = [torch.tensor([0, 1])]
    assert class_scores(labels, labels, MOST_CLASSES) == ClassScores(1.0, 1.0, 1.0)
    assert class_scores(labels, labels, MOST_CLASSES + 1) is None


def test_a_network_is_scored_over_all_its_batches() -> None:
    split, model = tiny_split(90), build_tiny(0).module
    score = evaluate(Forward(model), Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU), 7)
    model.eval()
    inputs = (split.train_images.float() / 255 - 0.5) / 0.25
    assert score.by_class is not None
    assert score.by_class.mcc == pytest.approx(matthews_corrcoef(split.train_labels, model(inputs).argmax(1)))


def test_every_test_of_a_race_has_all_metrics() -> None:
    tests = [event for event in race(tiny_config(SGD, MULTIRATE)) if isinstance(event, Evaluated)]
    assert tests and all(None not in [test.score(metric) for metric in METRICS] for test in tests)
    ended = [test for test in tests if test.reason == "end"]
    assert all(test.mcc is not None and 0.5 < test.mcc < test.accuracy for test in ended if test.accuracy < 1)


def test_a_skewed_test_part_is_noted_unless_the_race_is_judged_by_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = tiny_split()
    skewed = replace(split, test_labels=torch.tensor([0] * 21 + [1] * 5 + [2] * 4))
    monkeypatch.setattr(engine, "_load", lambda *_: skewed)

    def notes(judged_by: Metric) -> str:
        digits = RaceConfig((SGD,), metric=judged_by, device="cpu")
        for event in engine.run(digits, lambda: "go"):
            if isinstance(event, EnvironmentFound):
                return event.values["notes"]
        raise AssertionError("the race said nothing of its environment")

    assert "70% of the test part is of the class 'a'" in notes("accuracy") and "balanced accuracy" in notes("accuracy")
    assert "balanced" not in notes("macro_f1")
    monkeypatch.setattr(engine, "_load", lambda *_: split)
    assert "balanced" not in notes("accuracy")


def test_a_metric_that_is_not_computed_for_so_many_classes_is_refused() -> None:
    many = RaceConfig((SGD,), metric="mcc", device="cpu")
    many = replace(many, data=replace(many.data, num_classes=MOST_CLASSES + 1))
    with pytest.raises(ConfigError, match=r"up to 1,000 classes, got 1,001\. Use 'accuracy'"):
        list(engine.run(many, lambda: "go"))


def test_a_configuration_of_before_is_judged_by_accuracy_and_a_wrong_metric_is_refused() -> None:
    raw = json.loads(config_json.to_json(config()))
    assert raw.pop("metric") == "accuracy"
    assert config_json.race_from_dict(raw) == config()
    with pytest.raises(ConfigError, match="metric must be one of accuracy, balanced_accuracy, macro_f1, mcc"):
        config_json.race_from_dict({**raw, "metric": "f2"})


# ---- the record ----------------------------------------------------------------------------------------------------


def recorded(metric: Metric) -> str:
    """A race whose multirate arm is behind in accuracy and ahead in all other metrics; return its id."""
    with store.open_store(store_path()) as opened:
        race_id = store.submit(opened, replace(config(), metric=metric))
        for lane, final in enumerate(((0.9, 0.6, 0.5, -0.25), (0.8, 0.7, 0.6, 0.75))):
            begin, end = Evaluated(lane, 0, 0.0, 0.0, 0.1, 2.3, "start", 0.1, 0.05, -0.5), (lane, 50, 1.0, 2.0 + lane)
            tests = [begin, Evaluated(*end, final[0], 0.5, "end", *final[1:])]
            store.record(opened, race_id, [*tests, LaneEnded(lane, "finished", "", 50, 1.0, 2.0 + lane)])
        store.finish(opened, race_id, "finished")
    return race_id


def found(race_id: str) -> tuple[store.RaceRow, list[LaneRow], list[Evaluated]]:
    with store.open_store(store_path()) as opened:
        return store.get_race(opened, race_id), store.lanes(opened, race_id), store.evaluations(opened, race_id)


def test_the_store_keeps_all_metrics_and_those_that_are_not_known() -> None:
    _, _, tests = found(recorded("accuracy"))
    assert (tests[-1].balanced_accuracy, tests[-1].macro_f1, tests[-1].mcc) == (0.7, 0.6, 0.75)
    with store.open_store(store_path()) as opened:
        race_id = store.submit(opened, config())
        bare = Evaluated(0, 1, 0.1, 0.1, 0.5, 1.0, "mark")
        store.record(opened, race_id, [bare])
        assert store.evaluations(opened, race_id) == [bare]


def test_a_store_of_before_reads_and_its_curves_are_those_of_the_accuracy() -> None:
    old = sqlite3.connect(store_path())
    old.executescript(GOLDEN.read_text(encoding="utf-8"))
    old.close()
    with store.open_store(store_path()) as opened:
        (row,) = store.list_races(opened)
    row, lanes, tests = found(row.id)
    assert row.config.metric == "accuracy" and [test.mcc for test in tests] == [None]
    assert curves_csv(row, lanes, tests).splitlines()[1].endswith(",,,")
    assert table_row(row)["Judged by"] == ""
    report = make_report(row, lanes, tests)
    assert json.loads(json.dumps(report)) == report
    evaluations = race_curves(row.id).lanes[tests[0].lane].evaluations
    assert evaluations.score("accuracy").tolist() == [0.75] and np.isnan(evaluations.score("mcc")).all()


def test_the_report_answers_by_the_metric_and_keeps_the_accuracies() -> None:
    row, lanes, tests = found(recorded("mcc"))
    report = make_report(row, lanes, tests)
    assert report["metric"] == "mcc" and report["config"]["metric"] == "mcc"
    assert report["arms"]["multirate"]["final_mcc"] == 0.75 and report["arms"]["multirate"]["final_accuracy"] == 0.8
    assert report["accuracy_at_equal_seconds"] == {
        "seconds": 2.0,
        "sgd": 0.9,
        "multirate": pytest.approx(0.1 + 1.4 / 3),
    }
    assert report["metric_at_equal_seconds"] == {
        "seconds": 2.0,
        "sgd": -0.25,
        "multirate": pytest.approx(-0.5 + 1.25 * 2 / 3),
    }
    assert report["speedup_to_target"][-1]["target"] == -0.25
    text = "\n".join(result_lines(report, row))
    assert "MCC" in text and "0.7500" in text and "to reach an MCC: -0.375: " in text
    assert "accuracy" not in text and "%" not in text


def test_the_files_have_all_metrics() -> None:
    row, lanes, tests = found(recorded("accuracy"))
    header, *lines = curves_csv(row, lanes, tests).splitlines()
    assert header.endswith(",accuracy,loss,reason,balanced_accuracy,macro_f1,mcc")
    assert lines[-1].endswith(",0.8,0.5,end,0.7,0.6,0.75")
    names, *_, last = [line.split(",") for line in runs_csv([row]).splitlines()]
    values = dict(zip(names[-12:], last[-12:], strict=True))
    assert (values["final_balanced_accuracy"], values["final_macro_f1"], values["final_mcc"]) == ("0.7", "0.6", "0.75")


# ---- the pages -----------------------------------------------------------------------------------------------------


def test_the_card_speaks_of_the_metric_and_only_of_it() -> None:
    (card,) = result_cards(*_parts(recorded("balanced_accuracy")))
    text = " ".join([card.setting, *(f"{one.question} {one.figures} {one.detail}" for one in card.answers)])
    assert "judged by balanced accuracy" in card.setting and card.metric == "balanced_accuracy"
    assert "How long to reach a given balanced accuracy?" in text
    assert "Which balanced accuracy after the same time?" in text and "points apart" in text
    assert card.sweep[-1][0] == 0.6
    (other,) = result_cards(*_parts(recorded("mcc")))
    text = " ".join(f"{one.question} {one.figures} {one.detail}" for one in other.answers)
    assert "Test MCC after 2" in text and "0.583 apart" in text and "-0.250" in text
    assert "accura" not in text.lower() and "%" not in text and "points" not in text


def _parts(race_id: str) -> tuple[RaceConfig, list[LaneRow], list[Evaluated]]:
    row, lanes, tests = found(race_id)
    return row.config, lanes, tests


def test_the_plots_show_the_metric_in_its_own_range() -> None:
    curves = race_curves(recorded("mcc"))
    figure = race_figure([("", curves)])
    (line,) = [each for each in figure["data"] if each["uid"].startswith("accuracy-") and each["name"] == "multirate"]
    assert line["y"].tolist() == [-0.5, 0.75] and line["hovertemplate"] == "MCC %{y:.3f}"
    assert figure["layout"]["yaxis"]["autorangeoptions"]["clipmin"] < -1
    assert "%" not in figure["layout"]["yaxis"]["tickformat"]
    assert "<b>Test MCC</b>" in [note["text"] for note in figure["layout"]["annotations"]]
    assert "test MCC 0.750" in race_summary([("", curves)])
    sweep = sweep_figure([(-0.2, 1.5), (0.5, 1.2)], metric="mcc")
    assert sweep["layout"]["xaxis"] == {"title": {"text": "target MCC"}, "tickformat": ".2f"}
    assert sweep_summary([(-0.2, 1.5)], "mcc") == "Speed-up to reach a target MCC. -0.200: 1.50 times."


def test_races_that_are_judged_differently_are_laid_over_each_other_by_accuracy() -> None:
    one, other = (race_curves(recorded(metric)) for metric in ("mcc", "macro_f1"))
    assert common_metric([("a", one), ("b", one)]) == "mcc"
    assert common_metric([("a", one), ("b", other)]) == common_metric([]) == "accuracy"
    figure = race_figure([("a", one), ("b", other)])
    assert "<b>Test accuracy</b>" in [note["text"] for note in figure["layout"]["annotations"]]
    assert isinstance(one, RaceCurves)


def test_a_row_of_the_runs_page_names_another_metric_with_its_figures() -> None:
    assert table_row(found(recorded("accuracy"))[0])["Judged by"] == ""
    line = table_row(found(recorded("mcc"))[0])
    assert line["Judged by"] == "MCC: -0.250 plain, 0.750 multirate"
    assert (line["Plain accuracy"], line["Multirate accuracy"]) == (0.9, 0.8)
    with store.open_store(store_path()) as opened:
        waiting = store.get_race(opened, store.submit(opened, replace(config(), metric="macro_f1")))
    assert table_row(waiting)["Judged by"] == "macro F1"


def test_a_race_by_accuracy_is_described_as_ever() -> None:
    assert "judged" not in setting_text(config(), "multirate")
    with store.open_store(store_path()) as opened:
        race_id = store.submit(opened, config())
        for lane in recorders(opened, race_id):
            lane.take(100)
    figure = race_figure([("", race_curves(race_id))])
    assert figure["layout"]["yaxis"]["tickformat"] == ".2~%"
    assert figure["layout"]["yaxis"]["autorangeoptions"] == {"clipmin": -0.02, "clipmax": 1.03}


@pytest.mark.parametrize(
    ("metric", "title", "shown"),
    [
        ("accuracy", "accuracy", "83.4 %"),
        ("balanced_accuracy", "balanced accuracy", "83.4 %"),
        ("macro_f1", "macro F1", "83.4 %"),
        ("mcc", "MCC", "0.834"),
    ],
)
def test_every_metric_has_a_title_and_a_way_to_be_written(metric: Metric, title: str, shown: str) -> None:
    assert metric_title(metric) == title
    assert score_text(metric, 0.8341).replace("\N{NO-BREAK SPACE}", " ") == shown
    assert score_text(metric, None) == "–"
    assert format(0.8341, metric_format(metric, 1)) == shown.replace(" ", "")
