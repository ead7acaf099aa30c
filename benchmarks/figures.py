"""A measured number with its spread and its target, a checked claim, and the result that holds them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Centre = Literal["median", "mean"]
SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True)
class Target:
    """What a figure has to keep: "at most" or "at least" a limit, in the figure's unit."""

    direction: Literal["at most", "at least"]
    limit: float

    def met_by(self, value: float) -> bool:
        """Tell whether a value keeps the target."""
        return value <= self.limit if self.direction == "at most" else value >= self.limit


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Args:
        name: for programs.
        title: for people.
        unit: of the values: "s", "ms", "%", "points", or "" for a plain ratio.
        values: one per repetition, at least one.
        target: held against the centre; None for a number that is only told.
        centre: which value stands for all.
    """

    name: str
    title: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    centre: Centre = "median"

    @property
    def value(self) -> float:
        """The median or mean of the values."""
        return statistics.median(self.values) if self.centre == "median" else statistics.fmean(self.values)

    def as_dict(self) -> dict[str, Any]:
        """Return the figure as plain numbers: centre, spread, every value, the target and whether it was met."""
        values = [rounded(value) for value in self.values]
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "centre": self.centre,
            self.centre: rounded(self.value),
            **({"quartiles": _quartiles(self.values)} if len(values) >= 4 else {}),
            "min": min(values),
            "max": max(values),
            "n": len(values),
            "values": values,
            "target": {self.target.direction.replace(" ", "_"): self.target.limit} if self.target else None,
            "met": self.target.met_by(self.value) if self.target else None,
        }


@dataclass(frozen=True)
class Check:
    """A claim that holds or does not, with the numbers that say so."""

    name: str
    title: str
    met: bool
    because: str

    def as_dict(self) -> dict[str, Any]:
        """Return the check as plain values."""
        return {"name": self.name, "title": self.title, "met": self.met, "because": self.because}


@dataclass(frozen=True)
class Result:
    """What one benchmark found.

    Args:
        benchmark: its name, that of its module.
        about: one or two sentences on what was measured and how.
        figures: numbers, some with targets.
        checks: claims.
        settings: what a reader needs to run the same again.
        details: raw numbers behind the figures.
        answers: the three answers of races, by their titles.
    """

    benchmark: str
    about: str
    figures: Sequence[Figure]
    checks: Sequence[Check] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain values; "met" is True if every target was met and every check holds."""
        figures = [figure.as_dict() for figure in self.figures]
        checks = [check.as_dict() for check in self.checks]
        return {
            "benchmark": self.benchmark,
            "about": self.about,
            "met": all(each["met"] is not False for each in (*figures, *checks)),
            "figures": figures,
            "checks": checks,
            "settings": dict(self.settings),
            "details": dict(self.details),
            "answers": dict(self.answers),
        }


def rounded(value: float) -> float:
    """Return the value with four significant digits."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _quartiles(values: Sequence[float]) -> list[float]:
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return [rounded(lower), rounded(upper)]
