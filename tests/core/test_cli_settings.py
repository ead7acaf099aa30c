"""From the words of the command line to a configuration, and what bad input gets: exit code 2 and one line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from multirate_core.cli.command_line import PROGRAM, command_line
from multirate_core.cli.parser import make_parser
from multirate_core.cli.program import main
from multirate_core.cli.settings import race_config
from multirate_core.config import Budget, Execution, GroupSpec, ModelConfig, PartitionSpec, RaceConfig, Recipe, Rule
from multirate_core.errors import ConfigError, ModelError
from multirate_core.layers import describe
from multirate_core.partition import files
from multirate_core.presets import RACE_PRESETS, usual_preset

pytestmark = pytest.mark.slow  # many cases


def config_of(words: str) -> RaceConfig:
    return race_config(make_parser().parse_args(["compare", *shlex.split(words)]))


def multirate_groups(config: RaceConfig) -> dict[str, int]:
    spec = next(arm.partition for arm in config.arms if arm.kind == "multirate")
    assert spec is not None
    return {group.name: group.period for group in spec.groups}


@pytest.fixture
def trees_at_hand() -> None:
    """Make the trees that do not ship in this process, which has torch already; else a process would be started."""
    for size, classes, channels, model in ((32, 10, 3, "resnet18"), (40, 11, 1, "glyph_net")):
        request = {"model": model, "num_classes": classes, "input_shape": (channels, size, size)}
        assert describe.main([json.dumps(request)]) == 0


def test_without_options_the_default_recipe_is_raced() -> None:
    config, chosen = config_of(""), RACE_PRESETS["digits"]
    assert (config.model, config.data, config.recipe, config.budget) == (
        *(chosen.model, chosen.data, chosen.recipe),
        chosen.budget,
    )
    assert [arm.kind for arm in config.arms] == ["sgd", "multirate"]
    assert multirate_groups(config) == {"fast": 1, "slow": chosen.k}
    assert config.seeds == (0,)


def test_single_options_override_the_recipe() -> None:
    config = config_of(
        "--lr 0.5 --momentum 0 --weight-decay 0.1 --batch-size 8 --seconds 2.5 --seeds 3 --k 7 --threads 2 "
        "--device cpu --weights none --train-images 100 --arms multirate,frozen --no-drift"
    )
    assert (config.recipe.lr, config.recipe.momentum, config.recipe.weight_decay) == (0.5, 0.0, 0.1)
    assert (config.recipe.batch_size, config.budget) == (8, Budget(seconds=2.5))
    assert (config.seeds, config.threads, config.device) == ((0, 1, 2), 2, "cpu")
    assert (config.model.weights, config.data.train_images) == ("none", 100)
    assert [(arm.kind, arm.drift) for arm in config.arms] == [("multirate", False), ("frozen", False)]
    assert multirate_groups(config) == {"fast": 1, "slow": 7}


@pytest.mark.usefixtures("trees_at_hand")
def test_fast_patterns_make_a_partition_with_the_rest_slow() -> None:
    config = config_of("--fast-pattern '*bias' --fast-pattern 'layer[34]' --k 4 --model resnet18 --fast-pattern fc")
    spec = config.arms[1].partition
    assert spec is not None
    assert spec.groups == (GroupSpec("fast", 1), GroupSpec("slow", 4))
    assert [rule.pattern for rule in spec.rules] == ["*bias", "layer[34]", "fc", "*"]


def test_k_overrides_the_slow_periods_of_a_partition_file_and_only_those(tmp_path: Path) -> None:
    groups = (GroupSpec("now", 1), GroupSpec("soon", 2), GroupSpec("late", 8))
    file = tmp_path / "three.json"
    file.write_text(files.dumps(PartitionSpec(groups, (Rule("*bias", "now"), Rule("*", "late")))), encoding="utf-8")
    assert multirate_groups(config_of(f"--partition {file}")) == {"now": 1, "soon": 2, "late": 8}
    assert multirate_groups(config_of(f"--partition {file} --k 6")) == {"now": 1, "soon": 6, "late": 6}


def test_base_rule_rates_and_ways_of_computing_are_options() -> None:
    config = config_of(
        "--base adamw --precision bf16 --channels-last --memory lean --k-phases 1:2,2:2 --slow-lr-factor 0.5"
    )
    assert config.recipe == RACE_PRESETS["digits"].recipe_for("adamw")
    assert config.execution == Execution("bf16", channels_last=True, memory="lean")
    spec = config.arms[1].partition
    assert spec is not None
    assert spec.groups == (GroupSpec("fast", 1), GroupSpec("slow", 5, 0.5, ((2, 1), (2, 2))))
    nesterov = config_of("--nesterov --compile --base sgd")
    assert (nesterov.recipe.nesterov, nesterov.execution) == (True, Execution(compile=True))
    assert config_of("--base adamw --lr 0.3").recipe.lr == 0.3


def test_the_whole_recipe_is_options() -> None:
    recipe = config_of(
        "--schedule linear --warmup 0.1 --label-smoothing 0.2 --clip-norm 2 --no-decay-norms --accumulate 3"
    ).recipe
    assert recipe == replace(
        RACE_PRESETS["digits"].recipe,
        schedule="linear",
        warmup=0.1,
        label_smoothing=0.2,
        clip_norm=2.0,
        decay_norms=False,
        accumulate=3,
    )


def test_flips_and_a_random_split_are_options() -> None:
    data = config_of("--split random --validation-share 0.3 --augment flip").data
    assert data == replace(RACE_PRESETS["digits"].data, split="random", validation_share=0.3, augment="flip")
    with pytest.raises(ConfigError, match="belongs to split 'random'"):
        config_of("--validation-share 0.3")
    with pytest.raises(ConfigError, match="augment"):
        config_of("--augment rotate")


def test_the_papers_recipes_say_what_is_certain_of_them() -> None:
    for name, model, data in (
        ("resnet50-cifar100", "resnet50", "cifar100"),
        ("resnet34-cifar10", "resnet34", "cifar10"),
    ):
        preset = RACE_PRESETS[name]
        assert (preset.model.name, preset.model.weights, preset.data.name) == (model, "pretrained", data)
        assert (preset.fast, preset.k, preset.budget) == ("head", 5, Budget(epochs=50))
        assert preset.recipe == Recipe(lr=0.001, momentum=0.9, batch_size=128)
        assert all(words in preset.note.lower() for words in ("not verified", "unknown", "lr"))
    preset = RACE_PRESETS["distilbert-sst2"]
    assert (preset.model, preset.data.name) == (ModelConfig("distilbert", "pretrained"), "sst2")
    assert (preset.fast, preset.k, preset.recipe) == ("last_block_head", 5, Recipe(0.0001, 0.9, batch_size=16))
    assert all(
        words in preset.note for words in ("89.70 % in 223.9 s", "89.73 % in 380.2 s", "not verified", "Unknown")
    )


def test_the_papers_recipes_are_not_suggested_for_their_network_and_data() -> None:
    papers = [preset for preset in RACE_PRESETS.values() if preset.title.startswith("The paper's")]
    assert len(papers) == 3
    assert [usual_preset(paper.model.name, paper.data.name) for paper in papers] == [None] * 3


@pytest.mark.slow
def test_the_papers_distilbert_without_a_network_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    assert main(["compare", "--preset", "distilbert-sst2", "--data-path", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "distilbert-base-uncased cannot be had from the hub" in said and "give its folder as the source" in said


def test_rates_from_the_command_line_go_to_the_slow_groups_of_a_file(tmp_path: Path) -> None:
    groups = (GroupSpec("now", 1, 3.0), GroupSpec("soon", 2), GroupSpec("late", 8, 0.1, ((1, 1),)))
    file = tmp_path / "three.json"
    file.write_text(files.dumps(PartitionSpec(groups, (Rule("*bias", "now"), Rule("*", "late")))), encoding="utf-8")
    spec = config_of(f"--partition {file}").arms[1].partition
    assert spec is not None and spec.groups == groups
    spec = config_of(f"--partition {file} --slow-lr-factor 0.5").arms[1].partition
    assert spec is not None and spec.groups == (
        groups[0],
        GroupSpec("soon", 2, 0.5),
        GroupSpec("late", 8, 0.5, ((1, 1),)),
    )


def test_preset_names_may_have_hyphens_and_last_n_takes_a_number() -> None:
    one = config_of("--fast last-n").arms[1].partition
    three = config_of("--fast last_n --fast-n 3").arms[1].partition
    assert one is not None and three is not None and one != three


@pytest.mark.usefixtures("trees_at_hand")
@pytest.mark.parametrize(
    "words",
    [
        "",
        "--seconds 3 --lr 0.1 --seeds 2 --no-drift",
        "--fast last_block_head --k 9 --arms sgd,multirate,frozen --device cpu --threads 2",
        "--model resnet18 --weights none --data fashion_mnist --data-path '/some where' --download --epochs 2",
        "--train-images 50 --image-size 40 --num-classes 11 --bad-images skip --batch-size 5",
        "--base adamw --precision bf16 --channels-last --memory lean --k-phases 1:2,2:0.5 --slow-lr-factor 0.5",
        "--nesterov --compile --lr 0.2 --fast last_block_head --k-phases 3:1",
        "--schedule cosine --warmup 0.05 --label-smoothing 0.1 --clip-norm 1.5 --accumulate 4 --weight-decay 0.1",
        "--schedule one_cycle --seconds 9 --no-decay-norms --base adamw",
    ],
)
def test_the_command_line_of_a_configuration_makes_the_same_configuration(words: str, tmp_path: Path) -> None:
    config = config_of(words)
    spec = next(arm.partition for arm in config.arms if arm.partition is not None)
    file = tmp_path / "partition.json"
    file.write_text(files.dumps(spec), encoding="utf-8")
    again = config_of(command_line(config, str(file)).removeprefix(f"{PROGRAM} "))
    ours, theirs = (
        [(arm.kind, arm.drift, arm.partition and (arm.partition.groups, arm.partition.rules)) for arm in each.arms]
        for each in (config, again)
    )
    assert ours == theirs
    for name in ("model", "data", "recipe", "budget", "seeds", "device", "threads", "execution"):
        assert getattr(again, name) == getattr(config, name), name


BAD = {
    "--model no_such_model": "no_such_model",
    "--data no_such_data": "no_such_data",
    "--preset no_such_preset": "no_such_preset",
    "--fast no_such_fast": "no_such_fast",
    "--fast-pattern 'nothing.like.this'": "nothing.like.this",
    "--fast-pattern stem --fast-pattern 'stem*'": "decides nothing",
    "--fast head --fast-pattern fc": "only one",
    "--fast-n 2": "--fast-n",
    "--base adam": "base must be one of sgd, adamw",
    "--base adamw --momentum 0.9": "--momentum belongs to SGD",
    "--base adamw --nesterov": "nesterov needs SGD",
    "--momentum 0 --nesterov": "nesterov needs SGD",
    "--precision fp16": "precision must be one of",
    "--memory less": "memory must be one of",
    "--memory lean --compile": "cannot be combined",
    "--k-phases 1": "K:EPOCHS",
    "--k-phases 0:2": "phase",
    "--k 1 --k-phases 1:2": "period > 1",
    "--slow-lr-factor 0": "--slow-lr-factor must be",
    "--slow-lr-factor 0.5 --arms sgd": "--slow-lr-factor is for slow groups",
    "--k-phases 2:1 --arms sgd": "--k-phases is for slow groups",
    "--schedule step": "schedule must be one of constant, cosine, linear, one_cycle, got 'step'",
    "--warmup 1": "warmup",
    "--warmup 500": "warmup must be a finite number ≥ 0 and < 1",
    "--label-smoothing 1": "label_smoothing",
    "--clip-norm 0": "clip_norm must be a finite number > 0",
    "--accumulate 0": "accumulate",
    "--accumulate 17": "at most the batch size",
    "--accumulate 1.5": "--accumulate",
    "--k 0": "period",
    "--k 2.5": "--k",
    "--lr 0": "lr",
    "--lr nan": "lr",
    "--lr inf": "lr",
    "--lr -1": "lr",
    "--momentum 1": "momentum",
    "--weight-decay -0.1": "weight_decay",
    "--batch-size 0": "batch_size",
    "--epochs 0": "epochs",
    "--epochs 2 --seconds 3": "exactly one",
    "--seconds nan": "seconds",
    "--seeds 0": "--seeds",
    "--seeds 101": "--seeds",
    "--arms sgd,adam": "adam",
    "--arms sgd,sgd": "different names",
    "--device tpu": "tpu",
    "--device cuda:99": "cuda:99",
    "--threads 0": "threads",
    "--image-size 3": "image_size",
    "--num-classes 5": "num_classes",
    "--bad-images hide": "bad_images",
    "--partition /no/such/file.json": "/no/such/file.json",
    "--data folder": "path",
    "--data folder --data-path /no/such/folder": "/no/such/folder",
    "--data folder --data-path '~no_such_user/x'": "~no_such_user/x",
    "--weights '~no_such_user/x.pth'": "~no_such_user/x.pth",
    "--model resnet20": "resnet20 has no pretrained weights",
    "--model resnet56 --weights pretrained": "Use 'none'",
    "--inline --background": "only one",
    "--no-such-option": "--no-such-option",
}


@pytest.mark.parametrize("words", BAD, ids=list(BAD))
def test_bad_input_gets_exit_code_2_and_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["compare", *shlex.split(words), "--json"])
    except SystemExit as leaving:  # argparse's own way out
        code = int(leaving.code or 0)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert BAD[words] in err


def test_weights_that_a_network_does_not_have_are_refused_before_a_worker_or_a_layer_tree_is_made() -> None:
    for words in ("--model resnet20", "--model resnet56 --weights pretrained"):
        with pytest.raises(ModelError, match="has no pretrained weights"):
            config_of(words)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"),
        ('{"format": "multirate-partition", "version": 2}', "version 2"),
        (files.dumps(PartitionSpec((GroupSpec("a", 1),), (Rule("*", "a"),), "resnet18", "0badf00d")), "another model"),
        (files.dumps(PartitionSpec((GroupSpec("a", 1),), (Rule("*.weight", "a"),))), "bias"),
        (files.dumps(PartitionSpec((GroupSpec("a", 1),), (Rule("*", "a"),))).replace('"a"', '"\\ud800"'), "UTF-8"),
        (files.dumps(PartitionSpec((GroupSpec("a", 1), GroupSpec("b", 2)), (Rule("*", "b"),))), "period 1"),
    ],
)
def test_a_partition_file_that_does_not_fit_is_refused(
    text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "partition.json"
    file.write_text(text, encoding="utf-8")
    assert main(["compare", "--partition", str(file)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and named in err


def test_the_lists_and_the_tree_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == main(["devices"]) == main(["races"]) == main(["tree", "--depth", "1"]) == 0
    out = capsys.readouterr().out
    assert "digits" in out and "last_block_head" in out and "cpu" in out and "glyph_net" in out


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, multirate_core.cli.program; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
