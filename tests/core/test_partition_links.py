"""The link of a partition: short, exact, and harmless whatever stands in it."""

from __future__ import annotations

import base64
import contextlib
import random
import zlib

import hypothesis.strategies as st
import pytest
import torch
import torchvision
from hypothesis import given, settings
from test_partition import partitions
from tiny_models import TRAINABLE, tree_named, tree_of

from multirate_core.config import GroupSpec
from multirate_core.errors import PartitionError
from multirate_core.layers.build import layer_tree
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import PRESETS, Partition, preset
from multirate_core.partition import links as links_module
from multirate_core.partition.links import MAX_CHARACTERS, decode, encode

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

seeded = settings(derandomize=True, deadline=None, database=None, max_examples=200)


@pytest.fixture(scope="module")
def resnet152() -> LayerTree:
    with torch.device("meta"):
        return layer_tree(torchvision.models.resnet152(), (3, 224, 224), "resnet152", ("fc",))


def sealed(layout: int, body: bytes, tree: LayerTree) -> str:
    """A link whose check sums are right, whatever the body is."""
    return base64.urlsafe_b64encode(links_module._seal(layout, body, tree)).decode().rstrip("=")


@seeded
@given(partitions())
def test_any_partition_comes_back_equal(drawn: tuple[LayerTree, Partition]) -> None:
    tree, partition = drawn
    text = encode(partition, tree)
    assert decode(text, tree) == partition
    assert text.isascii()
    assert all(character.isalnum() or character in "-_" for character in text)


@seeded
@given(st.sampled_from(TRAINABLE), st.text(max_size=40) | st.text("AQgwx_-09", max_size=60))
def test_any_text_gives_a_partition_or_a_partition_error(case: object, text: str) -> None:
    with contextlib.suppress(PartitionError):
        assert isinstance(decode(text, tree_of(case)), Partition)


@seeded
@given(st.sampled_from(TRAINABLE), st.integers(0, 15), st.binary(max_size=60))
def test_any_body_with_right_check_sums_gives_a_partition_or_a_partition_error(
    case: object, layout: int, body: bytes
) -> None:
    tree = tree_of(case)
    for content in (body, zlib.compress(body, wbits=-15)):
        with contextlib.suppress(PartitionError):
            assert isinstance(decode(sealed(layout, content, tree), tree), Partition)


@seeded
@given(partitions(), st.data())
def test_a_changed_character_is_noticed(drawn: tuple[LayerTree, Partition], data: st.DataObject) -> None:
    tree, partition = drawn
    text = encode(partition, tree)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda character: character != text[place]))
    with pytest.raises(PartitionError):
        decode(text[:place] + other + text[place + 1 :], tree)


def test_a_link_of_another_model_is_refused() -> None:
    text = encode(preset("head", tree_named("Nested"), 5), tree_named("Nested"))
    with pytest.raises(PartitionError, match="made for another model than 'Plain'"):
        decode(text, tree_named("Plain"))


def test_a_link_is_refused_where_other_parameters_train() -> None:
    tree = tree_named("Frozen")
    model = next(case for case in TRAINABLE if case.name == "Frozen").build().requires_grad_(True)
    text = encode(preset("head", tree, 5), tree)
    with pytest.raises(PartitionError, match="damaged"):
        decode(text, layer_tree(model, (4,), "Frozen", ("head",)))


def test_links_made_before_rates_are_read_and_written_the_same() -> None:
    tree = tree_named("Plain")
    head = preset("head", tree, 5)
    groups = (GroupSpec("fast", 1), GroupSpec("slow", 5), GroupSpec("third", 20))
    turns = {name: groups[number % 3].name for number, name in enumerate(head.assignment)}
    for text, partition in (
        ("EEMD5R_PAAUH", head),
        ("EEMDNR2NAwEEZmFzdAUEc2xvdxQFdGhpcmQkAQ", Partition(groups, turns)),
    ):
        assert decode(text, tree) == partition
        assert encode(partition, tree) == text


def test_rates_of_groups_are_in_the_link() -> None:
    tree = tree_named("Plain")
    usual = preset("head", tree, 5)
    groups = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 5, 1e-05, ((2, 1), (0.5, 2))))
    text = encode(Partition(groups, usual.assignment), tree)
    assert decode(text, tree) == Partition(groups, usual.assignment)
    assert len(text) < 50


@pytest.mark.parametrize("rates", [b"", b"x", b"1x0x", b"1xx1:0", b"7x2x", b"1x2", b"0xx1:1", b"1xnanx", b"\xff"])
def test_damaged_rates_are_refused(rates: bytes) -> None:
    tree = tree_named("Plain")
    body = b"\x00\x05" + bytes([len(rates)]) + rates + b"\x07"
    with pytest.raises(PartitionError, match="damaged: the rates of its groups"):
        decode(sealed(8, body, tree), tree)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_of_a_large_network_have_links_of_at_most_24_characters(name: str, resnet152: LayerTree) -> None:
    partition = preset(name, resnet152, 5)
    text = encode(partition, resnet152)
    assert decode(text, resnet152) == partition
    assert len(text) <= 24


def test_an_unruly_partition_of_a_large_network_stays_below_130_characters(resnet152: LayerTree) -> None:
    draw = random.Random(0)
    names = [parameter.name for parameter in resnet152.trainable()]
    groups = (GroupSpec("fast", 1), GroupSpec("slow", 5))
    partition = Partition(groups, {name: draw.choice(("fast", "slow")) for name in names})
    assert len(encode(partition, resnet152)) <= 130
    by_layer = {name.rpartition(".")[0]: draw.choice(("fast", "slow")) for name in names}
    layers = Partition(groups, {name: by_layer[name.rpartition(".")[0]] for name in names})
    assert decode(encode(layers, resnet152), resnet152) == layers
    assert len(encode(layers, resnet152)) <= 70


def test_36_groups_with_long_names_come_back(resnet152: LayerTree) -> None:
    groups = tuple(GroupSpec("ü" * 38 + f"{number:02}", 1 + number * 1000) for number in range(36))
    names = [parameter.name for parameter in resnet152.trainable()]
    partition = Partition(groups, {name: groups[number % 36].name for number, name in enumerate(names)})
    assert decode(encode(partition, resnet152), resnet152) == partition


@pytest.mark.parametrize("count", [1, 31, 32, 40])
def test_a_name_of_many_bytes_comes_back(count: int) -> None:
    tree = tree_named("Plain")
    usual = preset("head", tree, 5)
    groups = (GroupSpec("\N{ROCKET}" * count, 1), GroupSpec("slow", 5))
    named = {name: groups[0].name if own == "fast" else own for name, own in usual.assignment.items()}
    partition = Partition(groups, named)
    assert decode(encode(partition, tree), tree) == partition


def test_a_link_made_before_still_reads_the_same() -> None:
    tree = tree_named("Plain")
    name = "\N{ROCKET}" * 31  # 124 bytes
    body = b"\x02" + b"\x01\x04fast" + b"\x07\x7c" + name.encode() + b"\x01"
    assert decode(sealed(0, body, tree), tree).groups == (GroupSpec("fast", 1), GroupSpec(name, 7))


def test_half_a_surrogate_pair_in_a_name_is_refused() -> None:
    tree = tree_named("Plain")
    body = b"\x01\x01\x03" + "\ud800".encode("utf-8", "surrogatepass")
    with pytest.raises(PartitionError, match="damaged: the name of a group is no UTF-8 text"):
        decode(sealed(0, body, tree), tree)


def test_overlong_links_and_bombs_are_refused() -> None:
    tree = tree_named("Plain")
    with pytest.raises(PartitionError, match="at most 16,000 characters"):
        decode("A" * (MAX_CHARACTERS + 1), tree)
    bomb = zlib.compress(bytes(10_000_000), 9, wbits=-15)
    with pytest.raises(PartitionError, match="more or less than a partition"):
        decode(sealed(4, bomb, tree), tree)


@pytest.mark.parametrize("text", ["", "A", "AAAA", "ä", "A A", "AAAA====", "%3Cscript%3E", "\x00" * 20, "\ud800"])
def test_what_is_no_link_is_refused(text: str) -> None:
    with pytest.raises(PartitionError, match="damaged"):
        decode(text, tree_named("Plain"))
