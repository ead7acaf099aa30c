"""Which layer tree the Explore page shows: that of the chosen network for the chosen data."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from multirate_core.config import DataConfig
from multirate_core.data.catalog import DataShape, data_shape
from multirate_core.data.paths import require_allowed
from multirate_core.errors import MultirateError
from multirate_core.layers.describe import DescribeError, TreeRequest
from multirate_core.layers.tree import LayerTree
from multirate_core.models.catalog import model_info
from pages.components import state
from pages.components.resources import layer_tree
from pages.components.settings import Settings, data_config
from pages.components.text import plain

POLL_S = 0.5
CLASSES_UNTIL_KNOWN = 10


@dataclass(frozen=True)
class TreeSource:
    """A tree (None while it is being made), and why no race can start from it ("" if one can)."""

    tree: LayerTree | None
    problem: str


def current_tree() -> TreeSource:
    """Return the tree for the settings; a problem with the data still shows the tree, with a head of ten classes."""
    settings = state.settings()
    info = model_info(settings.model)
    try:
        check_paths(settings)
        shape, problem = _shape(data_config(settings), settings.model), ""
    except MultirateError as error:
        size = settings.image_size or info.image_size
        shape, problem = DataShape(CLASSES_UNTIL_KNOWN, info.channels, size, (), 0, 0), str(error)
    try:
        answer = layer_tree(TreeRequest(settings.model, shape.num_classes, shape.channels, shape.image_size))
    except MultirateError as error:
        return TreeSource(None, str(error))
    if isinstance(answer, DescribeError):
        return TreeSource(None, answer.message)
    return TreeSource(answer, problem)


def check_paths(settings: Settings) -> None:
    """Raise an error unless every path that was typed in the browser lies where the server's owner allows."""
    for path in (settings.data_path, settings.weights_path if settings.weights == "file" else ""):
        if path:
            require_allowed(path)


@st.cache_data(ttl=30, max_entries=64, show_spinner=False)
def _shape(config: DataConfig, model: str) -> DataShape:
    return data_shape(config, model_info(model))


def show_missing_tree(source: TreeSource) -> None:
    """Say why there is no board, or wait for the tree and draw the page again when it is there."""
    if source.problem:
        st.error(plain(source.problem))
    else:
        st.fragment(_wait, run_every=POLL_S)()


def _wait() -> None:
    st.info("Reading the layers of this network. The first time takes a few seconds.", icon=":material/hourglass_top:")
    source = current_tree()
    if source.tree is not None or source.problem:
        st.rerun()
