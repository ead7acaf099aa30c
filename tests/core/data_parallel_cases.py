"""What every rank does in the tests of data-parallel training: one function per case, run as a script.

Each returns plain numbers, texts and tensors, that the tests compare between ranks and with one process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import rank_message_cases  # noqa: F401 - adds its cases to the list
import rank_training_cases  # noqa: F401 - as above
import torch
import torch.distributed as dist
from rank_steps import CASES, TIMEOUT


def main(folder: Path, world_size: int, rank: int, names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    found = {}
    for name in names:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=world_size, timeout=TIMEOUT
        )
        print(f"--- {name}", flush=True)
        found[name] = CASES[name]()
        dist.destroy_process_group()
    torch.save(found, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
