"""Training one lane (an arm at a seed): batches, steps, clocks and tests. No store, no processes, no user interface."""
