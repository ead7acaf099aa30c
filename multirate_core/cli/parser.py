"""The words of the command line. Every option is None unless it was given, so that a preset can fill the gaps."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from multirate_core import __version__
from multirate_core.data.catalog import DATASETS
from multirate_core.metrics import METRICS
from multirate_core.partition.presets import PRESETS
from multirate_core.presets import DEFAULT, RACE_PRESETS

PROGRAM = "python -m multirate_core"

# Fields of DataConfig that have an option of the same name with a value; the path and the download are beside them.
DATA_OPTIONS = (
    *("image_size", "num_classes", "train_images", "test_images", "bad_images", "max_tokens"),
    *("text_column", "label_column", "split", "validation_share", "augment"),
)
# Fields of Recipe that have an option of the same name with a value; the base rule and the flags are beside them.
RECIPE_OPTIONS = (
    *("lr", "momentum", "weight_decay", "batch_size"),
    *("schedule", "warmup", "label_smoothing", "clip_norm", "accumulate"),
)

COMPARE_EPILOG = """\
example:
  python -m multirate_core compare --preset digits --fast head --k 5 --seeds 3 --json

With --json the last line of stdout is the result: accuracies are fractions, final_loss is the loss on the test part,
and numbers are means over the seeds. Targets and "metric_at_equal_seconds" are of --metric. The arm "sgd" trains
everything at every step, by the base rule in "config". "predicted" is what the cost meter said before the race; null
if nothing had been measured then.
Progress goes to stderr. Exit code: 0 done, 1 the race failed, 2 bad input, 130 interrupted.
"""


PREDICT_EPILOG = """\
example:
  python -m multirate_core predict --model resnet50 --fast-pattern fc --k 5 --batch-size 32 --image-size 64 --json

The first time the network is measured on the device, for about ten seconds; that is kept. Seconds are of training
steps, "ratio" is multirate over the plain rule, "ratio_limit" its limit as k grows, "peak_bytes" the most in tensors.
Exit code: 0 done, 2 bad input, or a race holds the device.
"""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, without the usage text."""
        print(f"error: {' '.join(message.split())} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = OneLineParser(prog=PROGRAM, description="Race multirate training against SGD.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser)
    _compare(commands)
    _predict(commands)
    tree = commands.add_parser("tree", help="print a network's layer tree", allow_abbrev=False)
    _add_model_and_data(tree)
    tree.add_argument("--depth", type=int, default=None, metavar="N", help="show so many levels; default all")
    tree.add_argument("--check", action="store_true", help="let torchinfo count as well and print both")
    data = commands.add_parser("data", help="look at the data before a race", allow_abbrev=False)
    _add_model_and_data(data)
    data.add_argument("--json", action="store_true", help="print what is found as one line of JSON, with thumbnails")
    commands.add_parser("presets", help="list the recipes and the partition presets", allow_abbrev=False)
    races = commands.add_parser("races", help="list the recorded races, newest first", allow_abbrev=False)
    races.add_argument("text", nargs="*", help="words that must occur in a race's model, data, arms or outcome")
    races.add_argument("--limit", type=int, default=20, metavar="N", help="how many at most; default 20")
    commands.add_parser("devices", help="list the devices that races can run on", allow_abbrev=False)
    return parser


def _compare(commands: argparse._SubParsersAction[OneLineParser]) -> None:
    parser = _of_a_race(commands, "compare", "race multirate against SGD", COMPARE_EPILOG)
    run = parser.add_argument_group("running")
    run.add_argument("--evaluations", type=int, metavar="N", help="how often an arm is tested; default 20")
    run.add_argument("--metric", metavar="NAME", help=f"what the race is judged by: {', '.join(METRICS)}")
    run.add_argument("--inline", action="store_true", help="train in this process instead of a worker")
    run.add_argument("--background", action="store_true", help="submit the race, print its id and leave")
    run.add_argument("--json", action="store_true", help="print the result as one line of JSON")


def _predict(commands: argparse._SubParsersAction[OneLineParser]) -> None:
    about = "tell what a partition will cost, without racing it"
    parser = _of_a_race(commands, "predict", about, PREDICT_EPILOG)
    parser.set_defaults(evaluations=None, metric=None)
    run = parser.add_argument_group("measuring")
    run.add_argument("--recalibrate", action="store_true", help="measure again, whatever is kept")
    run.add_argument("--json", action="store_true", help="print the prediction as one line of JSON")


def _of_a_race(
    commands: argparse._SubParsersAction[OneLineParser], name: str, about: str, epilog: str
) -> OneLineParser:
    """Add a command that describes a race: network, data, partition, training and computing."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(name, help=about, epilog=epilog, formatter_class=formatter, allow_abbrev=False)
    _add_model_and_data(parser)
    _add_partition(parser)
    _add_training(parser)
    _add_computing(parser)
    return parser


def _add_model_and_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network and data")
    group.add_argument(
        "--preset", default=DEFAULT, metavar="NAME", help=f"recipe to start from: {', '.join(RACE_PRESETS)}"
    )
    group.add_argument(
        "--model", metavar="NAME", help="glyph_net, doc_net, resnet20, a torchvision model, distilbert, …, timm, or own"
    )
    group.add_argument(
        "--source", metavar="WHERE", help="folder or hub name; name in timm; FILE.py:FUNCTION of your own"
    )
    group.add_argument("--weights", metavar="WHICH", help="pretrained, none, or a .pth/.safetensors state dict")
    group.add_argument("--data", metavar="NAME", help=f"of {', '.join(DATASETS)}")
    group.add_argument("--data-path", metavar="PATH", help="class folders, a table, the set's folder, or a hub name")
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="edge to which images are resized")
    group.add_argument("--num-classes", type=int, metavar="N", help="size of the head; default: the data's classes")
    group.add_argument("--train-images", type=int, metavar="N", help="use only so many images or texts; 0 takes all")
    group.add_argument("--test-images", type=int, metavar="N", help="test on only so many; 0 takes all")
    group.add_argument("--bad-images", metavar="WHAT", help="refuse (default) or skip unreadable images and rows")
    group.add_argument("--max-tokens", type=int, metavar="N", help="texts are cut after so many; default 128")
    group.add_argument("--text-column", metavar="NAME", help="of a table or of hub data; default: found")
    group.add_argument("--label-column", metavar="NAME", help="of a table or of hub data; default: found")
    group.add_argument("--split", metavar="WHICH", help="test on the set's own part (default), or on a random one")
    group.add_argument("--validation-share", type=float, metavar="SHARE", help="of --split random; default 0.2")
    group.add_argument(
        "--augment", metavar="WHAT", help="training images: none (default), flip or crop_flip, at random"
    )
    group.add_argument("--download", action="store_true", help="fetch missing files of the data set")


def _add_partition(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("partition")
    group.add_argument("--fast", metavar="PRESET", help=f"what is fast: {', '.join(PRESETS)}")
    group.add_argument("--fast-n", type=int, metavar="N", help="how many layers --fast last_n takes; default 1")
    group.add_argument(
        "--fast-pattern", action="append", metavar="GLOB", help="what is fast, as a pattern; may be repeated"
    )
    group.add_argument("--partition", metavar="FILE", help="a multirate-partition file; --k overrides its slow periods")
    group.add_argument("--k", type=int, metavar="K", help="period of the slow part")
    group.add_argument(
        "--k-phases", metavar="LIST", help="K:EPOCHS pairs before k: 1:2,2:3 is k = 1 for 2 epochs, then 2 for 3 epochs"
    )
    group.add_argument("--slow-lr-factor", type=float, metavar="F", help="the slow part's lr is F times the other; 1")
    group.add_argument("--no-drift", action="store_true", help="slow parts rest between their updates")
    group.add_argument("--arms", metavar="LIST", help="of sgd,multirate,frozen; default sgd,multirate")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training, the same for every arm")
    group.add_argument("--epochs", type=int, metavar="N", help="budget: epochs of every arm")
    group.add_argument("--seconds", type=float, metavar="S", help="budget: training seconds of every arm")
    group.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    group.add_argument("--base", metavar="RULE", help="base rule of every arm: sgd (default) or adamw")
    group.add_argument("--lr", type=float, metavar="LR", help="per-step size, what the plain base rule uses")
    group.add_argument("--momentum", type=float, metavar="M", help="0 ≤ M < 1, of SGD")
    group.add_argument("--nesterov", action="store_true", help="Nesterov momentum, of SGD")
    group.add_argument("--weight-decay", type=float, metavar="W", help="≥ 0; decoupled with adamw")
    group.add_argument("--no-decay-norms", action="store_true", help="no weight decay for norms and biases")
    group.add_argument("--schedule", metavar="NAME", help="of lr: constant (default), cosine, linear or one_cycle")
    group.add_argument("--warmup", type=float, metavar="SHARE", help="of the run in which lr rises; default 0")
    group.add_argument("--label-smoothing", type=float, metavar="E", help="0 ≤ E < 1, of the training loss")
    group.add_argument("--clip-norm", type=float, metavar="N", help="largest norm of a step's gradients; default: none")
    group.add_argument("--accumulate", type=int, metavar="N", help="divide each batch into N parts, to save memory")
    group.add_argument("--seeds", type=int, default=1, metavar="N", help="run the seeds 0…N−1; default 1")


def _add_computing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("computing, the same for every arm")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, mps, cuda or cuda:N; default auto")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of the worker; default: cores - 1")
    group.add_argument("--precision", metavar="WHICH", help="float32 (default), or bf16: autocast, float32 parameters")
    group.add_argument("--channels-last", action="store_true", help="channels innermost in memory")
    group.add_argument("--compile", action="store_true", help="torch.compile; compiling is no training time")
    group.add_argument("--memory", metavar="WHICH", help="of multirate arms: plain (default), or lean: recompute more")
