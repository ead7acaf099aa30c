"""The user's own networks: code that is named by the user or the server's owner, called, checked and raced."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from multirate_core.cli.parser import make_parser
from multirate_core.cli.program import main
from multirate_core.cli.settings import model_config
from multirate_core.config import ArmConfig, Budget, DataConfig, ModelConfig, RaceConfig
from multirate_core.data.catalog import data_shape, usual_shape
from multirate_core.errors import ConfigError, ModelError, WeightsError
from multirate_core.events import EnvironmentFound, LaneEnded
from multirate_core.layers import describe
from multirate_core.layers.describe import TreeRequest
from multirate_core.layers.tree import LayerTree
from multirate_core.models.catalog import MODELS, model_info
from multirate_core.models.own_sources import VARIABLE, absolute_source, as_raced, choices, chosen_name, file_of
from multirate_core.models.registry import BuiltModel, build, build_skeleton
from multirate_core.presets import race_preset
from multirate_core.race import run

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

GREY = (1, 16, 16)
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, in_channels=3, width=4):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, stride=4)
        self.out = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.out(self.stem(images).relu().mean((2, 3)))

def build(num_classes, in_channels):
    return Net(num_classes, in_channels)
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    file = tmp_path / "my_net.py"
    file.write_text(NET, encoding="utf-8")
    return file


def written(folder: Path, code: str) -> str:
    """Return the source of `build` in a file with this code."""
    file = folder / "bad_net.py"
    file.write_text(code, encoding="utf-8")
    return f"{file}:build"


def built(source: str, weights: str = "none", classes: int = 5, shape: tuple[int, ...] = GREY) -> BuiltModel:
    torch.manual_seed(1)
    return build(ModelConfig("own", weights, source), classes, shape)


def test_a_function_gets_what_it_takes_and_its_network_trains(net: Path) -> None:
    ours = built(f"{net}:build")
    assert ours.module.training and ours.module.get_parameter("stem.weight").shape == (4, 1, 3, 3)
    assert (ours.mean, ours.std) == ((0.5,), (0.5,))
    ours.module(torch.randn(2, *GREY)).sum().backward()
    assert all(weight.grad is not None for weight in ours.module.parameters())
    assert any("my_net.py (SHA-256 " in note for note in ours.notes)


def test_a_class_is_a_function_too_and_the_same_seed_gives_the_same_weights(net: Path) -> None:
    first, again = built(f"{net}:Net").module.state_dict(), built(f"{net}:Net").module.state_dict()
    assert first["stem.weight"].shape == (4, 1, 3, 3)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_function_is_called_by_name_with_what_its_signature_says(tmp_path: Path) -> None:
    code = NET + "def build(*, image_size, num_classes):\n    return Net(num_classes, in_channels=1, width=image_size)"
    assert built(written(tmp_path, code)).module.get_parameter("out.weight").shape == (5, 16)
    anything = NET + "def build(**options):\n    assert options == {'num_classes': 5}; return Net(5, 1)"
    assert built(written(tmp_path, anything)).module.get_parameter("out.weight").shape == (5, 4)


def test_the_head_is_found_by_its_place_or_is_the_last_layer_with_a_note(net: Path, tmp_path: Path) -> None:
    ours = built(f"{net}:build")
    assert ours.head == ("out",) and any("last layer with parameters, out" in note for note in ours.notes)
    renamed = built(written(tmp_path, NET.replace("self.out", "self.head")))
    assert renamed.head == ("head",) and not any("last layer" in note for note in renamed.notes)


def test_the_layer_tree_has_shapes_and_the_head_though_the_code_looks_at_numbers(net: Path) -> None:
    net.write_text(NET + "    \ndef look(num_classes):\n    net = Net(num_classes, 1); net.out.weight[0, 0].item()\n"
                   "    return net\n", encoding="utf-8")  # fmt: skip
    tree = describe.describe(TreeRequest("own", 5, GREY, f"{net}:look"))
    assert (tree.head, tree.note, tree.root.output_shape) == (("out",), "", (5,))
    assert [parameter.name for parameter in tree.parameters()] == ["stem.weight", "stem.bias", "out.weight", "out.bias"]


def test_a_file_that_was_changed_is_read_again_and_has_another_tree(net: Path) -> None:
    request = TreeRequest("own", 5, GREY, f"{net}:build")
    words = json.dumps({"model": "own", "num_classes": 5, "input_shape": GREY, "source": f"{net}:build"})
    assert describe.main([words]) == 0
    before, key = describe.read(request), describe.key(request)
    net.write_text(NET.replace("width=4", "width=6"), encoding="utf-8")
    assert describe.read(request) is None and describe.key(request) != key
    assert describe.main([words]) == 0
    after = describe.read(request)
    assert isinstance(before, LayerTree) and isinstance(after, LayerTree)
    assert (before.root.parameter_count, after.root.parameter_count) == (65, 95)
    assert built(f"{net}:build").module.get_parameter("out.weight").shape == (5, 6)


def test_a_file_may_import_its_neighbours_and_leaves_the_search_path_as_it_was(net: Path, tmp_path: Path) -> None:
    before = list(sys.path)
    net.rename(tmp_path / "my_neighbour_net.py")
    source = written(tmp_path, "from my_neighbour_net import build")
    assert built(source).module.get_parameter("out.weight").shape == (5, 4)
    assert sys.path == before


def test_a_module_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "nets.py").write_text(NET, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    source = "own_package_of_a_test.nets:build"
    assert built(source).head == ("out",)
    assert file_of(source) == package / "nets.py" and file_of("own_package_of_a_test.none:build") is None
    assert absolute_source(source) == source


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\ny = = 2", r"bad_net\.py:build failed, line 2: SyntaxError"),
        ("import torch\n\nraise ValueError('too early')", r"failed, line 3: ValueError: too early"),
        ("def build(num_classes):\n    return 1 / 0", r"failed, line 2: ZeroDivisionError"),
        ("import sys\nsys.exit(3)", r"failed, line 2: SystemExit: 3"),
        ("def build(num_classes):\n    import torch\n    return torch.nn.Linear('x', 3)", r"failed, line 3: TypeError"),
        ("def build(num_classes, depth):\n    pass", r"TypeError.*depth"),
        ("def build(classes):\n    pass", r"must take num_classes"),
        ("def build(num_classes):\n    return None", r"must return a torch\.nn\.Module with parameters, got NoneType"),
        ("from torch import nn\ndef build(num_classes):\n    return nn.ReLU()", r"got a network without parameters"),
        ("def other():\n    pass", r"no function 'build'; it defines other"),
        ("build = 3", r"no function 'build'"),
    ],
)
def test_what_goes_wrong_in_the_code_is_told_with_its_line(tmp_path: Path, code: str, words: str) -> None:
    source = written(tmp_path, code)
    for _ in range(2):  # a broken import leaves nothing behind
        with pytest.raises(ModelError, match=words):
            build_skeleton("own", 5, GREY, source)


def test_a_network_that_does_not_classify_such_images_is_refused(net: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not take images of 1×16×16: .*channels.*Let its function take in_chan"):
        built(written(tmp_path, NET + "def build(num_classes):\n    return Net(num_classes)"))
    with pytest.raises(ModelError, match=r"\(2, 5\) for two of them, got \(2, 4\) float32"):
        built(written(tmp_path, NET + "def build(num_classes):\n    return Net(4, 1)"))
    tuples = NET.replace("return self.out(self.stem(images)", "return (images,); return self.out(self.stem(images)")
    with pytest.raises(ModelError, match="got tuple"):
        built(written(tmp_path, tuples))


@pytest.mark.parametrize(
    "source", ["", "net.py", "net.py:", ":build", "a b:build", "net.py:a.b", "net.py:f(1)", "a..b:f"]
)
def test_a_source_of_another_form_is_refused(source: str) -> None:
    with pytest.raises(ModelError, match=r"'path/to/file\.py:function' or 'package\.module:function'"):
        built(source)


def test_a_file_or_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.py cannot be read"):
        built(f"{tmp_path / 'nowhere.py'}:build")
    with pytest.raises(ModelError, match="No module named 'no_such_module'"):
        built("no_such_module:build")


def test_weights_are_the_functions_own_or_a_files(net: Path, tmp_path: Path) -> None:
    source = f"{net}:build"
    for weights in ("none", "pretrained"):
        assert any("as they were returned" in note for note in built(source, weights).notes)
    file = tmp_path / "net.pth"
    torch.manual_seed(9)
    saved = {name: torch.randn_like(tensor) for name, tensor in built(source).module.state_dict().items()}
    torch.save(saved, file)
    fits, other = built(source, str(file)), built(source, str(file), classes=6)
    assert all(torch.equal(fits.module.state_dict()[name], saved[name]) for name in saved)
    assert torch.equal(other.module.get_parameter("stem.weight"), saved["stem.weight"])
    assert any("head is new" in note for note in other.notes)
    torch.save({"stem.weight": saved["stem.weight"]}, file)
    with pytest.raises(WeightsError, match=r"missing: stem\.bias"):
        built(source, str(file))


def test_the_data_say_which_images_an_own_network_gets(tmp_path: Path) -> None:
    info = model_info("own")
    assert data_shape(DataConfig("digits"), info).input_shape == (1, 32, 32)
    assert data_shape(DataConfig("cifar10", image_size=48), info).input_shape == (3, 48, 48)
    assert usual_shape(info) == (3, 224, 224)


# Who may name code


def test_listed_networks_are_choices_and_are_raced_by_their_source(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "own" not in choices() and set(choices()) == set(MODELS) - {"own"}
    monkeypatch.chdir(net.parent)
    monkeypatch.setenv(VARIABLE, "mine = my_net.py:build ; other=package.module:make;")
    source = f"{net}:build"
    assert list(choices())[-2:] == ["mine", "other"] and choices()["mine"].maker == "own" and "own" not in choices()
    listed = ModelConfig("mine", "none")
    assert as_raced(listed) == ModelConfig("own", "none", source)
    assert chosen_name(as_raced(listed)) == "mine"
    assert chosen_name(ModelConfig("own", source=f"{net}:Net")) == "own"
    assert as_raced(ModelConfig()) == ModelConfig() and chosen_name(ModelConfig()) == "glyph_net"
    with pytest.raises(ModelError, match="mine has its source from MULTIRATE_MODELS"):
        as_raced(replace(listed, source="evil.py:build"))


@pytest.mark.parametrize(
    "entry", ["mine", "=a.py:f", "mine=a.py", "glyph_net=a.py:f", "own=a.py:f", "a b=a.py:f", "x=a.py:f;x=b.py:f"]
)
def test_a_list_that_cannot_be_read_is_refused(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, entry)
    with pytest.raises(ConfigError, match=VARIABLE):
        choices()


def test_the_command_line_makes_paths_absolute_and_knows_listed_names(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config_of(words: str) -> ModelConfig:
        options = make_parser().parse_args(["tree", *words.split()])
        return model_config(options, race_preset(options.preset))

    monkeypatch.chdir(net.parent)
    wanted = ModelConfig("own", "pretrained", f"{net}:build")
    assert config_of("--model own --source my_net.py:build") == wanted
    monkeypatch.setenv(VARIABLE, f"mine={net}:build")
    assert config_of("--model mine") == wanted
    with pytest.raises(ModelError, match="own needs a source: code that makes"):
        config_of("--model own")


@pytest.mark.slow
def test_a_race_from_the_command_line_in_a_worker_of_another_folder(
    net: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"mine={net}:build")
    assert main(f"tree --model own --source {os.path.relpath(net)}:build".split()) == 0
    assert "own, images 1×32×32, head out" in capsys.readouterr().out
    race = (
        "compare --preset digits --train-images 32 --device cpu --threads 1 --epochs 1 --fast head --json --model mine"
    )
    assert main(race.split()) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["outcome"] == "finished"
    assert report["config"]["model"] == {"name": "own", "weights": "pretrained", "source": f"{net}:build"}
    assert {arm["steps"] for arm in report["arms"].values()} == {2}


@pytest.mark.slow
def test_a_file_that_is_changed_between_two_seeds_ends_the_race(net: Path) -> None:
    config = RaceConfig(
        arms=(ArmConfig("sgd", "sgd"),),
        model=ModelConfig("own", source=f"{net}:build"),
        data=DataConfig(train_images=40),
        budget=Budget(epochs=1),
        seeds=(0, 1),
        device="cpu",
        threads=1,
    )
    assert [event.outcome for event in run(config, lambda: "go") if isinstance(event, LaneEnded)] == ["finished"] * 2
    events = run(config, lambda: "go")
    found = next(event for event in events if isinstance(event, EnvironmentFound))
    assert "my_net.py (SHA-256 " in found.values["notes"]
    net.write_text(NET + "\n# another digest", encoding="utf-8")
    with pytest.raises(ModelError, match="was changed while the race ran"):
        list(events)
