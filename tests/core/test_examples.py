"""The examples: they run, they compare what they say they compare, and their statistics are right."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

import pytest
import torch
from torch import nn

from examples import random_subgroups, two_copies
from examples.paired import Comparison, choose, compared_seeds, interval, told, verdict

torch.set_num_threads(1)


def test_an_interval_worked_out_by_hand() -> None:
    low, high = interval([1.0, 2.0, 3.0])  # deviation 1; Student's t of 2 degrees of freedom at 97.5 % is 4.3027
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def test_a_verdict_needs_an_interval_beside_zero() -> None:
    assert [verdict(each) for each in ([1.0, 1.1, 0.9], [-1.0, -1.1, -0.9], [1.0, -0.9, 0.8])] == [
        "better",
        "worse",
        "cannot tell",
    ]
    with pytest.raises(ValueError, match="at least two seeds, got 1"):
        interval([1.0])


def test_the_best_candidate_on_the_mean_of_the_tuning_seeds_is_chosen() -> None:
    asked = []

    def validate(arm: str, options: object, seed: int) -> float:
        asked.append(seed)
        return {0.1: 1.0, 0.2: 5.0, 0.3: 3.0}[options["lr"]] + (seed % 2) * (10 if options["lr"] == 0.3 else 0)

    candidates = {"a": [{"lr": lr} for lr in (0.1, 0.2, 0.3)], "b": [{"lr": lr} for lr in (0.1, 0.3, 0.2)]}
    chosen, tuning = choose(candidates, 2, validate)
    assert chosen == {"a": {"lr": 0.3}, "b": {"lr": 0.3}}
    assert tuning == {"a": [1.0, 5.0, 8.0], "b": [1.0, 8.0, 5.0]}
    assert not set(asked) & set(compared_seeds(100))


def test_arms_with_different_numbers_of_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="as many candidates as the others, got"):
        choose({"a": [{"lr": 1.0}], "b": [{"lr": 1.0}, {"lr": 2.0}]}, 1, lambda *_: 0.0)


def test_differences_are_paired_by_seed_and_told_with_every_seed() -> None:
    scores = {"a": [{"test": 3.0}, {"test": 5.0}], "b": [{"test": 1.0}, {"test": 4.0}]}
    report = told(Comparison({"a": {"lr": 1.0}}, {}, scores), "a", ("b",), ("test",))
    found = report["a against"]["b"]["test"]
    assert (found["mean"], found["each_seed"], found["verdict"]) == (1.5, [2.0, 1.0], "cannot tell")
    assert report["scores"] == {"a": {"test": [3.0, 5.0]}, "b": {"test": [1.0, 4.0]}}


@pytest.mark.slow
@pytest.mark.parametrize("example", [random_subgroups, two_copies])
def test_an_example_prints_one_line_of_json_about_every_arm(
    example: object, capsys: pytest.CaptureFixture[str]
) -> None:
    report = example.main(["--epochs", "1", "--seeds", "2"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == json.loads(json.dumps(report))
    assert set(report["scores"]) == set(example.ARMS)
    for name, others in report.items():
        for against in others.values() if name.endswith("against") else ():
            assert all(len(each["each_seed"]) == 2 for each in against.values())


@pytest.fixture(scope="module")
def few_digits() -> random_subgroups.Images:
    return random_subgroups.load_images(random_subgroups.Settings(train_images=100, validation_images=100), None)


def test_every_arm_is_sgd_where_nothing_rests(few_digits: random_subgroups.Images) -> None:
    settings = replace(random_subgroups.Settings(), epochs=2, batch=20)
    plain = random_subgroups.fit("sgd", {"lr": 0.1}, 1, few_digits, settings)
    assert random_subgroups.fit("drop", {"lr": 0.1, "fraction": 0.0}, 1, few_digits, settings) == plain
    whole = {"lr": 0.1, "fraction": 0.5, "period": 1}
    assert random_subgroups.fit("random_subgroups", whole, 1, few_digits, settings) == plain
    assert random_subgroups.fit("sgd", {"lr": 0.1}, 2, few_digits, settings) != plain


def test_dropped_weights_are_zero_inside_and_get_no_gradient_and_biases_are_kept() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4)), torch.randn(5, 20)
    before = [weight.detach().clone() for weight in model.parameters()]
    with random_subgroups.dropped(model, 0.4, (1, 2)):
        zeros = [weight == 0 for weight in model.parameters()]
        model(x).square().sum().backward()
    for weight, old, zero in zip(model.parameters(), before, zeros, strict=True):
        assert torch.equal(weight, old)
        assert (weight.grad[zero] == 0).all() and (weight.grad[~zero] != 0).any()
        assert zero.any() == (weight.dim() > 1)
    assert 0.3 < zeros[0].float().mean() < 0.5


@pytest.fixture(scope="module")
def patched_digits() -> two_copies.Images:
    return two_copies.load_images(two_copies.Settings(train_images=900, validation_images=100), None)


def test_a_fifth_of_the_training_images_has_no_patch_and_some_have_nothing_else(
    patched_digits: two_copies.Images,
) -> None:
    images, _ = patched_digits.train
    corner, middle = images[:, :, :12, :].flatten(1), images[:, :, 12:19, 12:19].flatten(1)
    only = (corner == 0).all(dim=1)
    assert abs(float(only.float().mean()) - two_copies.ONLY_PATCH) < 0.04
    patches = two_copies.draw_patches(1, 0.2, torch.Generator().manual_seed(two_copies.DATA_SEED)).flatten(2)
    known = (middle.unsqueeze(1) == patches.flatten(0, 1)).all(dim=2).any(dim=1)
    assert abs(float(known.float().mean()) - (1 - two_copies.WITHOUT_PATCH)) < 0.05
    assert known[only].all()


def test_test_parts_differ_in_the_patch_alone_and_two_forms_of_a_patch_have_the_same_mean_in_all_classes(
    patched_digits: two_copies.Images,
) -> None:
    test = patched_digits.test
    clean, augmented, only = (test[name][0] for name in two_copies.PARTS)
    middle = torch.zeros(32, 32, dtype=torch.bool)
    middle[12:19, 12:19] = True
    assert torch.equal(clean[..., ~middle], augmented[..., ~middle])
    assert (only[..., ~middle] == 0).all()
    assert all(torch.equal(labels, test["clean"][1]) for _, labels in test.values())
    means = two_copies.draw_patches(3, 0.2, torch.Generator().manual_seed(0)).mean(dim=1)
    torch.testing.assert_close(means, means[:1].expand_as(means))


@pytest.mark.slow
def test_two_copies_with_period_1_score_as_sgd_does(patched_digits: two_copies.Images) -> None:
    settings = replace(two_copies.Settings(), epochs=1)
    plain = two_copies.fit("sgd_best", {"lr": 0.1}, 1, patched_digits, settings)
    assert two_copies.fit("two_copies", {"lr": 0.1, "period": 1}, 1, patched_digits, settings) == plain


def test_the_plain_arms_take_the_rates_of_the_two_copies(
    patched_digits: two_copies.Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        two_copies,
        "fit",
        lambda _, options, *__: {
            f"{split} {p}": options["lr"] for split in ("validation", "test") for p in two_copies.PARTS
        },
    )
    candidates = {"two_copies": [{"lr": 0.1, "period": 4}], "sgd_best": [{"lr": 0.5}]}
    found = two_copies.compare(patched_digits, replace(two_copies.Settings(), candidates=candidates))
    assert {arm: statistics.fmean(found.values(arm, "mean")) for arm in two_copies.ARMS} == pytest.approx(
        {"sgd_small": 0.1, "sgd_large": 0.4, "two_copies": 0.1, "sgd_best": 0.5}
    )


@pytest.mark.parametrize("example", [random_subgroups, two_copies])
def test_more_images_than_there_are_is_refused(example: object) -> None:
    with pytest.raises(ValueError, match="1200 \\+ 300 images"):
        example.load_images(replace(example.Settings(), train_images=1200), None)
