"""`python -m benchmarks`: all benchmarks one after the other, each in a process of its own, then the report."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks import ROOT

NAMES = (
    "start",
    "board",
    "live",
    "recording",
    "digits",
    "real_input",
    "real_pairs",
    "step_time",
    "memory",
    "predicted_vs_measured",
    "cost_meter",
    "ddp_bytes",
    "from_scratch",
    "fuzz_tables",
    "fuzz_uploads",
)
REST_S = 5.0  # between two benchmarks, so that the processes of one have ended before the next one looks around


def main() -> int:
    """Run the benchmarks that were named, or all; 1 if one of them broke down, 0 also if targets were missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; default all")
    parser.add_argument("--quick", action="store_true", help="few repetitions, keep nothing")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; allowed: {', '.join(NAMES)}")
    broken = [name for name in options.names or NAMES if not _run(name, options.quick)]
    if not options.quick:
        subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=True)
    if broken:
        print(f"broke down: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _run(name: str, quick: bool) -> bool:
    """Run one benchmark in a process of its own; True if it measured, or said what it lacks."""
    print(f"--- {name}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *["--quick"] * quick], cwd=ROOT, check=False)
    time.sleep(REST_S)
    return done.returncode in (0, 3)


if __name__ == "__main__":
    sys.exit(main())
