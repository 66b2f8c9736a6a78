"""Options that the scripts share, and how wrong ones are told. No heavy imports: --help answers at once."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from data.files.kinds import FORMATS
from exp_config import PROJECT_ROOT

LOOK = ("seed", "z_distribution", "border", "strength", "average", "light_order", "white_balance", "detail",
        "max_working_megapixels", "brightness", "saturation", "precision", "hvr_t", "hvr_c", "hvr_n_supervision",
        "hvr_n_sup_factor")
WRONG_USAGE = 2  # exit status


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults in the help, where there is one to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)


def path(text: str) -> Path:
    """An argparse type: Path, but not of an empty text, which would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text; expected a path (is a shell variable not set?)")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """Errors as one line."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (--help lists the options)", file=sys.stderr)
        raise SystemExit(WRONG_USAGE)


def number(kind: type, low: float, high: float) -> Callable[[str], Any]:
    """An argparse type: an int or float within bounds."""
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            whole = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r}; expected {whole} from {low:g} to {high:g}")
        return value

    return read


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Weights, and what computes with them."""
    add = parser.add_argument
    add("--config_path", type=path, metavar="FILE", default=PROJECT_ROOT / "checkpoint/zeros/config.json",
        help="config.json of the weights")
    add("--weights_path", type=path, metavar="FILE", default=PROJECT_ROOT / "checkpoint/zeros/HVR.safetensors",
        help="the weights")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:0, cuda:1, .. or mps")
    add("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"),
        help="numbers to compute with; auto: bf16 for 8-bit photos on a GPU that has it, else fp32")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """How results are written."""
    files = parser.add_argument_group("files")
    files.add_argument("--output_format", choices=[suffix[1:] for suffix in FORMATS], help="format of all results; "
                       "without it each photo keeps its own, raw files become 16-bit tif")
    files.add_argument("--quality", type=number(int, 1, 100), metavar="N", help="of jpg, webp, avif and heic results; "
                       "default: 95, of avif and heic 90")
    files.add_argument("--overwrite", action="store_true", help="make results of a folder anew that are there already "
                       "(that of a single photo is each time)")
    files.add_argument("--compare", action="store_true", help="also write input and output side by side, into "
                       "OUTPUT_DIR/compare")
    files.add_argument("--contact_sheet", type=path, metavar="FILE", help="also write one picture of all results (of the "
                       "pairs with --compare); a sheet that is there is replaced")
    files.add_argument("--max_megapixels", type=number(float, 0, 178), default=120.0, metavar="M",
                       help="larger photos are refused")
    files.add_argument("--batch_megapixels", type=number(float, 0, 1000), metavar="M", help="photos of one size go through "
                       "the network together, up to so many megapixels in all; 0: one at a time; default: 2 on a GPU, 0 on a "
                       "CPU, which gains nothing by it")


def add_look_options(parser: argparse.ArgumentParser, megapixels: str = "the config's, for scoring 0",
                     steps: str = "the config's") -> None:
    """What decides on the result; `look_of` takes them out again. megapixels, steps: the defaults of the working size and of
    supervision steps, in words."""
    look = parser.add_argument_group("the result")
    look.add_argument("--strength", type=number(float, 0, 1), default=1.0, metavar="S",
                      help="0: the input, 1: the network's picture, between them a blend")
    look.add_argument("--brightness", type=number(float, -8, 8), default=0.0, metavar="STOPS",
                      help="brighter or darker than the network's own choice, 1 for twice the light; white stays white")
    look.add_argument("--saturation", type=number(float, 0, 8), default=1.0, metavar="S",
                      help="0: gray, 1: the network's colours, 1.4: stronger ones")
    look.add_argument("--light_order", type=number(float, 0, 1), metavar="O", help="how far what is equally light in the "
                      "photo is so in the result, and how far strong colours keep their order of red, green and blue; 0: each "
                      "place as the network makes it; default: the config's")
    look.add_argument("--white_balance", type=number(float, 0, 1), metavar="W", help="how much of the colour cast of what "
                      "came out of the dark is taken off; default: the config's")
    look.add_argument("--detail", type=number(float, 0, 1), metavar="D", help="how much of the photo's own fine structure "
                      "the result has, where the photo has light; 0: what the network paints; default: the config's")
    look.add_argument("--max_working_megapixels", type=number(float, 0, 178), metavar="M", help="larger photos are shown to "
                      "the network as copies of so many; the result has the photo's size, and its sharpness by --detail; "
                      f"0: the whole photo; default: {megapixels}")
    look.add_argument("--seed", type=number(int, 0, 2**31 - 1), default=0, help="of the initial latents")
    look.add_argument("--z_distribution", choices=("normal", "zeros"), help="initial latents: random numbers, as the seed "
                      "says, or zeros, which are their mean and leave no grain of theirs; default: the config's")
    count = number(int, 0, 100)
    look.add_argument("--hvr_t", type=count, metavar="T", help="L steps per H step; default: the config's")
    look.add_argument("--hvr_c", type=count, metavar="C", help="H steps per supervision step; default: the config's")
    look.add_argument("--hvr_n_supervision", type=count, metavar="N", help=f"supervision steps; default: {steps}")
    look.add_argument("--average", action=argparse.BooleanOptionalAction, help="the result is the mean of the pictures after "
                      "all supervision steps, or that after the last one; default: the config's")
    look.add_argument("--border", type=number(int, 0, 1024), metavar="PIXELS", help="mirrored pixels around the photo while "
                      "it is computed: they keep its edges free of the network's frame; default: the config's")
    look.add_argument("--hvr_n_sup_factor", type=number(float, 0, 100), metavar="F",
                      help="run max(int(F * N), 1) supervision steps; default: the config's")


def look_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options of LOOK by name, for engine.enhancing.settings.Settings.of."""
    return {name: getattr(args, name) for name in LOOK}
