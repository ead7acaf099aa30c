"""Multirate training (Vlaar & Leimkuhler, ICML 2022): layer trees, partitions, the optimiser, races and their store.

Nothing here imports streamlit or plotly, and importing this package does not import torch.
"""

__version__ = "0.1.0"
