"""Take it with you: the partition as a file, the lines for your own training loop, and the command line."""

from __future__ import annotations

import streamlit as st

from multirate_core.cli.command_line import command_line
from multirate_core.config import PartitionSpec, RaceConfig
from multirate_core.errors import MultirateError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import files
from pages.components.board.partition_panel import load_file
from pages.components.board.snippet import snippet
from pages.components.text import plain


def take_home(spec: PartitionSpec, config: RaceConfig | None, tree: LayerTree) -> None:
    """Draw downloads and snippets for the partition on the board.

    Drawn only when unfolded: the browser fetches and runs 2 MB of Streamlit's code for them.
    """
    folder = st.expander("Take it with you", key="in:take_home", on_change="rerun")
    if not folder.open:
        return
    with folder:
        left, right = st.columns(2, gap="medium")
        with left:
            _file(spec, tree)
        with right:
            st.markdown("**Command line**, for the same race")
            if config is not None:
                _line(config, tree)
        if config is not None:
            st.markdown("**In your own training loop**")
            st.code(snippet(spec, config), language="python", wrap_lines=True)


def _line(config: RaceConfig, tree: LayerTree) -> None:
    named = [arm for arm in config.arms if arm.name == arm.kind]
    if named:
        st.code(command_line(config, _file_name(tree)), language="sh", wrap_lines=True)
    if len(named) < len(config.arms):
        st.caption("Pinned partitions have no place on the command line: it races the other arms only.")


def _file(spec: PartitionSpec, tree: LayerTree) -> None:
    st.markdown("**Partition file**, for the command line and for later")
    text, name = files.dumps(spec), _file_name(tree)
    st.download_button("Download the partition", text, name, "application/json", on_click="ignore")
    st.file_uploader(
        "Load a partition file", type="json", max_upload_size=1, key="in:file", on_change=_load, args=(tree,)
    )
    if st.session_state.get("file_problem"):  # beside the file: the top of the page is out of sight from here
        st.warning(plain(st.session_state.file_problem))


def _file_name(tree: LayerTree) -> str:
    return f"{tree.model}.multirate.json"


def _load(tree: LayerTree) -> None:
    upload = st.session_state.get("in:file")
    st.session_state.file_problem = ""
    if upload is None:
        return
    try:
        load_file(upload.getvalue(), tree)
    except MultirateError as error:
        st.session_state.file_problem = f"{upload.name[:80]} was not loaded: {error}"
