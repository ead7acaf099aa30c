"""A schedule for k as people type it: "1:2,2:3" is k = 1 for 2 epochs, k = 2 for 3 epochs, then the group's own k."""

from __future__ import annotations

from multirate_core.config import GroupSpec
from multirate_core.errors import ConfigError

Phases = tuple[tuple[float, int], ...]


def read_phases(text: str, group: str = "slow") -> Phases:
    """Read K:EPOCHS pairs separated by commas; "" gives none. Errors name the group.

    Raises:
        ConfigError: not such pairs, a k that is no whole number >= 1, epochs that are not > 0, or too many pairs.
    """
    pairs = tuple(_pair(part) for part in text.split(",")) if text.strip() else ()
    GroupSpec(group, 2, phases=pairs)  # checks the numbers
    return pairs


def write_phases(phases: Phases) -> str:
    """Return the text that `read_phases` reads."""
    return ",".join(f"{period}:{_number(epochs)}" for epochs, period in phases)


def phases_in_words(group: GroupSpec) -> str:
    """Return "k = 1 for 2 epochs, 2 for 2 epochs, then 5"; "" without a schedule."""
    parts = [f"{period} for {epochs:g} epoch{'s' * (epochs != 1)}" for epochs, period in group.phases]
    return f"k = {', '.join(parts)}, then {group.period}" if parts else ""


def rates_in_words(group: GroupSpec) -> str:
    """Return what differs from the usual rates: "lr × 0.5, k = 1 for 2 epochs, then 5"; "" if nothing does."""
    factor = f"lr × {group.lr_factor:g}" if group.lr_factor != 1 else ""
    return ", ".join(filter(None, (factor, phases_in_words(group))))


def _pair(text: str) -> tuple[float, int]:
    period, colon, epochs = text.partition(":")
    try:
        if not colon:
            raise ValueError
        length = float(epochs)
        return (int(length) if length.is_integer() else length), int(period)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"a schedule for k is pairs K:EPOCHS separated by commas, got {text.strip()[:40]!r}. "
            "Write 1:2,2:2 for k = 1 for 2 epochs, then 2 for 2 epochs."
        ) from None


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)
