"""The plots as one HTML file that anyone can open, zoom and keep, with plotly inside it. No streamlit."""

from __future__ import annotations

from collections.abc import Sequence

from pages.components.plots.charts import race_figure
from pages.components.plots.curves import RaceCurves
from pages.components.plots.lines import Axis


def plots_html(races: Sequence[tuple[str, RaceCurves]], axis: Axis) -> str:
    """Return the live plots as they are now, about 5 MB: no network is needed to look at them.

    Args:
        races: as for `live_plot`.
        axis: what x counts.
    """
    import plotly.graph_objects as go  # half a second: only for those who ask

    figure = go.Figure(race_figure(races, axis))
    figure.update_layout(template="plotly_white", autosize=True)
    return str(figure.to_html(full_html=True, include_plotlyjs=True, config={"displaylogo": False, "responsive": True}))
