"""The settings on the Explore page: model, data, k and budget in view, the rest folded."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from multirate_core.backends import devices_if_known
from multirate_core.config import BASE_TITLES, GroupSpec
from multirate_core.data.catalog import DATASETS
from multirate_core.data.paths import allowed_folders
from multirate_core.errors import MultirateError
from multirate_core.machine import default_threads
from multirate_core.metrics import METRIC_INFO
from multirate_core.models.own_sources import choices
from pages.components import state
from pages.components.board.partition_panel import period_input
from pages.components.data_preview import preview_button
from pages.components.settings import (
    ARM_KINDS,
    AUGMENTS,
    BASES,
    BUDGETS,
    DATA_PLACE,
    LABELS,
    MEMORIES,
    PRECISIONS,
    SPLITS,
    WEIGHTS,
    Settings,
    advice,
)
from pages.components.text import plain
from pages.components.uploads import upload

ARM_TITLES = {"multirate": "Multirate", "frozen": "Frozen"}
ARMS_HELP = """{base} trains all layers at every step. Multirate takes the board's groups. Frozen trains only the groups
of period 1 and leaves the others as they were."""
PRECISION_TITLES = {"float32": "float32", "bf16": "bf16"}
PRECISION_HELP = """bf16: the forward pass and the loss under autocast; parameters and updates stay float32.
The same for all arms."""
MEMORY_TITLES = {"plain": "Plain", "lean": "Lean"}
MEMORY_HELP = """Lean: on the steps that need the slow part's gradients, its activations are computed again instead of
kept. The same numbers, less memory, a little more time."""
COMPILE_HELP = """torch.compile of every arm's network. Compiling takes seconds to minutes per arm, none of them
training seconds; it needs a C++ compiler on the server."""
SCHEDULE_TITLES = {"constant": "Constant", "cosine": "Cosine", "linear": "Linear to 0", "one_cycle": "One cycle"}
SCHEDULE_HELP = """How the learning rate goes over the run, the same for all arms; the one above is its largest. With a
budget in seconds the run is each arm's own training seconds, so every arm's schedule ends when its budget does."""
WARM_UP_HELP = """The learning rate rises in a straight line from a hundredth. One cycle has its own rise: 0 is its
usual 0.3."""
SMOOTHING_HELP = "Of the training loss only: tests have the plain cross-entropy."
CLIP_HELP = """Clips the gradients of a step by their norm, taken over all that there are: on most of multirate's steps
those of the fast groups alone. What slow groups hold is not clipped again."""
DECAY_NORMS_HELP = "Off: parameters of one dimension are left without weight decay."
ACCUMULATE_HELP = """Each batch goes through the network in so many parts: less memory, and the same step but for
rounding and BatchNorm, which sees one part at a time."""
EVALUATIONS_HELP = """At about equal distances of training time, and after every epoch. Testing is not counted as
training time, but with a large test part it takes longer than training: test less often, or on fewer samples."""
METRIC_HELP = """What targets, answers and the upper plot are about, on the test part. Every test computes them all.
Where one class is much more frequent than the others, accuracy says little."""
SPLIT_TITLES = {"own": "The set's own", "random": "Random"}
SPLIT_HELP = """What is tested on. Its own: the test part of the set, or a fifth of every class where it has none.
Random: a share of every class, cut out of the training part by the first seed; the set's own test part is left out."""
AUGMENT_TITLES = {"none": "None", "flip": "Flips", "crop_flip": "Flips and crops"}
AUGMENT_HELP = """Of training images, drawn anew for each in every epoch, the same for all arms: half are mirrored from
left to right; crops move them by up to an eighth of their edge."""
WEIGHT_TITLES = {"pretrained": "Pretrained", "none": "Random", "file": "From a file"}


def main_settings(groups: tuple[GroupSpec, ...]) -> DeltaGenerator:
    """Draw the four settings that everybody needs; return the place for the button that starts the race."""
    with st.container(key="main_settings"):  # page.css breaks the row in two where it is narrow
        model, data, k, budget, unit, button = st.columns([2.9, 2.9, 1.5, 1.5, 2.2, 2], vertical_alignment="bottom")
    with model:
        _select("Model", "model", {name: info.title for name, info in choices().items()}, on_change=_follow_model)
    with data:
        _select("Data", "data", {name: info.title for name, info in DATASETS.items()}, on_change=_follow_data)
    with k:
        if len(groups) > 1:
            period_input(groups[1], "k" if groups[1].name == "slow" else f"k of {plain(groups[1].name)}")
    with unit:
        st.segmented_control(
            "Budget in", BUDGETS, key=state.field_key("budget"), required=True, persist_state="session", width="stretch"
        )
    with budget:
        _budget_input()
    return button


def more_settings() -> None:
    """Draw the folded settings, once they are unfolded: twenty widgets are a tenth of a new page's time."""
    folder = st.expander("More settings", key="in:more_settings", on_change="rerun")
    if not folder.open:
        return
    with folder:
        left, middle, right = st.columns(3, gap="medium")
        with left:
            st.markdown("**Weights and data**")
            _weights_and_data()
        with middle:
            st.markdown("**Recipe, the same for all arms**")
            _recipe()
        with right:
            st.markdown("**Race**")
            _race()


def _follow_model() -> None:
    """Offer data that the new network can take, and its usual recipe; a source was typed for another network."""
    state.set_field("source", "")
    takes = choices()[st.session_state[state.field_key("model")]].takes
    if DATASETS[st.session_state[state.field_key("data")]].holds != takes:
        state.set_field("data", next(name for name, info in DATASETS.items() if info.holds == takes))
    recommend()


def _follow_data() -> None:
    """Offer a network that takes the new data, and its usual recipe."""
    holds = DATASETS[st.session_state[state.field_key("data")]].holds
    if choices()[st.session_state[state.field_key("model")]].takes != holds:
        state.set_field("model", next(name for name, info in choices().items() if info.takes == holds))
    recommend()


def recommend() -> None:
    """Follow a change of model, data or base rule with their usual recipe, but keep what the user has typed."""
    now, default = state.settings(), Settings()
    before = advice(*st.session_state.get("advised_for", (default.model, default.data, default.base)))
    for name, value in advice(now.model, now.data, now.base).items():
        if getattr(now, name) == before[name]:
            state.set_field(name, value)
    st.session_state.advised_for = (now.model, now.data, now.base)


def _budget_input() -> None:
    if st.session_state[state.field_key("budget")] == "seconds":
        help_text = "Every arm trains for so many training seconds (evaluation and loading not counted)."
        _number("seconds", 10.0, help_text, "%.5g")
    else:
        _number("epochs", 1.0, "Every arm sees the training images so many times.")


def _weights_and_data() -> None:
    info, data = (
        choices()[st.session_state[state.field_key("model")]],
        DATASETS[st.session_state[state.field_key("data")]],
    )
    if info.maker == "timm":
        _text("Name in timm", "source", "Such as resnet18.a1_in1k or vit_tiny_patch16_224.")
    elif info.maker == "hugging_face":
        usual = f"{info.hub}, if left empty" if info.hub else "owner/name"
        _text("Folder or hub name", "source", f"A folder on the server, or a name on Hugging Face's hub: {usual}.")
    _segmented("Weights", "weights", WEIGHTS, WEIGHT_TITLES)
    if st.session_state[state.field_key("weights")] == "file":
        _text("Weights file on the server", "weights_path", ".safetensors, .pth, .pt or .th: a plain state dict.")
    st.caption(plain(info.note))
    if data.source in ("folder", "table"):
        upload(data.source)
    if data.source == "hub":
        _text(DATA_PLACE["hub"], "data_path", f"A folder, or owner/name or owner/name:configuration. {_allowed_text()}")
    elif data.source != "shipped":
        _text(DATA_PLACE["files"], "data_path", _allowed_text())
    if data.downloads:
        _toggle("Download it if it is missing", "download")
    if data.source in ("folder", "photos", "table", "hub"):
        what = "Unreadable images" if data.holds == "images" else "Unreadable rows"
        _segmented(what, "bad_images", ("refuse", "skip"), {"refuse": "Refuse", "skip": "Skip"})
    if data.source in ("table", "hub"):
        _text("Column of the texts", "text_column", "Its name, or its place from 1; empty: found by name.")
        _text("Column of the labels", "label_column", "Its name, or its place from 1; empty: found by name.")
    st.caption(plain(data.note))
    preview_button()
    if data.holds == "images":
        _number("image_size", 8.0, zero="the data's own")
        _segmented(LABELS["augment"], "augment", AUGMENTS, AUGMENT_TITLES, AUGMENT_HELP)
    else:
        _number("max_tokens", 8.0, "Longer texts are cut.", zero="128 at most")
    _number("train_images", 100.0, zero="all")
    _number("test_images", 100.0, zero="all")
    _number("num_classes", 1.0, zero="the data's own")
    with st.popover("Test part", width="stretch"):
        _segmented(LABELS["split"], "split", SPLITS, SPLIT_TITLES, SPLIT_HELP)
        if st.session_state[state.field_key("split")] == "random":
            _number("validation_share", 0.05, "Of every class, 0.05 to 0.5.", "%.5g")


def _allowed_text() -> str:
    try:
        return plain(f"Allowed: {', '.join(map(str, allowed_folders())) or 'none'}")
    except MultirateError as error:
        return plain(error)


def base_title() -> str:
    """Return what people call the base rule that is chosen: "SGD" or "AdamW"."""
    return BASE_TITLES[str(st.session_state[state.field_key("base")])]


def _recipe() -> None:
    _segmented("Base rule", "base", BASES, dict(BASE_TITLES), on_change=recommend)
    sgd = st.session_state[state.field_key("base")] == "sgd"
    _number("lr", 0.001, f"The per-step size h/k: what plain {base_title()} uses.", "%.5g")
    if sgd:  # AdamW has none of its own
        _number("momentum", 0.05, None, "%.8g")
    _number("weight_decay", 0.0001, None if sgd else "Decoupled: it is not part of the gradient.", "%.5g")
    _number("batch_size", 8.0)
    _select(LABELS["schedule"], "schedule", SCHEDULE_TITLES, help=SCHEDULE_HELP)
    _toggle("Linear drift", "drift", "Slow groups move at every step. Off: one jump per cycle.")
    with st.popover("More of the recipe", width="stretch"):
        _more_of_the_recipe()


def _more_of_the_recipe() -> None:
    _number("warmup", 0.05, WARM_UP_HELP, "%.5g")
    _number("label_smoothing", 0.05, SMOOTHING_HELP, "%.5g")
    _number("clip_norm", 0.5, CLIP_HELP, "%.5g", zero="none")
    _toggle("Decay norms and biases", "decay_norms", DECAY_NORMS_HELP)
    _number("accumulate", 1.0, ACCUMULATE_HELP)
    if st.session_state[state.field_key("base")] == "sgd":
        _toggle(LABELS["nesterov"], "nesterov", "Looks ahead along the new momentum; for all arms.")


def _race() -> None:
    titles = {"sgd": base_title(), **ARM_TITLES}
    st.pills(
        "Arms",
        ARM_KINDS,
        selection_mode="multi",
        format_func=lambda kind: titles[kind],
        key=state.field_key("arms"),
        help=ARMS_HELP.format(base=base_title()),
        persist_state="session",
    )
    _number("seeds", 1.0, "Every arm once per seed: a verdict needs several.")
    _select("Device", "device", {name: name for name in _devices()})
    _number("threads", 1.0, "One core is left free, so that the page answers.", zero=str(default_threads()))
    _segmented("Precision", "precision", PRECISIONS, PRECISION_TITLES, PRECISION_HELP)
    _segmented(LABELS["memory"], "memory", MEMORIES, MEMORY_TITLES, MEMORY_HELP)
    with st.popover("Rarely changed", width="stretch"):
        _rarely_changed()


def _rarely_changed() -> None:
    if DATASETS[st.session_state[state.field_key("data")]].holds == "images":
        _toggle(
            "Channels last", "channels_last", "Convolution weights and images with the channels innermost in memory."
        )
    _toggle("Compile", "compile", COMPILE_HELP)
    _number("evaluations", 1.0, EVALUATIONS_HELP)
    titles = {name: info.long_title for name, info in METRIC_INFO.items()}
    _select("Judged by", "metric", titles, help=METRIC_HELP)


def _devices() -> list[str]:
    """Return auto, this machine's devices, and the one that a link or a race from elsewhere names."""
    chosen = st.session_state[state.field_key("device")]
    return list(dict.fromkeys(["auto", *(devices_if_known() or ("cpu",)), chosen]))


def _select(label: str, name: str, titles: dict[str, str], on_change: object = None, help: str | None = None) -> None:
    st.selectbox(
        label,
        list(titles),
        format_func=lambda key: titles[key],
        key=state.field_key(name),
        help=help,
        on_change=on_change,  # type: ignore[arg-type]
        persist_state="session",
    )


def _segmented(
    label: str,
    name: str,
    options: tuple[str, ...],
    titles: dict[str, str],
    help: str | None = None,
    on_change: Callable[[], None] | None = None,
) -> None:
    st.segmented_control(
        label,
        options,
        format_func=lambda key: titles[key],
        key=state.field_key(name),
        required=True,
        help=help,
        on_change=on_change,
        persist_state="session",
    )


def _number(name: str, step: float, help: str | None = None, format: str = "%.0f", zero: str = "") -> None:
    """Draw a number; `zero` says what 0 stands for.

    Without bounds and never whole by itself: the browser would keep an older value behind what it shows, and read 9e99
    as 9. What no race can use is said beside the board.
    """
    st.number_input(
        LABELS[name] + (f" (0: {zero})" if zero else ""),
        step=step,
        format=format,
        key=state.field_key(name),
        help=help,
        persist_state="session",
    )


def _text(label: str, name: str, help: str) -> None:
    st.text_input(label, key=state.field_key(name), help=help, max_chars=1_000, persist_state="session")


def _toggle(label: str, name: str, help: str | None = None) -> None:
    st.toggle(label, key=state.field_key(name), help=help, persist_state="session")
