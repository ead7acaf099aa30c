"""A look at the chosen data in a dialog: counts, samples, problems. Whatever the files say is shown as plain text."""

from __future__ import annotations

import base64

import streamlit as st

from multirate_core.data.preview import PreviewError, PreviewRequest, request_of
from multirate_core.data.preview_form import ClassCount, DataPreview, Edges, Lengths, Sample
from multirate_core.errors import MultirateError
from pages.components import state
from pages.components.resources import data_preview
from pages.components.settings import data_config, in_words_of_the_page, model_config
from pages.components.text import percent, plain
from pages.components.tree_source import with_allowed_paths

POLL_S = 0.5
MOST_BARS = 30
BAR_PX, BARS_AROUND_PX = 22, 140
PART_COLOURS = ("#3d83c4", "#d58a2e")  # training, test; in light and dark
THUMBNAIL_PX = 96
MOST_LABEL_CHARACTERS = 40


def preview_button() -> None:
    """Draw the button, and the dialog after it was pressed."""
    st.button("Look at the data", icon=":material/search:", on_click=_open, help="Counts, samples and problems.")
    if st.session_state.looking is not None:
        _dialog()


def _open() -> None:
    try:
        settings = with_allowed_paths(state.settings())
        st.session_state.looking = request_of(data_config(settings), model_config(settings))
    except MultirateError as error:
        st.session_state.looking = in_words_of_the_page(str(error))


def _close() -> None:
    st.session_state.looking = None


@st.dialog("A look at the data", width="large", on_dismiss=_close)
def _dialog() -> None:
    request = st.session_state.looking
    if isinstance(request, str):
        st.error(plain(request))
        return
    try:
        found = data_preview(request)
    except MultirateError as error:
        st.error(plain(error))
        return
    if found is None:
        st.fragment(_wait, run_every=POLL_S)(request)
    elif isinstance(found, PreviewError):
        st.error(plain(found.message))
    else:
        _show(found)


def _wait(request: PreviewRequest) -> None:
    st.info("Reading the data. This takes up to half a minute.", icon=":material/hourglass_top:")
    if data_preview(request) is not None:
        st.rerun()


def _show(found: DataPreview) -> None:
    counts = f"{found.train_samples:,} training and {found.test_samples:,} test {found.holds}"
    st.markdown(f"**{plain(found.title)}** · {counts} in {len(found.classes):,} classes")
    for problem in found.problems:
        st.warning(plain(problem))
    _class_balance(found.classes)
    if found.holds == "images":
        _pictures(found.samples)
    else:
        _texts(found.samples)
    for fact in _facts(found):
        st.caption(plain(fact))


def _class_balance(classes: tuple[ClassCount, ...]) -> None:
    """Draw a bar per class, the most frequent ones if there are many."""
    shown = classes
    if len(classes) > MOST_BARS:
        shown = tuple(sorted(classes, key=lambda each: -each.train)[:MOST_BARS])
        st.caption(f"The {MOST_BARS} largest of {len(classes):,} classes.")
    table = {
        "Class": [_short(each.name) for each in shown],
        "Training": [each.train for each in shown],
        "Test": [each.test for each in shown],
    }
    st.bar_chart(
        table,
        x="Class",
        y=["Training", "Test"],
        x_label="",
        y_label="samples",
        color=list(PART_COLOURS),
        horizontal=True,
        sort=False,
        height=BAR_PX * len(shown) + BARS_AROUND_PX,
        alt="Training and test samples of every class: "
        + ", ".join(f"{each.name} {each.train} and {each.test}" for each in shown),
    )


def _pictures(samples: tuple[Sample, ...]) -> None:
    if samples:
        st.image(
            [base64.b64decode(each.content) for each in samples],
            caption=[plain(_short(each.label)) for each in samples],
            width=THUMBNAIL_PX,
            output_format="PNG",
            alt=[_short(each.label) for each in samples],
        )


def _texts(samples: tuple[Sample, ...]) -> None:
    if samples:
        rows = [(_short(each.label), " ".join(each.content.split())) for each in samples]
        st.table([{"Class": plain(label), "Text": plain(text)} for label, text in rows], hide_index=True)


def _short(label: str) -> str:
    return label if len(label) <= MOST_LABEL_CHARACTERS else label[: MOST_LABEL_CHARACTERS - 1] + "…"


def _facts(found: DataPreview) -> list[str]:
    """Return sizes, duplicates and notes, one sentence each."""
    facts = [_edges(found.edges)] if found.edges else []
    facts += [_lengths(found.lengths)] if found.lengths else []
    both = found.duplicates
    if not both.in_both and not both.conflicting:
        facts.append(f"No duplicates among {both.train:,} training and {both.test:,} test {found.holds}.")
    return [*facts, *found.notes]


def _edges(found: Edges) -> str:
    return (
        f"Edges of {found.files:,} files: the smallest {found.smallest:,} pixels, the median of the shorter ones "
        f"{found.median:,}, the largest {found.largest:,}."
    )


def _lengths(found: Lengths) -> str:
    cut = "" if found.cut_share is None else f" {percent(found.cut_share)} are cut after {found.limit:,}."
    return (
        f"{found.unit.capitalize()} of {found.texts:,} texts: the median is {found.median:,}, 95 % have at most "
        f"{found.percentile_95:,}.{cut}"
    )
