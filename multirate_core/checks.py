"""Checks that every setting passes: they raise ConfigError with what, got, allowed. Standard library only."""

from __future__ import annotations

import math

from multirate_core.errors import ConfigError


def require_period(value: object) -> None:
    """Raise ConfigError unless `value` is a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"period must be a whole number ≥ 1, got {value!r}. Use 1 to update a group at every step.")
    require_whole("period", value, 1, 1_000_000)


def require_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise ConfigError unless `value` is an int (no bool) in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}, got {value!r}.")


def require_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Raise ConfigError unless `value` is a finite number within the given bounds."""
    bounds = [(">", above), ("≥", least), ("<", below), ("≤", most)]
    allowed = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    if (
        not _is_finite(value)
        or (above is not None and value <= above)  # type: ignore[operator]
        or (least is not None and value < least)  # type: ignore[operator]
        or (below is not None and value >= below)  # type: ignore[operator]
        or (most is not None and value > most)  # type: ignore[operator]
    ):
        raise ConfigError(f"{name} must be a finite number {allowed}, got {value!r}.")


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond the floats
        return False


def require_text(name: str, value: str) -> None:
    """Raise ConfigError unless `value` can be written as UTF-8: half a surrogate pair cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{name} must be text that UTF-8 can hold, got {value!a} with half a surrogate pair. Write another text."
        ) from error


def require_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def require_flag(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is a bool."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {value!r}. Use one of the two.")


def require_not_resting(name: str, weight: object) -> None:
    """Raise ConfigError if a parameter has no gradient only because it rests in a multirate optimiser right now.

    `MultirateOptimizer` marks such a parameter with `multirate_rests`; without this check it would pass for frozen.
    """
    if getattr(weight, "multirate_rests", False) and not getattr(weight, "requires_grad", True):
        raise ConfigError(
            f"{name} has no gradient because it rests in another multirate optimiser, so it would be taken for frozen. "
            "Call release() on that optimiser first, or model.requires_grad_(True)."
        )
