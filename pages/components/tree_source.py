"""Which layer tree the Explore page shows: that of the chosen network for the chosen data."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import streamlit as st

from multirate_core.config import DataConfig
from multirate_core.data.catalog import DATASETS, DataShape, data_shape, usual_shape
from multirate_core.data.hub_facts import HubError, HubFacts, is_hub_name, read, request_of, require_leave
from multirate_core.data.paths import require_allowed
from multirate_core.errors import ConfigError, DataError, MultirateError
from multirate_core.layers.describe import DescribeError, TreeRequest
from multirate_core.layers.tree import LayerTree
from multirate_core.models.own_sources import choices
from pages.components import state
from pages.components.resources import facts_of_hub_data, layer_tree
from pages.components.settings import DATA_PLACE, Settings, data_config, in_words_of_the_page, model_config
from pages.components.text import plain

POLL_S = 0.5
HUB_NAME = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}")
CLASSES_UNTIL_KNOWN = 10


@dataclass(frozen=True)
class TreeSource:
    """What the board shows.

    Args:
        settings: the page's, with the typed paths made absolute.
        tree: None while it is being made.
        problem: why no race can start from it, "" if one can.
        shape: of the data; None where the tree is missing.
    """

    settings: Settings
    tree: LayerTree | None
    problem: str
    shape: DataShape | None = None


def current_tree() -> TreeSource:
    """Return the tree for the settings; a problem with the data still shows the tree, with a head of ten classes."""
    settings = state.settings()
    info = choices()[settings.model]
    try:
        settings = with_allowed_source(settings)
    except MultirateError as error:
        return TreeSource(settings, None, str(error))
    try:
        settings = with_allowed_paths(settings)
        if not _can_be_told(data_config(settings)):
            return TreeSource(settings, None, "")  # the page waits
        shape, problem = _shape(data_config(settings), settings.model), ""
    except MultirateError as error:
        shape = DataShape(CLASSES_UNTIL_KNOWN, usual_shape(info), (), 0, 0)
        problem = in_words_of_the_page(str(error))
        if DATASETS[settings.data].source != "shipped" and "More settings" not in problem:
            problem += " " + _place(DATA_PLACE.get(DATASETS[settings.data].source, DATA_PLACE["files"]))
    model = model_config(settings)
    try:
        answer = layer_tree(TreeRequest(model.name, shape.num_classes, shape.input_shape, model.source))
    except MultirateError as error:
        return TreeSource(settings, None, str(error))
    if isinstance(answer, DescribeError):
        return TreeSource(settings, None, answer.message)
    return TreeSource(settings, answer, problem, shape)


def with_allowed_source(settings: Settings) -> Settings:
    """Return the settings with the folder of a network from Hugging Face made absolute; errors as below."""
    info = choices()[settings.model]
    if info.maker != "hugging_face" or not settings.source or _is_hub_name(settings.source):
        return settings
    try:
        return replace(settings, source=str(require_allowed(settings.source)))
    except MultirateError as error:
        raise ConfigError(f"{error} {_place('Folder or hub name')}") from error


def with_allowed_paths(settings: Settings) -> Settings:
    """Return the settings with every path of data and weights in use made absolute.

    Raises:
        ConfigError: a path leads outside the folders that the server's owner allows.
    """
    found = {}
    source = DATASETS[settings.data].source
    if settings.data_path and source != "shipped" and not (source == "hub" and is_hub_name(settings.data_path)):
        found["data_path"] = str(require_allowed(settings.data_path))
    if settings.weights_path and settings.weights == "file":
        try:
            found["weights_path"] = str(require_allowed(settings.weights_path))
        except MultirateError as error:
            raise ConfigError(f"{error} {_place('Weights file on the server')}") from error
    return replace(settings, **found)


def _is_hub_name(source: str) -> bool:
    """Tell a name on the hub, owner/name, from a path."""
    return HUB_NAME.fullmatch(source) is not None


def _place(field: str) -> str:
    return f"Its path stands under More settings, in the field “{field}”."


def _can_be_told(config: DataConfig) -> bool:
    """Tell whether the shape of the data is at hand: data from Hugging Face are read by another process.

    Raises:
        DataError: that process could not read them.
    """
    if DATASETS[config.name].source != "hub":
        return True
    request = request_of(config)
    if not isinstance(read(request), HubFacts):
        require_leave(request.path, request.download)  # before a process is started, or an older failure shown
    found = facts_of_hub_data(request)
    if isinstance(found, HubError):
        raise DataError(found.message)
    return found is not None


@st.cache_data(ttl=30, max_entries=64, show_spinner=False)
def _shape(config: DataConfig, model: str) -> DataShape:
    return data_shape(config, choices()[model])


def show_missing_tree(source: TreeSource) -> None:
    """Say why there is no board, or wait for the tree and draw the page again when it is there."""
    if source.problem:
        st.error(plain(source.problem))
    else:
        st.fragment(_wait, run_every=POLL_S)()


def _wait() -> None:
    if DATASETS[state.settings().data].source == "hub":
        what = "Reading the data, then the layers of this network. A first download may take minutes."
    else:
        what = "Reading the layers of this network. The first time takes a few seconds."
    st.info(what, icon=":material/hourglass_top:")
    source = current_tree()
    if source.tree is not None or source.problem:
        st.rerun()
