"""What the cost meter says of a prediction: figures, units, the curve, the layer that pulls back."""

from __future__ import annotations

from dataclasses import replace

from multirate_core.cost.predict import Prediction
from multirate_core.cost.reach import PullBack, Reach
from pages.components.meter.words import meter_data, pull_back_text

FOUND = Prediction(
    full_step_s=0.120,
    fast_step_s=0.040,
    frozen_step_s=0.038,
    mean_step_s=0.056,
    sgd_step_s=0.118,
    ratio=0.5,
    uncertainty=0.02,
    ratio_limit=0.25,
    sgd_peak_bytes=2_000_000_000,
    multirate_peak_bytes=2_100_000_000,
    lean_peak_bytes=900_000_000,
    sgd_allreduce_bytes=44_000_000.0,
    multirate_allreduce_bytes=9_000_000.0,
)
CURVE = [(1, 1.0), (10, 3.0), (100, 3.9)]


def cells(found: Prediction, steps: float | None = 100.0) -> list[dict[str, str]]:
    return meter_data(found, "SGD", steps, CURVE, 5)["cells"]


def test_the_four_figures_have_their_units_and_what_they_are_held_against() -> None:
    speed_up, epoch, memory, exchange = cells(FOUND)
    assert (speed_up["value"], speed_up["spread"]) == ("2.00×", "± 0.08")
    assert speed_up["about"] == "SGD’s speed at equal epochs; at most 4.00× as k grows"
    assert epoch["value"] == "5.6 s an epoch"
    assert epoch["about"] == "SGD 11.8 s; steps: 40 ms fast, 120 ms full"
    assert (memory["value"], memory["about"]) == ("2.1 GB in tensors", "at most, in one arm; 900 MB with lean memory")
    assert (exchange["value"], exchange["about"]) == ("9 MB a step", "between GPUs, if there are several; SGD 44 MB")


def test_what_is_not_known_is_left_out() -> None:
    no_lean = cells(replace(FOUND, lean_peak_bytes=None))[2]
    assert no_lean["about"] == "at most, in one arm"
    assert len(cells(replace(FOUND, multirate_peak_bytes=None))) == 3
    assert cells(FOUND, steps=None)[1]["value"] == "56 ms a step"
    assert "at most" not in cells(replace(FOUND, ratio=1.0, ratio_limit=1.0))[0]["about"]


def test_long_epochs_are_told_in_minutes() -> None:
    assert cells(FOUND, steps=10_000.0)[1]["value"] == "9.3 min an epoch"


def test_the_curve_has_its_points_its_limit_and_the_chosen_k_in_words_too() -> None:
    curve = meter_data(FOUND, "SGD", 10.0, CURVE, 5)["curve"]
    assert curve["points"] == [[1, 1.0], [10, 3.0], [100, 3.9]]
    assert (curve["k"], curve["speed_up"], curve["limit"]) == (5, 2.0, 4.0)
    assert curve["label"].endswith("to 3.90 at k = 100; 2.00 at the chosen k = 5")
    assert "chosen" not in meter_data(FOUND, "SGD", 10.0, CURVE, None)["curve"]["label"]
    assert meter_data(FOUND, "SGD", 10.0, [], None)["curve"] is None


def test_the_layer_that_pulls_back_is_named_with_what_moving_it_saves() -> None:
    found = PullBack("conv1", ("conv1.weight",), "slow", Reach("conv1", 61, 61), Reach("fc", 1, 61), 0.41)
    text = "conv1 is fast: on fast steps gradients cross 61 of 61 layers instead of 1. Moving it to slow "
    assert pull_back_text(found) == f"{text}saves 41\N{NO-BREAK SPACE}% of the time."
    assert pull_back_text(replace(found, saving=None)) == f"{text}cuts that short."
