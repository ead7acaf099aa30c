"""The settings in a link: it holds only what differs from the defaults; what it says wrongly is named and left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multirate_core.data.catalog import DATASETS
from multirate_core.errors import ConfigError
from multirate_core.metrics import METRICS
from multirate_core.models.catalog import OWN_NAME
from multirate_core.models.own_sources import VARIABLE, choices
from pages.components.settings import (
    ARM_KINDS,
    AUGMENTS,
    AXES,
    BASES,
    BUDGETS,
    MEMORIES,
    PRECISIONS,
    SCHEDULES,
    SPLITS,
    WEIGHTS,
    Settings,
    check,
)

MAX_LINK_VALUE = 4_000


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ConfigError(f"{text[:40]!r} is not one of {', '.join(allowed[:12])}{'…' * (len(allowed) > 12)}")
        return text

    return read


def _model(text: str) -> str:
    if text == OWN_NAME:  # with whatever source: a link must not bring code
        raise ConfigError(f"a link cannot name code to run, only a network that the server's owner lists in {VARIABLE}")
    return _choice(*choices())(text)


def _arms(text: str) -> tuple[str, ...]:
    arms = tuple(_choice(*ARM_KINDS)(arm) for arm in text.split(",") if arm)
    if len(set(arms)) < len(arms):
        raise ConfigError(f"{text[:40]!r} names an arm twice")
    return arms


def _flag(text: str) -> bool:
    return _choice("0", "1")(text) == "1"


# Field of Settings -> (name in the link, how its text is read).
LINK_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "model": ("m", _model),
    "weights": ("w", _choice(*WEIGHTS)),
    "weights_path": ("wp", str),
    "source": ("src", str),
    "data": ("d", _choice(*DATASETS)),
    "data_path": ("dp", str),
    "image_size": ("px", int),
    "num_classes": ("nc", int),
    "train_images": ("nt", int),
    "test_images": ("nv", int),
    "bad_images": ("bad", _choice("refuse", "skip")),
    "max_tokens": ("mt", int),
    "text_column": ("tc", str),
    "label_column": ("lc", str),
    "split": ("split", _choice(*SPLITS)),
    "validation_share": ("vs", float),
    "augment": ("aug", _choice(*AUGMENTS)),
    "download": ("dl", _flag),
    "budget": ("b", _choice(*BUDGETS)),
    "epochs": ("e", int),
    "seconds": ("s", float),
    "lr": ("lr", float),
    "momentum": ("mom", float),
    "weight_decay": ("wd", float),
    "batch_size": ("bs", int),
    "base": ("base", _choice(*BASES)),
    "nesterov": ("nest", _flag),
    "schedule": ("sched", _choice(*SCHEDULES)),
    "warmup": ("warm", float),
    "label_smoothing": ("smooth", float),
    "clip_norm": ("clip", float),
    "decay_norms": ("dn", _flag),
    "accumulate": ("acc", int),
    "drift": ("drift", _flag),
    "seeds": ("n", int),
    "arms": ("arms", _arms),
    "device": ("dev", str),
    "threads": ("th", int),
    "precision": ("prec", _choice(*PRECISIONS)),
    "memory": ("mem", _choice(*MEMORIES)),
    "channels_last": ("cl", _flag),
    "compile": ("comp", _flag),
    "axis": ("x", _choice(*AXES)),
    "metric": ("met", _choice(*METRICS)),
    "evaluations": ("ev", int),
}


def to_link(settings: Settings) -> dict[str, str]:
    """Return the URL parameters of everything that differs from the defaults."""
    default = Settings()
    return {
        name: _text(getattr(settings, field))
        for field, (name, _) in LINK_FIELDS.items()
        if getattr(settings, field) != getattr(default, field)
    }


def from_link(params: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Read the URL parameters; return the settings and one sentence for each value that was left out."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field, (name, read) in LINK_FIELDS.items():
        if name not in params:
            continue
        text = params[name]
        try:
            if len(text) > MAX_LINK_VALUE:
                raise ConfigError(f"it has {len(text)} characters, allowed are {MAX_LINK_VALUE}")
            candidate = {**values, field: read(text)}
            check(Settings(**candidate))
            values = candidate
        except (ValueError, OverflowError) as error:
            problems.append(f"The link's “{name}” was left out: {str(error)[:200].rstrip('.')}. The default is used.")
    return Settings(**values), problems


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(value) if isinstance(value, tuple) else str(value)
