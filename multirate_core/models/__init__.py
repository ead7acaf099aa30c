"""Networks by name, their heads and their weights; `catalog` needs no torch, the rest does."""
