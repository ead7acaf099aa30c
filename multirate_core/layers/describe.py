"""Layer trees made outside the calling process and kept on disk, so that the page shows a network without torch.

`read` looks, `start` has a tree made by `python -m multirate_core.layers.describe`. The file's name is a digest of the
request and of the versions that shaped the answer. The tree of the offline default ships in `assets/`; the same program
writes it: `python -m multirate_core.layers.describe --ship`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from multirate_core import __version__, kept_answer
from multirate_core.checks import require_whole
from multirate_core.config import ModelConfig
from multirate_core.errors import ConfigError, ModelError, MultirateError
from multirate_core.kept_answer import KeptAnswer, digest, version_of
from multirate_core.layers.tree import TREE_VERSION, LayerTree, from_json, to_json
from multirate_core.models.catalog import OWN_NAME, model_info, source_of
from multirate_core.models.own_sources import file_of


@dataclass(frozen=True)
class TreeRequest:
    """Which tree: a model of the catalog with a head of `num_classes`.

    Args:
        model: its name.
        num_classes: size of the head.
        input_shape: of one sample: (C, H, W) of an image, (C, 0, 0) for the network's own size, (L,) of a text.
        source: of a network that needs one, as in `ModelConfig`.
    """

    model: str
    num_classes: int
    input_shape: tuple[int, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not 1 <= len(self.model) <= 200:
            raise ConfigError(f"the model's name has 1 to 200 characters, got {self.model!r}.")
        require_whole("num_classes", self.num_classes, 1, 100_000)
        if len(self.input_shape) not in (1, 3):
            raise ConfigError(f"an input shape is (C, H, W) of an image or (L,) of a text, got {self.input_shape}.")
        own_size = self.input_shape[1:] == (0, 0)
        for size in self.input_shape[:1] if own_size else self.input_shape:
            require_whole("each number of the input shape", size, 1, 8192)


@dataclass(frozen=True)
class DescribeError:
    """Why there is no tree; `start` tries again."""

    message: str


SHIPPED = TreeRequest("glyph_net", num_classes=10, input_shape=(1, 32, 32))


def shipped_path() -> Path:
    """Return where the tree of `SHIPPED` lies in the package."""
    return Path(__file__).parent / "assets" / f"{SHIPPED.model}.json"


def read(request: TreeRequest) -> LayerTree | DescribeError | None:
    """Return the tree if it was made, why it could not be made, or None if nobody knows yet."""
    for path in (shipped_path(), _tree_path(request)) if request == SHIPPED else (_tree_path(request),):
        try:
            return _read_tree(path, path.stat().st_mtime_ns)
        except (OSError, ModelError):  # not there, or damaged: start() makes it
            continue
    reason = kept_answer.read_error(_kept(request))
    return None if reason is None else DescribeError(reason)


def start(request: TreeRequest) -> subprocess.Popen[bytes]:
    """Have the tree made by another process; arguments and errors as in `kept_answer.start`."""
    return kept_answer.start(_kept(request))


def outcome(request: TreeRequest, process: subprocess.Popen[bytes]) -> LayerTree | DescribeError | None:
    """Return what `read` returns; if the process died without a word, an error with the end of its log."""
    ended = process.poll() is not None
    answer = read(request)
    if answer is not None or not ended:
        return answer
    return DescribeError(kept_answer.silent_end(_kept(request), process) or "")


def describe(request: TreeRequest) -> LayerTree:
    """Make the tree in this process; imports torch and builds the network on the meta device.

    Raises:
        ModelError: unknown model, or one that cannot be built for this request.
    """
    source_of(model_info(request.model), request.source)  # what has no network is told before torch is loaded
    import torch

    from multirate_core.layers.build import layer_tree
    from multirate_core.layers.gradient_graph import merge
    from multirate_core.layers.saved_bytes import count_saved
    from multirate_core.layers.trace_gradients import trace_gradients
    from multirate_core.models.registry import build_skeleton, sample_shape

    shape = sample_shape(ModelConfig(request.model, source=request.source), request.input_shape)
    with torch.device("meta"):
        model, head = build_skeleton(request.model, request.num_classes, shape, request.source)
    tree, graph = layer_tree(model, shape, request.model, head), trace_gradients(model, shape)
    return replace(tree, saved=count_saved(model, shape), gradients=merge(graph) if graph else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one tree, or with --ship the one that ships, and write it or the reason why not; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m multirate_core.layers.describe")
    parser.add_argument("request", nargs="?", help='JSON: {"model", "num_classes", "input_shape", "source"}')
    parser.add_argument("--ship", action="store_true", help="write the tree of the offline default into the package")
    options = parser.parse_args(arguments)
    if options.ship:
        kept_answer.write(shipped_path(), to_json(describe(SHIPPED)) + "\n")
        return 0
    values = json.loads(options.request)
    request = TreeRequest(**{**values, "input_shape": tuple(values["input_shape"])})
    try:
        kept_answer.write(_tree_path(request), to_json(describe(request)))
    except MultirateError as error:
        return kept_answer.fail(_kept(request), str(error))
    except Exception as error:
        message = f"{request.model} cannot be described: {type(error).__name__}: {error}"
        kept_answer.fail(_kept(request), message)
        raise
    return 0


@lru_cache(maxsize=64)
def _read_tree(path: Path, modified_ns: int) -> LayerTree:  # noqa: ARG001 - a new time is a new tree
    return from_json(path.read_text(encoding="utf-8"))


def _tree_path(request: TreeRequest) -> Path:
    return _kept(request).path


def _kept(request: TreeRequest) -> KeptAnswer:
    what = f"the layer tree of {request.model}"
    module = "multirate_core.layers.describe"
    return KeptAnswer(module, json.dumps(asdict(request)), "trees", key(request), what)


def key(request: TreeRequest) -> str:
    """Return what the answer is filed under: the request, and all that shaped or would shape it."""
    makers = [version_of(package) for package in ("torch", "torchvision", "transformers", "timm")]
    return digest([asdict(request), TREE_VERSION, __version__, *makers, _described(request)])


def _described(request: TreeRequest) -> str:
    """Return the code of an own network, or what a local folder says: both may be replaced under the same name."""
    if not request.source:
        return ""
    own = request.model == OWN_NAME
    try:
        file = file_of(request.source) if own else Path(request.source).expanduser() / "config.json"
        return hashlib.sha256(file.read_bytes()).hexdigest() if file is not None else ""
    except (OSError, ValueError, RuntimeError, ModelError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
