"""`data`: print what a look at the data finds, without a race."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from multirate_core.cli.settings import data_config, model_config
from multirate_core.data.preview import preview
from multirate_core.data.preview_form import DataPreview, Edges, Lengths, to_json
from multirate_core.presets import race_preset

MOST_CLASSES = 30  # that are listed


def print_data(options: Namespace) -> int:
    """Print counts, sizes, duplicates, problems and a few texts; with --json everything in one line."""
    chosen = race_preset(options.preset)
    found = preview(data_config(options, chosen), model_config(options, chosen))
    print(to_json(found) if options.json else "\n".join(preview_lines(found)))
    return 0


def preview_lines(found: DataPreview) -> Iterator[str]:
    """Yield a preview as people read it on a terminal; what the files hold is shown with its control characters."""
    yield f"{found.title}: {found.train_samples:,} training and {found.test_samples:,} test {found.holds}"
    yield f"{'class':<32}{'training':>10}{'test':>10}"
    for each in found.classes[:MOST_CLASSES]:
        yield f"{_printable(each.name)[:31]:<32}{each.train:>10,}{each.test:>10,}"
    if len(found.classes) > MOST_CLASSES:
        yield f"and {len(found.classes) - MOST_CLASSES:,} more classes"
    if found.edges is not None:
        yield _edges(found.edges)
    if found.lengths is not None:
        yield _lengths(found.lengths)
    both, what = found.duplicates, found.holds
    yield f"duplicates: {both.in_both:,} of {both.test:,} test {what} are among {both.train:,} training {what}"
    yield from (f"problem: {_printable(problem)}" for problem in found.problems)
    yield from map(_printable, found.notes)
    if found.holds == "texts":
        yield from (f"  {_printable(one.label)}: {_printable(one.content)}" for one in found.samples)


def _edges(found: Edges) -> str:
    return (
        f"edges in pixels: smallest {found.smallest:,}, median of the shorter ones {found.median:,}, largest "
        f"{found.largest:,} ({found.files:,} files)"
    )


def _lengths(found: Lengths) -> str:
    share = "" if found.cut_share is None else f", {found.cut_share:.1%} are cut after {found.limit:,}"
    return (
        f"{found.unit} per text: median {found.median:,}, 95 % have at most {found.percentile_95:,}{share} "
        f"({found.texts:,} texts)"
    )


def _printable(text: str) -> str:
    """Return a text that cannot move the cursor or colour the terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in " ".join(text.split()))
