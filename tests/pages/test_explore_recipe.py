"""The Explore page: the schedule of the learning rate in view, the rest of the recipe folded."""

from __future__ import annotations

from typing import Any

import pytest
from sessions import address, button, is_well, open_app, press, reopened, said, stored
from streamlit.testing.v1 import AppTest

from multirate_core.presets import race_preset
from pages.components.settings import LABELS, Settings
from pages.components.state import field_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def code(session: AppTest) -> str:
    return "".join(each.value for each in session.code)


def test_the_whole_recipe_stands_in_address_lines_and_race_and_comes_back(running: str) -> None:
    session = open_app(dev="cpu")
    session.selectbox(key=field_key("schedule")).set_value("cosine")
    for name, value in (("warmup", 0.05), ("label_smoothing", 0.1), ("clip_norm", 1.5), ("accumulate", 4)):
        session.number_input(key=field_key(name)).set_value(value)
    session.number_input(key=field_key("weight_decay")).set_value(0.01)
    session.toggle(key=field_key("decay_norms")).set_value(False)
    session.run()
    assert is_well(session)
    shown = address(session)
    assert {name: value for name, (value,) in shown.items() if name not in ("p", "dev")} == {
        **{"sched": "cosine", "warm": "0.05", "smooth": "0.1", "clip": "1.5"},
        **{"acc": "4", "wd": "0.01", "dn": "0"},
    }
    for option in ("--schedule cosine", "--warmup 0.05", "--clip-norm 1.5", "--no-decay-norms", "--accumulate 4"):
        assert option in code(session)
    for line in ("lr_factor(step / (EPOCHS * len(loader)), 'cosine', warmup=0.05)", "norms_apart(", "clip_grad_norm_("):
        assert line in code(session)
    again = reopened(session)
    assert address(again) == shown
    assert again.selectbox(key=field_key("schedule")).value == "cosine"
    assert again.number_input(key=field_key("accumulate")).value == 4
    race = press(again, "Race").session_state["race"]
    recipe = stored(race).config.recipe
    assert (recipe.schedule, recipe.warmup, recipe.label_smoothing) == ("cosine", 0.05, 0.1)
    assert (recipe.clip_norm, recipe.decay_norms, recipe.accumulate) == (1.5, False, 4)
    restored = open_app(race=race)
    assert {name: restored.session_state[field_key(name)] for name in ("schedule", "warmup", "decay_norms")} == {
        "schedule": "cosine",
        "warmup": 0.05,
        "decay_norms": False,
    }


def test_without_a_touch_the_recipe_is_the_presets_and_the_address_says_nothing_of_it() -> None:
    session = open_app()
    assert set(address(session)) == {"p"}
    assert session.selectbox(key=field_key("schedule")).value == race_preset("digits").recipe.schedule == "constant"
    assert session.number_input(key=field_key("clip_norm")).value == 0
    assert "EPOCHS" not in code(session) and "--schedule" not in code(session)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("warmup", 1.0, "must be a finite number ≥ 0 and < 1, got 1.0"),
        ("label_smoothing", -0.1, "must be a finite number ≥ 0 and < 1"),
        ("clip_norm", -1.0, "must be a finite number > 0"),
        ("accumulate", 17.0, "must be at most the batch size, which it divides, got 17 for a batch of 16"),
        ("accumulate", 1.5, "must be a whole number"),
    ],
)
def test_a_number_of_the_recipe_that_no_race_can_use_is_said_beside_the_board(
    name: str, value: Any, words: str
) -> None:
    session = open_app()
    session.number_input(key=field_key(name)).set_value(value).run()
    assert is_well(session)
    assert f"{LABELS[name]} {words}" in said(session)
    assert button(session, "Race").disabled
    session.number_input(key=field_key(name)).set_value(float(getattr(Settings(), name))).run()
    assert not session.error
    assert not button(session, "Race").disabled
