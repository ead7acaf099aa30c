"""Where the user's own networks come from: code that is named, never run here, and known without importing torch.

A source is "path/to/file.py:function" or "package.module:function". It is code, so a browser may not name one: there,
only the networks that the server's owner lists in MULTIRATE_MODELS can be chosen, by the names in that list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from multirate_core.config import ModelConfig
from multirate_core.errors import ConfigError, ModelError
from multirate_core.models.catalog import MODELS, OWN_NAME, ModelInfo

VARIABLE: Final = "MULTIRATE_MODELS"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def split_source(source: str) -> tuple[str, str]:
    """Return the file or the module, and the function in it.

    Raises:
        ModelError: the source has another form.
    """
    place, _, function = source.rpartition(":")
    if not function.isidentifier() or not (place.endswith(".py") or _MODULE.fullmatch(place)):
        raise ModelError(
            f"the source of an own network is 'path/to/file.py:function' or 'package.module:function', "
            f"got {source[:200]!r}."
        )
    return place, function


def absolute_source(source: str) -> str:
    """Return the source with the path of its file made absolute: trees and races are made in other folders.

    Raises:
        ModelError: the source has another form, or its path cannot be followed.
    """
    place, function = split_source(source)
    if not place.endswith(".py"):
        return source
    try:
        return f"{Path(place).expanduser().resolve()}:{function}"
    except (OSError, RuntimeError, ValueError) as error:  # an unknown ~user, a loop of links, a null byte
        raise ModelError(f"{place[:200]!r} is not a path that can be followed: {error}. Check it.") from error


def file_of(source: str) -> Path | None:
    """Return the file that holds the code, without importing anything; None for a module that is not there."""
    place, _ = split_source(source)
    if place.endswith(".py"):
        return Path(place).expanduser()
    name, folders, origin = "", None, None
    for part in place.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return None
        folders, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin else None


def listed_models() -> dict[str, str]:
    """Return name -> source of the networks in the environment variable MULTIRATE_MODELS, "name=source;name=source".

    Raises:
        ConfigError: an entry has another form, or a name that is taken.
    """
    found: dict[str, str] = {}
    for entry in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(";"))):
        name, _, source = map(str.strip, entry.partition("="))
        if not _NAME.fullmatch(name) or name in MODELS or name in found:
            raise ConfigError(
                f"{VARIABLE} is a list 'name=source;name=source' of different new names of letters, digits, '.', '_' "
                f"and '-', got {entry[:200]!r}. Choose another name."
            )
        try:
            found[name] = absolute_source(source)
        except ModelError as error:
            raise ConfigError(f"{VARIABLE} names {name} wrongly: {error}") from error
    return found


def choices() -> Mapping[str, ModelInfo]:
    """Return what the app offers by name: the catalog, and the listed networks in the place of any code at all."""
    own = MODELS[OWN_NAME]
    listed = {name: replace(own, name=name, title=name, hub=source) for name, source in listed_models().items()}
    return {**{name: info for name, info in MODELS.items() if name != OWN_NAME}, **listed}


def as_raced(model: ModelConfig) -> ModelConfig:
    """Return the network as a race holds it: a listed one by its source, so that the race does not need the list.

    Raises:
        ModelError: a source beside the listed one.
    """
    source = listed_models().get(model.name)
    if source is None:
        return model
    if model.source:
        raise ModelError(
            f"{model.name} has its source from {VARIABLE}, got {model.source[:80]!r} as well. Leave it out."
        )
    return replace(model, name=OWN_NAME, source=source)


def chosen_name(model: ModelConfig) -> str:
    """Return the name under which `choices` offers a race's network: the inverse of `as_raced`.

    Code that is not listed has only the name "own", which is not among the choices.
    """
    if model.name != OWN_NAME:
        return model.name
    return next((name for name, source in listed_models().items() if source == model.source), OWN_NAME)
