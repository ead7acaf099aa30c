"""What the pages say about a race: its state in words, the difference of two, rows and files. No streamlit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multirate_core.config import BASE_TITLES, ArmConfig, GroupSpec, ModelConfig, PartitionSpec, RaceConfig, Recipe
from multirate_core.config_json import to_dict
from multirate_core.cost.beside import forecast_of
from multirate_core.data.catalog import DATASETS
from multirate_core.events import Evaluated
from multirate_core.metrics import Metric, metric_title
from multirate_core.models.catalog import MODELS
from multirate_core.partition.phases import rates_in_words
from multirate_core.store import LaneRow, RaceRow
from pages.components.race.predicted import of_multirate
from pages.components.text import duration, score_text

OUTCOME_WORDS = {
    "finished": "finished",
    "stopped": "stopped on request",
    "diverged": "diverged",
    "out_of_memory": "ran out of memory",
    "failed": "failed",
    "lost": "lost: its worker died",
}
SCHEDULE_WORDS = {"cosine": "cosine schedule", "linear": "lr linear to 0", "one_cycle": "one-cycle schedule"}
_KINDS = {"plain": "sgd", "multirate": "multirate"}
AUGMENT_WORDS = {"flip": "random flips", "crop_flip": "random flips and crops"}
MOST_PATTERNS = 3  # of a group that are named
_REST = "everything else"  # what the pattern "*" says, as the last rule
CURVE_COLUMNS = (
    *("race", "lane", "seed", "arm", "step", "epoch", "train_seconds", "accuracy", "loss", "reason"),
    *("balanced_accuracy", "macro_f1", "mcc"),
)


def state_line(row: RaceRow) -> str:
    """Return one line about where a race is."""
    if row.state == "ended":
        return f"{OUTCOME_WORDS[row.outcome or 'finished'].capitalize()}."
    if row.state == "queued":
        wait = "" if row.wait_seconds is None else f", in about {duration(row.wait_seconds)}"
        return f"Waiting for {' or '.join(row.candidates)}: number {row.queue_position} in the queue{wait}."
    if row.state == "starting":
        return f"Starting a worker on {row.device} …"
    if row.state == "paused":
        return f"Paused. After two minutes {row.device} goes to the next race."
    if row.state == "parked":
        return f"Paused; {row.device} was given to the next race. Resume waits for it again."
    left = "" if row.seconds_left is None else f", about {duration(row.seconds_left)} left"
    return f"{row.phase or 'Running'} on {row.device}{left}"


def budget_text(config: RaceConfig) -> str:
    """Return the budget: "20 epochs" or "60 s"."""
    epochs = config.budget.epochs
    return f"{config.budget.seconds:g} s" if epochs is None else f"{epochs} epoch{'s' * (epochs != 1)}"


def arms_text(config: RaceConfig) -> str:
    """Return the arms with the periods of the groups that they train in turn: "sgd, multirate (1, 5), frozen"."""
    words = []
    for arm in config.arms:
        groups = _used_groups(arm) if arm.kind == "multirate" else []
        periods = f" ({', '.join(map(_rates, groups))})" if groups else ""
        words.append(config.title(arm.name) + periods)
    return ", ".join(words)


def _used_groups(arm: ArmConfig) -> list[GroupSpec]:
    """Return the groups that some pattern leads to."""
    spec = arm.partition
    return [] if spec is None else [g for g in spec.groups if g.name in {rule.group for rule in spec.rules}]


def _rates(group: GroupSpec) -> str:
    """Return a group's periods in turn, and its lr if it is not the recipe's: "1→2→5", "5 at lr × 0.5"."""
    periods = "→".join(str(period) for _, period in (*group.phases, (0, group.period)))
    return periods + (f" at lr × {group.lr_factor:g}" if group.lr_factor != 1 else "")


def recipe_text(config: RaceConfig) -> str:
    """Return what a row of the Runs page says about training: "lr 0.015, batch 16, AdamW, bf16"."""
    recipe = config.recipe
    return ", ".join([f"lr {recipe.lr:g}", f"batch {recipe.batch_size}", *_ways(config, config.arms)])


def setting_text(config: RaceConfig, arm: str) -> str:
    """Return what a result belongs to: "Glyph net on Handwritten digits, 24 epochs; fast: fc; slow every 5 steps"."""
    data = DATASETS.get(config.data.name)
    data_title = data.title if data else config.data.name
    own = [each for each in config.arms if each.name == arm]
    groups = [words for each in own for words in _groups_in_words(each)]
    judged = [] if config.metric == "accuracy" else [f"judged by {metric_title(config.metric)}"]
    what = [f"{model_title(config.model)} on {data_title}", budget_text(config), *_ways(config, own), *judged]
    return "; ".join([", ".join(what), *groups])


def model_title(model: ModelConfig) -> str:
    """Return what people read for a network: the end of its source, where one was named."""
    info = MODELS.get(model.name)
    return Path(model.source).name or (info.title if info else model.name)


def _ways(config: RaceConfig, arms: Sequence[ArmConfig]) -> list[str]:
    """Return base rule and ways of computing that are not the usual ones: ["AdamW", "bf16"]."""
    recipe, execution, share = config.recipe, config.execution, config.data.random_share
    lean = execution.memory == "lean" and any(arm.kind == "multirate" for arm in arms)
    ways = {
        BASE_TITLES[recipe.base]: recipe.base != "sgd",
        "Nesterov": recipe.nesterov,
        **_recipe_in_words(recipe),
        execution.precision: execution.precision != "float32",
        "channels last": execution.channels_last,
        "compiled": execution.compile,
        "lean": lean,
        AUGMENT_WORDS.get(config.data.augment, ""): config.data.augment != "none",
        f"tested on a random {share or 0:.0%}": share is not None,
    }
    return [words for words, used in ways.items() if used]


def _recipe_in_words(recipe: Recipe) -> dict[str, bool]:
    """Return what a recipe has beside its base rule, each with whether it has it."""
    return {
        SCHEDULE_WORDS.get(recipe.schedule, ""): recipe.schedule != "constant",
        f"warm-up over {100 * recipe.warmup:.3g} %": recipe.warmup > 0,
        f"label smoothing {recipe.label_smoothing:g}": recipe.label_smoothing > 0,
        f"gradients clipped at {recipe.clip_norm or 0:g}": recipe.clip_norm is not None,
        "no decay of norms and biases": recipe.weight_decay > 0 and not recipe.decay_norms,
        f"{recipe.accumulate} micro-batches per step": recipe.accumulate > 1,
    }


def fast_text(config: RaceConfig) -> str:
    """Return what is fast, the same for several arms once: "layer4, fc"; "" for SGD alone."""
    found = []
    for partition in (arm.partition for arm in config.arms if arm.partition):
        fast = [group.name for group in partition.groups if group.period == 1]
        found.append(_patterns_in_words(partition, fast))
    return " | ".join(dict.fromkeys(found))


def difference(one: RaceConfig, other: RaceConfig) -> list[tuple[str, str, str]]:
    """Return (setting, value in one, value in the other) for every setting that differs."""
    a, b = dict(_flat(to_dict(one))), dict(_flat(to_dict(other)))
    keys = [*a, *(key for key in b if key not in a)]
    return [(key, a.get(key, "–"), b.get(key, "–")) for key in keys if a.get(key) != b.get(key)]


def table_row(row: RaceRow) -> dict[str, Any]:
    """Return a race as a row of the Runs page; accuracies and the prediction's error as fractions, None where unknown.

    "Judged by" names another metric than accuracy with its own figures, and is "" for most races.
    """
    lanes = (row.summary or {}).get("lanes", [])
    predicted_ratio, error = of_multirate(row)
    return {
        "Race": row.id,
        "Started": row.created_at,
        "State": OUTCOME_WORDS[row.outcome] if row.outcome else row.state,
        "Model": Path(row.config.model.source).name or row.config.model.name,
        "Data": row.config.data.name,
        "Arms": arms_text(row.config),
        "Fast": fast_text(row.config),
        "Recipe": recipe_text(row.config),
        "Budget": budget_text(row.config),
        "Seeds": len(row.config.seeds),
        "Plain accuracy": _mean(lanes, row.config, "sgd"),
        "Multirate accuracy": _mean(lanes, row.config, "multirate"),
        "Judged by": _judged_by(lanes, row.config),
        "Time ratio": _time_ratio(lanes, row.config),
        "Predicted ratio": predicted_ratio,
        "Error": error,
    }


def runs_csv(rows: Iterable[RaceRow]) -> str:
    """Return one line per race and lane: configuration, outcome, final numbers and the predicted ratio of times."""
    table = [line for row in rows for line in _lane_lines(row)]
    return _csv(list(dict.fromkeys(key for line in table for key in line)), table)


def curves_csv(row: RaceRow, lanes: Sequence[LaneRow], tests: Sequence[Evaluated]) -> str:
    """Return one line per evaluation of a race."""
    of = {lane.lane: lane for lane in lanes}
    table = [
        {"race": row.id, "lane": test.lane, "seed": of[test.lane].seed, "arm": of[test.lane].arm}
        | {name: getattr(test, name) for name in CURVE_COLUMNS[4:]}
        for test in tests
    ]
    return _csv(CURVE_COLUMNS, table)


def _groups_in_words(arm: ArmConfig) -> list[str]:
    """Return one text for each group that has a rule: "fast: fc", "slow every 5 steps"."""
    if arm.partition is None:
        return []
    used = {rule.group for rule in arm.partition.rules}
    groups = [_group_in_words(arm, arm.partition, group) for group in arm.partition.groups if group.name in used]
    return groups + (["no drift"] if arm.kind == "multirate" and not arm.drift else [])


def _group_in_words(arm: ArmConfig, partition: PartitionSpec, group: GroupSpec) -> str:
    patterns = _patterns_in_words(partition, [group.name])
    frozen = arm.kind == "frozen" and group.period > 1
    rates = "" if frozen or not rates_in_words(group) else f" ({rates_in_words(group)})"
    if group.period == 1:
        return f"{group.name}{rates}: {patterns}"
    pace = "frozen" if frozen else f"every {group.period} steps{rates}"
    return f"{group.name} {pace}" if patterns == _REST else f"{group.name} {pace}: {patterns}"


def _patterns_in_words(partition: PartitionSpec, groups: Sequence[str]) -> str:
    patterns = [rule.pattern for rule in partition.rules if rule.group in groups]
    rest = _REST if len(partition.rules) > 1 else "everything"
    words = [rest if pattern == "*" else pattern for pattern in patterns]
    more = len(words) - MOST_PATTERNS
    return ", ".join(words[:MOST_PATTERNS]) + (f" and {more} more" if more > 0 else "")


def _lane_lines(row: RaceRow) -> Iterable[dict[str, Any]]:
    """Yield the cells of every lane of a race; of the race alone before it has ended."""
    predicted = {arm: each.ratio for arm, each in forecast_of(row.environment, row.config).items()}
    for lane in (row.summary or {}).get("lanes", [{}]):
        yield {**_race_cells(row), **lane, "predicted_ratio": predicted.get(lane.get("arm", ""))}


def _race_cells(row: RaceRow) -> dict[str, Any]:
    config = json.dumps(to_dict(row.config), ensure_ascii=False)
    return {"race": row.id, "created_at": row.created_at, "device": row.device, "race_outcome": row.outcome} | {
        "model": row.config.model.name,
        "data": row.config.data.name,
        "config": config,
    }


def _csv(columns: Sequence[str], table: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)  # lines end as RFC 4180 says: then a lone carriage return is quoted too
    writer.writeheader()
    writer.writerows({key: _safe(value) for key, value in line.items()} for line in table)
    return out.getvalue()


def _safe(value: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield every setting with its value in words; arms and groups go by their names, a partition's rules together."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        if "pattern" in value[0]:
            yield path, ", ".join(f"{rule['pattern']} → {rule['group']}" for rule in value)
            return
        for item in value:
            yield from _flat(item, f"{path}.{item['name']}")
    else:
        yield path, json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def _of_kind(lanes: Sequence[Mapping[str, Any]], config: RaceConfig, kind: str) -> list[Mapping[str, Any]]:
    names = [arm.name for arm in config.arms if arm.kind == kind][:1]
    return [lane for lane in lanes if lane["arm"] in names]


def _mean(
    lanes: Sequence[Mapping[str, Any]], config: RaceConfig, kind: str, metric: Metric = "accuracy"
) -> float | None:
    found = [lane.get(f"final_{metric}") for lane in _of_kind(lanes, config, kind)]  # older races have accuracy only
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def _judged_by(lanes: Sequence[Mapping[str, Any]], config: RaceConfig) -> str:
    """Return "MCC: 0.912 plain, 0.905 multirate"; "" for accuracy, which has columns of its own."""
    if config.metric == "accuracy":
        return ""
    means = {words: _mean(lanes, config, kind, config.metric) for words, kind in _KINDS.items()}
    figures = [f"{score_text(config.metric, mean)} {words}" for words, mean in means.items() if mean is not None]
    return f"{metric_title(config.metric)}: {', '.join(figures)}" if figures else metric_title(config.metric)


def _time_ratio(lanes: Sequence[Mapping[str, Any]], config: RaceConfig) -> float | None:
    """Return multirate's training seconds per step over the plain arm's; None before both ended."""
    ratio = []
    for kind in ("multirate", "sgd"):
        own = _of_kind(lanes, config, kind)
        steps = sum(lane["steps"] for lane in own)
        if not steps:
            return None
        ratio.append(sum(lane["train_seconds"] for lane in own) / steps)
    return ratio[0] / ratio[1] if ratio[1] else None
