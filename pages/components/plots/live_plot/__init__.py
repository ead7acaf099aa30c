"""Live plots: plotly in the browser, kept up to date without losing the user's zoom.

`st.plotly_chart` builds a new chart whenever its data change and forgets the zoom, so this is a component of our own
that calls `Plotly.react`. Only a two-line loader is handed to Streamlit inline, since inline code travels with every
message; it imports the real script from a folder that the server serves. That folder is declared through Components
v1: it works from a plain clone and under any main script, which an `asset_dir` (installed distributions only) and
static serving (one folder beside the main script) do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v1 import declare_component

from multirate_core.metrics import Metric
from pages.components.plots.charts import race_figure, race_summary, sweep_figure, sweep_summary
from pages.components.plots.curves import RaceCurves
from pages.components.plots.lines import Axis
from pages.components.plots.live_plot.wire import pack

__all__ = ["live_plot", "sweep_plot"]

FRONTEND = Path(__file__).parent / "frontend"

_LOADER = """
export default (component) => {
  const script = import(new URL(component.data[0].script, location.origin).href);
  script.then((plots) => plots.draw(component));
  return () => script.then((plots) => plots.close(component.parentElement));
};
"""

_plot = st.components.v2.component("multirate_explorer.live_plot", js=_LOADER, isolate_styles=False)


def live_plot(races: Sequence[tuple[str, RaceCurves]], axis: Axis, key: str) -> None:
    """Show tests, loss, time per step and the strip of gradients; call it again to bring it up to date.

    Zoom and hidden arms stay as they are for as long as the races and the axis are the same.

    Args:
        races: a title for the legend ("" for a race that is shown alone) and the curves of each race. None at all
            shows an empty place and lets the browser load plotly meanwhile.
        axis: what x counts: "seconds" (of training), "steps" or "epochs".
        key: of this plot in the page.
    """
    _show(_race_payload(tuple(races), axis), key)


def sweep_plot(sweep: Sequence[tuple[float, float | None]], place: int, key: str, metric: Metric = "accuracy") -> None:
    """Show the speed-up to reach a target, against the target.

    Args:
        sweep: target and speed-up, None where the target was not reached.
        place: of the arm among the race's arms.
        key: of this plot in the page.
        metric: what the targets are values of.
    """
    _show({**pack(sweep_figure(sweep, place, metric)), "summary": sweep_summary(sweep, metric)}, key)


def _show(payload: dict[str, Any], key: str) -> None:
    # Not the dict itself: Streamlit would look for tables among its values, at every refresh.
    _plot(key=key, data=[{**payload, "script": _script_url()}])


@lru_cache(maxsize=64)
def _race_payload(races: tuple[tuple[str, RaceCurves], ...], axis: Axis) -> dict[str, Any]:
    """Return what the browser needs. Tabs that show the same curves, which compare by identity, share it."""
    if not races:
        return {"figure": None, "arrays": [], "summary": "No race yet."}
    return {**pack(race_figure(races, axis)), "summary": race_summary(races)}


@lru_cache(maxsize=1)
def _script_url() -> str:
    """Return where the browser finds the script, and see to it that this process's server serves the folder.

    Once for a process, at the first run of a page: a declaration searches all loaded modules for its caller, which
    would cost every refresh more than the plots do. The version in the address makes browsers drop an older script.
    """
    served = declare_component("frontend", path=FRONTEND)
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{'/' + base if base else ''}/component/{served.name}/live_plot.js?v={_version()}"


def _version() -> str:
    texts = [path.read_bytes() for path in sorted(FRONTEND.glob("live_plot*"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]
