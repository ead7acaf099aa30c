"""Parameter groups from patterns, for a training loop of one's own."""

from __future__ import annotations

import pytest
import torch
from tiny_models import MARKUP, TRAINABLE, Attention, Case, Frozen, OddNames, Plain, RootOwned, Tied, tree_of
from torch import nn

from multirate_core.errors import ConfigError, PartitionError
from multirate_core.optim import MultirateSGD
from multirate_core.partition import param_groups, preset, resolve, to_spec
from multirate_core.partition.by_name import param_groups_by_rules

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

FAST_AND_SLOW = {"fast": 1, "slow": 5}


def names_in(groups: list[dict], model: nn.Module) -> dict[str, list[str]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {group["name"]: [names[parameter] for parameter in group["params"]] for group in groups}


def test_the_first_rule_that_matches_decides_and_the_order_is_the_models() -> None:
    model = Plain()
    groups = param_groups_by_rules(model, FAST_AND_SLOW, [("norm", "slow"), ("*.bias", "fast"), ("*", "slow")])
    assert names_in(groups, model) == {
        "fast": ["fc.bias"],
        "slow": ["conv.weight", "norm.weight", "norm.bias", "fc.weight"],
    }
    assert [(group["name"], group["period"]) for group in groups] == [("fast", 1), ("slow", 5)]


@pytest.mark.parametrize("case", TRAINABLE, ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["head", "last_n", "all_fast"])
def test_the_rules_of_a_partition_sort_a_model_as_the_partition_does(case: Case, name: str) -> None:
    tree, model = tree_of(case), case.build()
    spec = to_spec(preset(name, tree, 5), tree)
    rules = [(rule.pattern, rule.group) for rule in spec.rules]
    periods = {group.name: group.period for group in spec.groups}
    ours = param_groups_by_rules(model, periods, rules)
    theirs = param_groups(resolve(spec, tree), model)
    assert names_in(ours, model) == names_in(theirs, model)


def test_three_groups_keep_their_periods_and_an_empty_one_is_left_out() -> None:
    periods = {"fast": 1, "slow": 5, "third": 20, "empty": 7}
    groups = param_groups_by_rules(Plain(), periods, [("fc", "fast"), ("norm", "slow"), ("*", "third")])
    assert [(group["name"], group["period"]) for group in groups] == [("fast", 1), ("slow", 5), ("third", 20)]


def test_names_with_markup_and_the_characters_of_globs_are_told_apart() -> None:
    model = OddNames()
    rules = [(MARKUP, "fast"), ("a[[]b]*?.bias", "fast"), ("[[]!x]", "fast"), ("*", "slow")]
    fast = names_in(param_groups_by_rules(model, FAST_AND_SLOW, rules), model)["fast"]
    assert fast == [f"{MARKUP}.weight", f"{MARKUP}.bias", "a[b]*?.bias", "[!x].weight", "[!x].bias"]


def test_parameters_that_do_not_train_need_no_rule() -> None:
    model = Frozen()
    groups = param_groups_by_rules(model, FAST_AND_SLOW, [("head", "fast"), ("body.bias", "slow")])
    assert names_in(groups, model) == {"fast": ["head.weight", "head.bias"], "slow": ["body.bias"]}


def test_a_tied_tensor_counts_once_under_its_first_name() -> None:
    model = Tied()
    groups = param_groups_by_rules(model, FAST_AND_SLOW, [("encoder", "slow"), ("decoder", "fast")])
    assert names_in(groups, model) == {"fast": ["decoder.bias"], "slow": ["encoder.weight", "encoder.bias"]}


def test_a_pattern_for_the_second_name_of_a_tied_tensor_is_refused() -> None:
    with pytest.raises(PartitionError, match=r"only decoder\.weight, which is the same tensor as encoder\.weight"):
        param_groups_by_rules(Tied(), FAST_AND_SLOW, [("decoder.weight", "fast"), ("*", "slow")])


def test_a_last_rule_for_the_rest_may_find_nothing_left() -> None:
    groups = param_groups_by_rules(Plain(), {"all": 1}, [("conv", "all"), ("norm", "all"), ("fc", "all"), ("*", "all")])
    assert len(groups[0]["params"]) == 5


@pytest.mark.parametrize("build", [RootOwned, Attention])
def test_what_a_module_owns_beside_its_children_has_names_too(build: type[nn.Module]) -> None:
    model = build()
    groups = param_groups_by_rules(model, FAST_AND_SLOW, [("head", "fast"), ("*", "slow")])
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("periods", "rules", "words"),
    [
        (FAST_AND_SLOW, [("fc", "fast")], "no rule matches conv.weight, norm.weight, norm.bias. Add a rule"),
        (FAST_AND_SLOW, [("*", "quick")], "unknown group 'quick'; allowed: ['fast', 'slow']"),
        (FAST_AND_SLOW, [("*", "slow")], "no parameter is in a group of period 1 (fast)"),
        (
            FAST_AND_SLOW,
            [("fc", "fast"), ("boddy", "fast"), ("*", "slow")],
            "the pattern 'boddy' matches no parameter of 'Plain'. Its names look like conv.weight",
        ),
        (
            FAST_AND_SLOW,
            [("fc", "fast"), ("fc.bias", "slow"), ("*", "slow")],
            "the pattern 'fc.bias' decides nothing: earlier ones match fc.bias",
        ),
        ({"a": 2, "b": 3}, [("*", "a")], "no group has period 1"),
        ({}, [("*", "a")], "a partition has 1 to 36 groups"),
        ({"fast": 1, "slow": 0}, [("*", "fast")], "period must be a whole number ≥ 1, got 0"),
        ({"fast": 1, "slow": 2.5}, [("*", "fast")], "period must be a whole number ≥ 1, got 2.5"),
        ({"fast": True}, [("*", "fast")], "period must be a whole number ≥ 1, got True"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_words(
    periods: dict[str, int], rules: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        param_groups_by_rules(Plain(), periods, rules)
    assert words in str(caught.value)
    assert isinstance(caught.value, PartitionError) or "period must be" in words


def test_the_groups_are_what_the_optimiser_takes() -> None:
    model = Plain()
    groups = param_groups_by_rules(model, FAST_AND_SLOW, [("fc", "fast"), ("*", "slow")])
    optimizer = MultirateSGD(groups, lr=0.1)
    model(torch.ones(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, False, True, True]
