"""Less memory for the same numbers: blocks keep their inputs only, on the steps that need the slow part's activations.

Most steps of a multirate run stop their backward pass before the slow part and save nothing there. Only a *full* step,
on which some group of period > 1 is due, keeps every activation, and it alone decides how much memory a run needs.
`make_lean` recomputes the blocks of a model on full steps, at the cost of about one forward pass per cycle.
"""

from multirate_core.lean.lean import Lean, make_lean

__all__ = ["Lean", "make_lean"]
