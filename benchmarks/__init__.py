"""What the project promises about speed and about the digits, measured: `python -m benchmarks`, or one by its name.

Every benchmark prints one line of JSON and keeps it in `benchmarks/results/`; `python -m benchmarks.report` makes
docs/measurements.md from those files.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
