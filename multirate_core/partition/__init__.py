"""Which parameter is in which group, and how that is written down: patterns, presets, files and links."""
