"""Networks' layer trees as rows of the board, written down without torch."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

HOSTILE_NAME = "<img src=x onerror=alert(1)>"


class Rows:
    """Rows in architecture order; a module's totals follow from the parameters added below it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def module(self, path: str, kind: str, shape: str = "", fold: str = "", note: str = "") -> None:
        self._add(path, kind=kind, shape=shape, fold=fold, note=note)

    def parameter(self, path: str, *shape: int) -> None:
        numel = 1
        for size in shape:
            numel *= size
        self._add(path, kind="parameter", shape="×".join(map(str, shape)), unit=True)
        for row in self.rows:
            if row["id"] == path or path.startswith(f"{row['id']}."):
                row["params"] += numel
                row["madds"] += numel * 49 if row["id"] != path and len(shape) > 1 else 0

    def leaf(self, path: str, kind: str, output: str, **parameters: tuple[int, ...]) -> None:
        self.module(path, kind, output)
        for name, shape in parameters.items():
            self.parameter(f"{path}.{name}", *shape)

    def conv(self, path: str, into: int, out: int, side: int) -> None:
        self.leaf(path, "Conv2d", f"{out}×14×14", weight=(out, into, side, side))

    def norm(self, path: str, channels: int) -> None:
        self.leaf(path, "BatchNorm2d", f"{channels}×14×14", weight=(channels,), bias=(channels,))

    def _add(self, path: str, **fields: Any) -> None:
        parent, _, name = path.rpartition(".")
        empty = {"params": 0, "madds": 0, "unit": False, "fold": "", "note": ""}
        self.rows.append({"id": path, "parent": parent or None, "name": name, **empty, **fields})


def resnet(blocks: tuple[int, ...]) -> list[Row]:
    """A torchvision ResNet of bottleneck blocks: (3, 8, 36, 3) is ResNet-152."""
    tree = Rows()
    tree.conv("conv1", 3, 64, 7)
    tree.norm("bn1", 64)
    tree.module("relu", "ReLU", "64×112×112")
    tree.module("maxpool", "MaxPool2d", "64×56×56")
    into = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        tree.module(f"layer{stage + 1}", "Sequential", f"{4 * width}×14×14")
        for block in range(count):
            bottleneck(tree, f"layer{stage + 1}.{block}", into, width)
            into = 4 * width
    tree.module("avgpool", "AdaptiveAvgPool2d", "2048×1×1")
    tree.leaf("fc", "Linear", "1000", weight=(1000, 2048), bias=(1000,))
    return tree.rows


def bottleneck(tree: Rows, path: str, into: int, width: int) -> None:
    tree.module(path, "Bottleneck", f"{4 * width}×14×14", fold=f"Bottleneck-{into}-{width}")
    sizes = ((into, width, 1), (width, width, 3), (width, 4 * width, 1))
    for number, (before, after, side) in enumerate(sizes, 1):
        tree.conv(f"{path}.conv{number}", before, after, side)
        tree.norm(f"{path}.bn{number}", after)
    tree.module(f"{path}.relu", "ReLU")
    if into != 4 * width:
        tree.module(f"{path}.downsample", "Sequential")
        tree.conv(f"{path}.downsample.0", into, 4 * width, 1)
        tree.norm(f"{path}.downsample.1", 4 * width)


def toy() -> list[Row]:
    """Everything awkward at once: root-owned, beside children, tied, repeated, without parameters, markup."""
    tree = Rows()
    tree.parameter("class_token", 1, 1, 8)
    tree.leaf("embed", "Embedding", "16×8", weight=(100, 8))
    tree.module("encoder", "Encoder", "16×8")
    for block in range(4):
        path = f"encoder.{block}"
        tree.module(path, "Block", "16×8", fold="Block-8")
        tree.module(f"{path}.attention", "MultiheadAttention", "16×8")
        tree.parameter(f"{path}.attention.in_proj_weight", 24, 8)
        tree.leaf(f"{path}.attention.out_proj", "Linear", "16×8", weight=(8, 8), bias=(8,))
        tree.leaf(f"{path}.norm", "LayerNorm", "16×8", weight=(8,), bias=(8,))
        tree.module(f"{path}.dropout", "Dropout", "16×8")
    tree.leaf(HOSTILE_NAME, "Linear", "16×8", weight=(8, 8))
    tree.module("decoder", "Linear", "16×100")
    tree.module("decoder.weight", "parameter", "100×8", note="tied to embed.weight")
    tree.rows[-1]["tied"] = "embed.weight"
    tree.leaf("head", "Linear", "10", weight=(10, 8), bias=(10,))
    return tree.rows


TREES = {"toy": toy, "small": lambda: resnet((1, 1)), "resnet152": lambda: resnet((3, 8, 36, 3))}
