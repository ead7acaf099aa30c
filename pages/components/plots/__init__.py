"""From recorded curves to plots: every module but `live_plot` is pure."""
