"""Partitions: every trainable parameter in exactly one group, however it was written down."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from tiny_models import MARKUP, TRAINABLE, Case, Frozen, Plain, Tied, tree_named, tree_of

from multirate_core.config import GroupSpec, PartitionSpec, Rule
from multirate_core.errors import PartitionError
from multirate_core.layers.tree import LayerTree, ParameterInfo, make_node
from multirate_core.partition import PRESETS, Partition, param_groups, preset, resolve, to_spec
from multirate_core.partition.codes import assignment_from_codes, codes_of

FAST_SLOW = (GroupSpec("fast", 1), GroupSpec("slow", 5))
each_case = pytest.mark.parametrize("case", TRAINABLE, ids=lambda case: case.name)
seeded = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def spec(*rules: tuple[str, str], groups: tuple[GroupSpec, ...] = FAST_SLOW, fingerprint: str = "") -> PartitionSpec:
    return PartitionSpec(groups, tuple(Rule(*rule) for rule in rules), fingerprint=fingerprint)


def fast_of(partition: Partition) -> list[str]:
    return list(partition.members("fast"))


@st.composite
def partitions(draw: st.DrawFn) -> tuple[LayerTree, Partition]:
    tree = tree_of(draw(st.sampled_from(TRAINABLE)))
    names = draw(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5, unique=True))
    groups = [GroupSpec(name, draw(st.integers(1, 1_000_000))) for name in names]
    groups[0] = GroupSpec(names[0], 1)
    choices = {p.name: draw(st.sampled_from(names)) for p in tree.trainable()}
    choices[draw(st.sampled_from(list(choices)))] = names[0]
    return tree, Partition(tuple(draw(st.permutations(groups))), choices)


@seeded
@given(partitions())
def test_the_rules_of_any_partition_give_it_back(drawn: tuple[LayerTree, Partition]) -> None:
    tree, partition = drawn
    written = to_spec(partition, tree)
    assert resolve(written, tree) == partition
    assert len(written.rules) <= len(partition.assignment) + 1


@seeded
@given(partitions())
def test_the_codes_of_any_partition_give_it_back(drawn: tuple[LayerTree, Partition]) -> None:
    tree, partition = drawn
    assert assignment_from_codes(codes_of(partition, tree), tree, partition.groups) == partition


@each_case
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_places_every_trainable_parameter_once(case: Case, name: str) -> None:
    tree = tree_of(case)
    if (name, case.name) == ("norms_biases", "Tokens"):
        with pytest.raises(PartitionError, match="nothing would be fast"):
            preset(name, tree, 5)
        return
    partition = preset(name, tree, 5)
    assert list(partition.assignment) == [parameter.name for parameter in tree.trainable()]
    assert resolve(to_spec(partition, tree), tree) == partition


@each_case
@pytest.mark.parametrize("name", ["head", "all_fast"])
def test_parameter_groups_hold_every_trainable_tensor_once(case: Case, name: str) -> None:
    model = case.build()
    groups = param_groups(preset(name, tree_of(case), 5), model)
    held = [id(tensor) for group in groups for tensor in group["params"]]
    assert sorted(held) == sorted(id(tensor) for tensor in model.parameters() if tensor.requires_grad)
    assert all(group["params"] for group in groups)
    assert [(group["name"], group["period"]) for group in groups][:1] == [("fast", 1)]


def test_rules_apply_in_order_and_the_first_match_wins() -> None:
    partition = resolve(spec(("layer1.0", "fast"), ("layer1", "slow"), ("*", "fast")), tree_named("Nested"))
    assert partition.assignment["layer1.0.0.weight"] == "fast"
    assert partition.assignment["layer1.1.0.weight"] == "slow"
    assert partition.assignment["layer10.0.0.weight"] == "fast"


def test_a_whole_module_becomes_one_rule_and_repeated_names_one_glob() -> None:
    tree = tree_named("Nested")
    assert to_spec(preset("head", tree, 5), tree).rules == (Rule("fc", "fast"), Rule("*", "slow"))
    biases = Partition(FAST_SLOW, {p.name: "fast" if "bias" in p.name else "slow" for p in tree.trainable()})
    assert to_spec(biases, tree).rules == (Rule("*.bias", "fast"), Rule("*", "slow"))


def test_an_unmatched_parameter_is_an_error_that_lists_some() -> None:
    with pytest.raises(PartitionError, match=r"no pattern matches conv.weight, norm.weight, norm.bias of 'Plain'"):
        resolve(spec(("fc", "fast")), tree_named("Plain"))


@pytest.mark.parametrize("pattern", ["layer2", "", "layer", "LAYER1", "*.gamma", "fc.", ".fc", "layer1.0.0.weight.x"])
def test_a_pattern_that_matches_nothing_is_an_error_with_names_as_examples(pattern: str) -> None:
    with pytest.raises(PartitionError, match=r"matches no parameter of 'Nested'.*layer1.0.0.weight"):
        resolve(spec((pattern, "fast"), ("*", "slow")), tree_named("Nested"))


def test_a_pattern_behind_a_wider_one_is_an_error_but_a_last_catch_all_is_not() -> None:
    tree = tree_named("Plain")
    with pytest.raises(PartitionError, match=r"'fc' decides nothing: earlier ones match fc.weight, fc.bias"):
        resolve(spec(("*", "fast"), ("fc", "slow")), tree)
    resolve(spec(("fc", "fast"), ("conv", "slow"), ("norm", "slow"), ("*", "slow")), tree)


def test_a_tied_tensor_counts_under_its_first_name_only() -> None:
    tree = tree_named("Tied")
    assert "decoder.weight" not in preset("all_fast", tree, 5).assignment
    with pytest.raises(PartitionError, match=r"decoder.weight, which is the same tensor as encoder.weight"):
        resolve(spec(("decoder.weight", "fast"), ("*", "slow")), tree)
    assert fast_of(resolve(spec(("decoder", "fast"), ("*", "slow")), tree)) == ["decoder.bias"]


def test_frozen_parameters_need_no_rule_and_get_no_group() -> None:
    partition = resolve(spec(("head", "fast"), ("body", "slow")), tree_named("Frozen"))
    assert list(partition.assignment) == ["body.bias", "head.weight", "head.bias"]
    model = Frozen()
    model.head.requires_grad_(False)
    model.body.bias.requires_grad_(True)
    with pytest.raises(PartitionError, match="period 1"):
        param_groups(partition, model)


def test_a_partition_of_another_model_is_refused_by_its_fingerprint() -> None:
    written = to_spec(preset("head", tree_named("Plain"), 5), tree_named("Plain"))
    with pytest.raises(PartitionError, match=r"another model \('Plain'\)"):
        resolve(written, tree_named("Nested"))
    without = PartitionSpec(written.groups, written.rules)
    assert fast_of(resolve(without, tree_named("Nested"))) == ["fc.weight", "fc.bias"]


def test_an_empty_fast_group_is_an_error_and_an_empty_slow_group_is_not() -> None:
    tree = tree_named("Plain")
    with pytest.raises(PartitionError, match=r"no parameter is in a group of period 1 \(fast\)"):
        resolve(spec(("*", "slow")), tree)
    with pytest.raises(PartitionError, match="no group has period 1"):
        Partition((GroupSpec("slow", 2),), {"x": "slow"})
    assert preset("all_fast", tree, 5).members("slow") == ()


def test_a_network_without_parameters_has_no_partition() -> None:
    for name in PRESETS:
        with pytest.raises(PartitionError):
            preset(name, tree_named("NoParameters"), 5)


def test_a_partition_names_known_and_different_groups() -> None:
    with pytest.raises(PartitionError, match="unknown group 'x'; allowed: \\['fast', 'slow'\\]"):
        Partition(FAST_SLOW, {"fc.weight": "x"})
    with pytest.raises(PartitionError, match="different names"):
        Partition((GroupSpec("a", 1), GroupSpec("a", 2)), {"fc.weight": "a"})


def test_parameter_groups_refuse_a_model_that_the_partition_does_not_fit() -> None:
    partition = preset("head", tree_named("Plain"), 5)
    with pytest.raises(PartitionError, match=r"has no group for encoder.weight.*names the unknown conv.weight"):
        param_groups(partition, Tied())
    with pytest.raises(PartitionError, match="does not fit"):
        to_spec(partition, tree_named("Tied"))


def test_parameter_groups_come_in_the_order_of_the_partition_with_the_tensors_of_the_model() -> None:
    model, tree = Plain(), tree_named("Plain")
    groups = (GroupSpec("slow", 5), GroupSpec("empty", 3), GroupSpec("fast", 1))
    partition = resolve(spec(("fc", "fast"), ("*", "slow"), groups=groups), tree)
    made = param_groups(partition, model)
    assert [group["name"] for group in made] == ["slow", "fast"]
    assert made[1]["params"][0] is model.fc.weight
    assert made[1]["period"] == 1
    torch.optim.SGD(made, lr=0.1)  # any optimiser takes them


PRESET_CASES = (
    ("head", "Nested", ["fc.weight", "fc.bias"]),
    ("head", "NormOnly", ["norm.weight", "norm.bias"]),
    ("head", "Tied", ["decoder.bias"]),
    ("last_block_head", "Plain", ["norm.weight", "norm.bias", "fc.weight", "fc.bias"]),
    ("last_block_head", "Attention", [
        "attention.in_proj_weight", "attention.in_proj_bias", "attention.out_proj.weight",
        "attention.out_proj.bias", "head.weight", "head.bias",
    ]),
    ("last_block_head", "RootOwned", ["body.weight", "body.bias", "head.weight", "head.bias"]),
    ("last_n", "Plain", ["fc.weight", "fc.bias"]),
    ("norms_biases", "Plain", ["norm.weight", "norm.bias", "fc.bias"]),
    ("norms_biases", "Attention", ["attention.in_proj_bias", "attention.out_proj.bias", "head.bias"]),
)  # fmt: skip


@pytest.mark.parametrize(("name", "model", "fast"), PRESET_CASES)
def test_presets_make_fast_what_their_names_say(name: str, model: str, fast: list[str]) -> None:
    assert fast_of(preset(name, tree_named(model), 7)) == fast
    assert preset(name, tree_named(model), 7).groups == (GroupSpec("fast", 1), GroupSpec("slow", 7))


def test_the_last_block_of_nested_stages_is_the_last_stage() -> None:
    fast = fast_of(preset("last_block_head", tree_named("Nested"), 5))
    assert {name.split(".")[0] for name in fast} == {"layer10", "fc"}


def test_last_n_counts_layers_from_the_end() -> None:
    assert fast_of(preset("last_n", tree_named("Plain"), 5, n=2)) == [
        "norm.weight", "norm.bias", "fc.weight", "fc.bias",
    ]  # fmt: skip
    with pytest.raises(PartitionError, match="n must be at most 3"):
        preset("last_n", tree_named("Plain"), 5, n=4)


@pytest.mark.parametrize(("name", "k", "n"), [("tail", 5, 1), ("head", 0, 1), ("head", 2.5, 1), ("last_n", 5, 0)])
def test_presets_refuse_what_they_do_not_know(name: str, k: int, n: int) -> None:
    with pytest.raises(PartitionError):
        preset(name, tree_named("Plain"), k, n)


@pytest.mark.parametrize(
    ("codes", "message"),
    [("00", "has 5 trainable parameters, got 2"), ("11122", "code '2'"), ("1111Z", "code 'Z'"), ("11111", "period 1")],
)
def test_codes_that_do_not_fit_are_refused(codes: str, message: str) -> None:
    with pytest.raises(PartitionError, match=message):
        assignment_from_codes(codes, tree_named("Plain"), FAST_SLOW)


def test_codes_are_one_digit_per_parameter_in_the_order_of_the_rows() -> None:
    assert codes_of(preset("head", tree_named("Plain"), 5), tree_named("Plain")) == "11100"


def test_a_layer_named_like_markup_has_rules_that_reach_it() -> None:
    tree = tree_named("OddNames")
    partition = Partition(
        FAST_SLOW, {p.name: "fast" if p.name.startswith(MARKUP) else "slow" for p in tree.trainable()}
    )
    assert to_spec(partition, tree).rules == (Rule(MARKUP, "fast"), Rule("*", "slow"))


def test_equal_names_have_one_fingerprint_whatever_the_shapes() -> None:
    def tree(*names: str, size: int = 1) -> LayerTree:
        parameters = tuple(ParameterInfo(name, (size,), size, True) for name in names)
        return LayerTree("x", (1,), make_node("", "Root", parameters=parameters))

    assert tree("a", "b").fingerprint == tree("a", "b", size=3).fingerprint
    assert len({tree("a", "b").fingerprint, tree("b", "a").fingerprint, tree("a").fingerprint}) == 3
    assert len(tree("a").fingerprint) == 8
