"""The Explore page: settings, their address, and paths on the server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sessions import (
    address,
    button,
    drop,
    group_of,
    groups,
    in_group,
    is_well,
    labels,
    open_app,
    parameters,
    press,
    reopened,
    said,
    stored,
)

from multirate_core.layers import describe
from multirate_core.presets import race_preset
from pages.components.settings import Settings
from pages.components.settings_link import to_link
from pages.components.state import field_key, period_key

pytestmark = pytest.mark.slow  # many cases

MARKUP = "<img src=x onerror=alert(1)>"
EXTREME = Settings(
    weights="none",
    train_images=10**9,
    test_images=10**9,
    budget="seconds",
    epochs=100_000,
    seconds=0.001,
    lr=1e30,
    momentum=0.999999,
    weight_decay=1e12,
    batch_size=65_536,
    drift=False,
    seeds=100,
    evaluations=1000,
    arms=(),
    device="cuda:7",
    threads=1024,
    axis="epochs",
)


# The address


def test_settings_that_differ_from_the_defaults_stand_in_the_address_and_come_back() -> None:
    session = open_app()
    assert set(address(session)) == {"p"}
    session.number_input(key=field_key("lr")).set_value(0.5)
    session.number_input(key=field_key("seeds")).set_value(3)
    session.toggle(key=field_key("drift")).set_value(False)
    session.button_group(key=field_key("budget")).set_value("seconds")
    session.run()
    session.number_input(key=field_key("seconds")).set_value(7.5).run()
    session.number_input(key=period_key("slow")).set_value(11).run()
    assert is_well(session)
    shown = address(session)
    assert {name: shown[name] for name in shown if name != "p"} == {
        "lr": ["0.5"], "n": ["3"], "drift": ["0"], "b": ["seconds"], "s": ["7.5"]
    }  # fmt: skip
    other = reopened(session)
    assert address(other) == shown
    assert other.number_input(key=field_key("seconds")).value == 7.5
    assert other.number_input(key=period_key("slow")).value == 11


@pytest.mark.parametrize("settings", [EXTREME, replace(EXTREME, budget="epochs", arms=("frozen",), device="mps")])
def test_the_extremes_that_a_race_allows_can_be_restored(settings: Settings) -> None:
    wanted = to_link(settings)
    session = open_app(**wanted)
    assert is_well(session)
    assert not session.warning
    assert {name: value for name, (value,) in address(session).items() if name != "p"} == wanted
    assert is_well(session.run())


def test_wrong_values_in_the_address_are_named_shown_as_text_and_left_out() -> None:
    session = open_app(m=MARKUP, e="0", lr="nan", n="1000000000", arms="sgd,sgd", race="../../etc", unknown="1")
    assert is_well(session)
    messages = [warning.value for warning in session.warning]
    assert len(messages) == 6
    assert not any("<img" in message.replace("\\<img", "") for message in messages)
    assert session.selectbox(key=field_key("model")).value == "glyph_net"
    assert not button(session, "Race").disabled
    assert not session.run().warning


def test_an_overlong_address_is_cut_and_said() -> None:
    session = open_app(dp="x" * 5000, p="y" * 100_000, pin=["z" * 5000, "a~" + "b" * 5000])
    assert is_well(session)
    assert said(session).count("allowed are 4000") == 4
    assert set(address(session)) == {"p"}


def test_no_arm_chosen_is_said_and_no_race_can_start() -> None:
    session = open_app()
    session.button_group(key=field_key("arms")).set_value([]).run()
    assert is_well(session)
    assert "at least one arm" in said(session)
    assert button(session, "Race").disabled
    assert "at least one arm" in said(reopened(session))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", 0.0, "Learning rate per step must be"),
        ("momentum", 1.0, "Momentum must be"),
        ("image_size", 3, "Image edge in pixels must be"),
        ("train_images", 1, "Training samples must be a whole number from 2 to"),
        ("test_images", 1, "Test samples must be a whole number from 2 to"),
        ("epochs", 0, "Epochs must be a whole number from 1 to"),
        ("epochs", 1.5, "got 1.5"),
        ("epochs", 9e99, "Epochs must be"),
        ("seeds", 101, "Seeds must be a whole number from 1 to 100, got 101"),
        ("evaluations", 0, "Tests per run must be a whole number from 1 to 1000"),
        ("batch_size", 0, "Batch size must be"),
        ("weight_decay", -1.0, "Weight decay must be"),
        ("threads", 9999, "CPU threads must be"),
    ],
)
def test_a_number_that_no_race_can_use_is_said_beside_the_board(name: str, value: Any, words: str) -> None:
    session = open_app()
    session.number_input(key=field_key(name)).set_value(value).run()
    assert is_well(session)
    assert said(session).count(words) == 1
    assert button(session, "Race").disabled
    session.number_input(key=field_key(name)).set_value(getattr(Settings(), name)).run()
    assert not session.error
    assert not button(session, "Race").disabled


def test_another_network_takes_its_usual_recipe_along_but_not_over_what_was_typed() -> None:
    session = open_app()
    session.number_input(key=field_key("batch_size")).set_value(8).run()
    session.selectbox(key=field_key("data")).set_value("fashion_mnist").run()
    assert is_well(session)
    assert session.number_input(key=field_key("lr")).value == 0.005
    assert session.number_input(key=field_key("epochs")).value == 3
    assert session.number_input(key=field_key("batch_size")).value == 8
    other = reopened(session)
    other.selectbox(key=field_key("data")).set_value("digits").run()
    assert other.number_input(key=field_key("lr")).value == race_preset("digits").recipe.lr  # from a link, too
    assert other.number_input(key=field_key("batch_size")).value == 8


def test_test_part_and_flips_go_to_address_line_and_race(running: str) -> None:
    session = open_app(dev="cpu")
    assert field_key("validation_share") not in {each.key for each in session.number_input}
    session.button_group(key=field_key("augment")).set_value("crop_flip")
    session.button_group(key=field_key("split")).set_value("random").run()
    session.number_input(key=field_key("validation_share")).set_value(0.3).run()
    assert is_well(session)
    shown = {name: value for name, (value,) in address(session).items()}
    assert (shown["aug"], shown["split"], shown["vs"]) == ("crop_flip", "random", "0.3")
    race = press(reopened(session), "Race").session_state["race"]
    data = stored(race).config.data
    assert (data.augment, data.split, data.validation_share) == ("crop_flip", "random", 0.3)
    session.number_input(key=field_key("validation_share")).set_value(0.6).run()
    assert "Share of the test part must be a finite number" in said(session)


# Paths on the server


def test_a_path_outside_the_allowed_folders_is_refused_and_the_owners_variable_named(tmp_path: Path) -> None:
    session = open_app(d="folder", dp=str(tmp_path))
    assert is_well(session)
    assert "is outside the folders that this server may read" in said(session)
    assert "MULTIRATE_DATA_FOLDERS" in said(session)
    assert button(session, "Race").disabled
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]  # the board is there all the same


def test_a_forbidden_path_is_no_obstacle_for_data_that_need_none() -> None:
    session = open_app(d="folder", dp="/etc")
    session.selectbox(key=field_key("data")).set_value("digits").run()
    assert is_well(session)
    assert not session.error
    assert not button(session, "Race").disabled


def test_a_forbidden_weights_file_is_refused() -> None:
    session = open_app(w="file", wp="/etc/passwd")
    assert "is outside the folders" in said(session)
    assert "in the field “Weights file on the server”" in said(session)
    assert button(session, "Race").disabled
    session.button_group(key=field_key("weights")).set_value("none").run()
    assert not session.error


def test_weights_from_a_file_need_a_path() -> None:
    session = open_app(w="file")
    assert is_well(session)
    assert "Type its path under More settings" in said(session)
    assert button(session, "Race").disabled


def test_an_image_folder_needs_a_path_and_the_page_says_where_it_is_typed() -> None:
    session = open_app(d="folder")
    assert is_well(session)
    assert "needs a path" in said(session)
    assert "under More settings, in the field “Data folder on the server”" in said(session)


@pytest.mark.parametrize(("typed", "got"), [(2.5, "2.5"), (None, "nothing"), (0, "0"), (-3, "-3"), (1e9, "1e+09")])
def test_a_period_that_is_no_whole_number_is_said_and_the_old_one_kept(typed: float | None, got: str) -> None:
    session = open_app()
    session.number_input(key=period_key("slow")).set_value(7).run()
    session.number_input(key=period_key("slow")).set_value(typed).run()
    assert is_well(session)
    assert f"k must be a whole number from 1 to 1,000,000, got {got}." in said(session)
    assert session.number_input(key=period_key("slow")).value == 7
    assert groups(session)["slow"] == 7
    assert "whole number" not in said(session.run())


def test_a_relative_path_starts_in_the_allowed_folder_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "allowed", tmp_path / "elsewhere"
    for folder in (inside, outside):
        (folder / "photos").mkdir(parents=True)
    (outside / "photos" / "secret_class_name").mkdir()
    monkeypatch.setenv("MULTIRATE_DATA_FOLDERS", str(inside))
    monkeypatch.chdir(outside)
    session = open_app(d="folder", dp="photos")
    assert is_well(session)
    assert str(inside / "photos") in said(session)
    assert "secret_class_name" not in said(session)


def test_settings_survive_a_visit_to_the_other_page() -> None:
    session = press(open_app(), "Add a group")
    drop(session, "2" + session.session_state["codes"][1:])
    session.number_input(key=period_key("slow")).set_value(9)
    session.number_input(key=field_key("epochs")).set_value(4)
    session.button_group(key=field_key("arms")).set_value(["multirate"])
    session.run()
    before, moved = address(session), group_of(session)
    session.switch_page("pages/runs.py").run().switch_page("pages/explore.py").run()
    assert is_well(session)
    assert group_of(session) == moved
    assert groups(session) == {"fast": 1, "slow": 9, "third": 10}
    assert session.number_input(key=field_key("epochs")).value == 4
    assert address(session) == before
    assert "Race" in labels(session)


def test_the_same_network_for_other_images_keeps_what_was_sorted_and_another_network_starts_anew() -> None:
    for model, classes, size in (("glyph_net", 11, 40), ("resnet18", 10, 32)):
        shape = (1 if model == "glyph_net" else 3, size, size)
        request = {"model": model, "num_classes": classes, "input_shape": shape}
        assert describe.main([json.dumps(request)]) == 0  # else the page would start a process
    session = drop(open_app(), "0" * len(parameters(open_app())))
    session.number_input(key=field_key("image_size")).set_value(40)
    session.number_input(key=field_key("num_classes")).set_value(11)
    session.number_input(key=period_key("slow")).set_value(8).run()
    assert is_well(session)
    assert not session.error
    assert in_group(session, "slow") == []
    assert groups(session)["slow"] == 8
    for name in ("image_size", "num_classes"):
        session.number_input(key=field_key(name)).set_value(0)
    session.selectbox(key=field_key("model")).set_value("resnet18").run()
    assert is_well(session)
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]
    assert len(parameters(session)) == 62
    assert groups(session)["slow"] == 8
    assert len(parameters(reopened(session))) == 62


def test_a_network_without_pretrained_weights_is_offered_with_random_ones() -> None:
    for model in ("resnet20", "resnet18"):
        request = {"model": model, "num_classes": 10, "input_shape": (3, 32, 32)}
        assert describe.main([json.dumps(request)]) == 0  # else the page would start a process
    session = open_app()
    session.selectbox(key=field_key("model")).set_value("resnet20").run()
    assert is_well(session) and not session.error
    assert address(session)["w"] == ["none"]
    assert not button(session, "Race").disabled
    assert in_group(session, "fast") == ["linear.weight", "linear.bias"]
    session.selectbox(key=field_key("model")).set_value("resnet18").run()
    assert "w" not in address(session)


def test_a_link_to_pretrained_weights_that_do_not_exist_is_said_beside_the_board() -> None:
    request = {"model": "resnet20", "num_classes": 10, "input_shape": (3, 32, 32)}
    assert describe.main([json.dumps(request)]) == 0
    session = open_app(m="resnet20")
    assert is_well(session)
    assert "resnet20 has no pretrained weights" in said(session)
    assert button(session, "Race").disabled
