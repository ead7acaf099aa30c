"""Makes docs/measurements.md from the results: `python -m benchmarks.report`. No number in it is typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT
from benchmarks.__main__ import NAMES
from benchmarks.report_pairs import QUIET_CORES, pair_lines

DOCUMENT = ROOT / "docs" / "measurements.md"
TITLES = {
    "start": "Start",
    "board": "Layer board",
    "live": "Live plots",
    "recording": "Recording and answering during a race",
    "digits": "The digits preset",
    "real_input": "Real input beyond the default",
    "real_pairs": "Real weights on real data",
    "step_time": "Step times",
    "memory": "Memory",
    "predicted_vs_measured": "The cost meter: predicted against measured time",
    "cost_meter": "The cost meter: memory, calibration, prediction",
    "ddp_bytes": "Data-parallel training",
    "from_scratch": "Training from scratch: random subgroups and two copies",
    "fuzz_tables": "Damaged tables of texts",
    "fuzz_uploads": "Damaged uploads",
}
HEAD = """\
# Measurements

Made by `python -m benchmarks.report` from the files in `benchmarks/results/`; `make bench` measures again. Values are
medians or means over the repetitions, the spread is from the smallest to the largest. Targets are for two CPU cores.
"""
RULE = "| --- " * 5 + "|"

Record = Mapping[str, Any]


def read_results(folder: Path = RESULTS) -> dict[str, Record]:
    """Return the records in the folder, by benchmark."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def render(results: Mapping[str, Record]) -> str:
    """Return the document; a benchmark without a result is named with the command that measures it."""
    parts = [HEAD, "\n".join(_overview(results)) + "\n"]
    for name in NAMES:
        parts.append("\n".join([f"## {TITLES[name]}", "", *_section(name, results.get(name))]).rstrip() + "\n")
    return "\n".join(parts)


def is_quiet(record: Record) -> bool:
    """Tell whether the machine had nothing else to do when the benchmark began and when it ended."""
    return bool(max(record["others_cores"], record["others_cores_after"]) <= QUIET_CORES)


def _overview(results: Mapping[str, Record]) -> Iterator[str]:
    yield "| benchmark | targets and checks met | missed | measured | took |"
    yield RULE
    for name in NAMES:
        record = results.get(name)
        if record is None:
            yield f"| {TITLES[name]} | not measured | | | |"
            continue
        held = [each for each in (*record["figures"], *record["checks"]) if each["met"] is not None]
        missed = "; ".join(each["title"] for each in held if not each["met"])
        when = record["measured_at"] + ("" if is_quiet(record) else ", **provisional**")
        met = sum(each["met"] for each in held)
        yield f"| {TITLES[name]} | {met} of {len(held)} | {missed} | {when} | {record['took_s']:.0f} s |"


def _section(name: str, record: Record | None) -> Iterator[str]:
    if record is None:
        yield f"Not measured yet: `python -m benchmarks.{name}`."
        return
    yield record["about"]
    yield ""
    yield from _figures(record["figures"])
    if record["checks"]:
        yield from _checks(record["checks"])
    if record["answers"]:
        yield from _answers(record["answers"])
    if "pairs" in record["details"]:
        yield from pair_lines(record["details"]["pairs"])
    if "commands" in record["settings"]:
        yield from ["```sh", *record["settings"]["commands"], "```", ""]
    yield _surroundings(record)


def _figures(figures: Sequence[Record]) -> Iterator[str]:
    yield "| what | value | spread | target | met |"
    yield RULE
    for each in figures:
        unit = each["unit"]
        value = f"**{_number(each[each['centre']])}**{_unit(unit)} ({each['centre']} of {each['n']})"
        spread = f"{_number(each['min'])} – {_number(each['max'])}"
        if each["n"] == 1:
            value, spread = f"**{_number(each[each['centre']])}**{_unit(unit)}", ""
        yield f"| {each['title']} | {value} | {spread} | {_target(each)} | {_met(each['met'])} |"
    yield ""


def _checks(checks: Sequence[Record]) -> Iterator[str]:
    for each in checks:
        yield f"- {'✓' if each['met'] else '✗'} {each['title']}: {each['because']}."
    yield ""


def _answers(answers: Mapping[str, Record]) -> Iterator[str]:
    """Yield the three answers to "how much faster?", the second as a sweep of targets."""
    yield "| race | at equal epochs | to reach an accuracy | at equal training seconds |"
    yield "| --- " * 4 + "|"
    for title, each in answers.items():
        epochs, seconds = each["speedup_equal_epochs"], each["accuracy_at_equal_seconds"]
        sweep = "; ".join(f"{row['target']:.1%}: {_times(row['speedup'])}" for row in each["speedup_to_target"])
        same = (
            f"after {_number(seconds['seconds'])} s: SGD {seconds['sgd']:.1%}, multirate {seconds['multirate']:.1%}"
            if seconds
            else "–"
        )
        yield f"| {title} | {_times(epochs)} | {sweep or '–'} | {same} |"
    yield ""


def _surroundings(record: Record) -> str:
    hardware, versions = record["hardware"], record["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = (
        f"Measured {record['measured_at']} at commit `{record['commit'] or '?'}` on {hardware['processor']}, "
        f"{hardware['cores']} cores, {hardware['memory_gib']:.0f} GiB, {hardware['system']}; {packages}; "
        f"{record['threads']} thread{'s' * (record['threads'] != 1)} for a worker unless told otherwise. Load average "
        f"before: {', '.join(map(str, record['load_average']))}; other processes kept {record['others_cores']:g} cores "
        f"busy before and {record['others_cores_after']:g} after."
    )
    return text if is_quiet(record) else f"{text} **Provisional: the machine was not quiet.**"


def _target(figure: Record) -> str:
    if not figure["target"]:
        return ""
    ((direction, limit),) = figure["target"].items()
    return f"{'≤' if direction == 'at_most' else '≥'} {_number(limit)}{_unit(figure['unit'])}"


def _met(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "**no**"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _times(speedup: float | None) -> str:
    return "never" if speedup is None else f"{speedup:.2f}×"


def main() -> int:
    """Write the document."""
    DOCUMENT.write_text(render(read_results()), encoding="utf-8")
    print(f"wrote {DOCUMENT.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
