"""A network as a tree of frozen dataclasses: what a module is, owns and costs. Knows nothing about rates."""
