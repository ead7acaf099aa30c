"""Read the arguments, run one command, and turn what happens into an exit code.

0 done, 1 the race failed, 2 bad input (one line on stderr says which), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence

from multirate_core.cli import compare, listing, look, predict
from multirate_core.cli.parser import make_parser
from multirate_core.errors import MultirateError

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

COMMANDS: Mapping[str, Callable[[Namespace], int]] = {
    "compare": compare.run,
    "predict": predict.run,
    "tree": listing.print_tree,
    "data": look.print_data,
    "presets": listing.print_presets,
    "races": listing.print_races,
    "devices": listing.print_devices,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    Args:
        arguments: without the program's name; None takes those of this process.
    """
    options = make_parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except MultirateError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough; what is buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
