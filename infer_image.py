"""Enhance dark photos with a trained network, score benchmarks with it, or export it.

    python infer_image.py --input_path PHOTO_OR_FOLDER --output_dir results/out
"""
from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # at run time torch is imported only once the arguments are known to be right
    import numpy as np
    import torch

    from engine.enhancing.folder_job import EnhancePixels
    from engine.enhancing.job_plan import Plan
    from exp_config import Config

PROJECT = Path(__file__).resolve().parent
FORMATS = ("png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp")
FILE_OPTIONS = ("output_format", "overwrite", "compare", "contact_sheet")
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130  # exit statuses


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


def build_parser() -> Parser:
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False,  # type: ignore[union-attr]
                    formatter_class=Formatter,
                    epilog="Exit status: 0 every photo is written (or was there already), 1 some failed, 2 wrong usage or "
                           "paths, 130 interrupted.")
    add = parser.add_argument
    add("--config_path", type=path, metavar="FILE", default=PROJECT / "checkpoint/zeros/config.json",
        help="config.json of the weights")
    add("--weights_path", type=path, metavar="FILE", default=PROJECT / "checkpoint/zeros/HVR.safetensors", help="the weights")
    add("--input_path", type=path, metavar="PATH", help="a photo, or a folder with all folders below it")
    add("--output_dir", type=path, metavar="DIR", default=Path("results/out"),
        help="folder for the results; names and sub-folders are those of the input")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:0, cuda:1, .. or mps")
    add("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"),
        help="numbers to compute with; auto: bf16 for 8-bit photos on a GPU that has it, else fp32")
    add("--check_gpu_mem", action="store_true",
        help="enhance dummy pictures first and print the memory they take, on the CPU too")

    files = parser.add_argument_group("files")
    files.add_argument("--output_format", choices=FORMATS, help="format of all results; without it each photo keeps its own")
    files.add_argument("--overwrite", action="store_true", help="make results of a folder anew that are there already "
                       "(that of a single photo is each time)")
    files.add_argument("--compare", action="store_true", help="also write input and output side by side, into "
                       "OUTPUT_DIR/compare")
    files.add_argument("--contact_sheet", type=path, metavar="FILE", help="also write one picture of all results (of the "
                       "pairs with --compare); a sheet that is there is replaced")
    files.add_argument("--max_megapixels", type=number(float, 0, 178), default=120.0, metavar="M",
                       help="larger photos are refused")

    look = parser.add_argument_group("the result")
    look.add_argument("--strength", type=number(float, 0, 1), default=1.0, metavar="S",
                      help="0: the input, 1: the network's picture, between them a blend")
    look.add_argument("--seed", type=number(int, 0, 2**31 - 1), default=0, help="of the initial latents")
    look.add_argument("--z_distribution", choices=("normal", "zeros"), help="initial latents: random numbers, as the seed "
                      "says, or zeros, which are their mean and leave no grain of theirs; default: the config's")
    steps = number(int, 0, 100)
    look.add_argument("--hvr_t", type=steps, metavar="T", help="L steps per H step; default: the config's")
    look.add_argument("--hvr_c", type=steps, metavar="C", help="H steps per supervision step; default: the config's")
    look.add_argument("--hvr_n_supervision", type=steps, metavar="N", help="supervision steps; default: the config's")
    look.add_argument("--border", type=number(int, 0, 1024), metavar="PIXELS", help="mirrored pixels around the photo while "
                      "it is computed: they keep its edges free of the network's frame; default: the config's")
    look.add_argument("--hvr_n_sup_factor", type=number(float, 0, 100), metavar="F",
                      help="run max(int(F * N), 1) supervision steps; default: the config's")

    other = parser.add_argument_group("scoring and export")
    other.add_argument("--benchmark", nargs="+", metavar="NAME", help="enhance and score these sets of the config's "
                       "eval_dataset, or all")
    other.add_argument("--target_path", type=path, metavar="DIR", help="references of the photos in --input_path, with the "
                       "same names: score the results")
    other.add_argument("--export_onnx", type=path, metavar="FILE", help="write the network as ONNX, for any height, width "
                       "and batch")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown and not unknown[0].startswith("-"):
        parser.error(f"unexpected argument {unknown[0]!r}; one photo or folder at a time: --input_path PATH --output_dir "
                     "DIR, or with infer_image.sh both first and the options after them")
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if args.target_path and not args.input_path:
        parser.error("--target_path needs --input_path: the folder of dark photos")
    if args.benchmark and args.input_path:
        parser.error("--benchmark brings its own photos; leave --input_path away, or use --target_path for other folders")
    unused = [name for name in FILE_OPTIONS if getattr(args, name)]
    if (args.benchmark or args.target_path) and unused:
        parser.error(f"--{unused[0]} has no part in scoring, which writes 8-bit PNG files and its own reports")
    if not (args.input_path or args.benchmark or args.check_gpu_mem or args.export_onnx):
        parser.error("nothing to do: --input_path PHOTO_OR_FOLDER is missing")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run with the command line `argv` (default: the program's) and return the exit status."""
    args = parse_arguments(argv)
    for stream in (sys.stdout, sys.stderr):  # file names may hold bytes that are no text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s")
    try:
        from engine.environment import load_env_file

        load_env_file()
        return run(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except ValueError as error:
        if type(error) is ValueError:  # not one of the project's own: a fault of the program
            raise
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except OSError as error:  # of the paths on the command line; files of a folder are looked after one by one
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE


def run(args: argparse.Namespace) -> int:
    """What the arguments ask for, in the order: memory check, export, scores or photos."""
    from data.files.images import silence_decoders

    silence_decoders()
    from engine.enhancing.job_plan import check_output_dir, check_pair_folders, plan_job

    plan = None
    if args.target_path or args.benchmark:
        check_output_dir(args.output_dir)
    if args.target_path:
        check_pair_folders(args.input_path, args.target_path, args.output_dir / args.input_path.resolve().name)
    elif args.input_path:
        plan = plan_job(args.input_path, args.output_dir, output_format=args.output_format, compare=args.compare,
                        contact_sheet=args.contact_sheet)
    from engine.device import choose_device
    from engine.enhancing.enhancement import enhance
    from exp_config import NETWORK_FIELDS, Config
    from models import load_pretrained

    config = Config.from_checkpoint(args.config_path)
    device = choose_device(args.device)
    model = load_pretrained(config, args.weights_path, device)
    model.z_distribution = args.z_distribution or model.z_distribution
    border = config.inference_border if args.border is None else args.border
    given = {"T": config.hvr_t if args.hvr_t is None else args.hvr_t,
             "C": config.hvr_c if args.hvr_c is None else args.hvr_c,
             "N": supervision_steps(config, args.hvr_n_supervision, args.hvr_n_sup_factor)}

    def enhance_pixels(pixels: np.ndarray) -> np.ndarray:
        return enhance(model, pixels, seed=args.seed, strength=args.strength, border=border, precision=args.precision, **given)

    if args.check_gpu_mem:
        from engine.enhancing.memory_check import memory_report

        print(memory_report(model, enhance_pixels))
    if args.export_onnx:
        from engine.enhancing.export import export_onnx

        export_onnx(model, args.export_onnx, **given)
        print(f"written: {args.export_onnx}")
    settings = {"seed": args.seed, "z_distribution": model.z_distribution, "border": border,
                "strength": args.strength, "precision": args.precision, **given}
    if args.benchmark or args.target_path:
        return score(args, config, enhance_pixels, device, {"weights": str(args.weights_path), **settings})
    settings |= {name: getattr(config, name) for name in NETWORK_FIELDS}
    return enhance_files(args, plan, enhance_pixels, settings) if plan else DONE


def supervision_steps(config: Config, n: int | None, factor: float | None) -> int:
    """max(int(factor * N), 1), of the config's values where none is given."""
    n = config.hvr_n_supervision if n is None else n
    factor = config.hvr_n_sup_factor if factor is None else factor
    return max(int(factor * n), 1)


def enhance_files(args: argparse.Namespace, plan: Plan, enhance_pixels: EnhancePixels, settings: dict[str, Any]) -> int:
    """The photos of the plan, the contact sheet, and the summary."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from data.files.images import PhotoError, write_photo
    from engine.enhancing.contact_sheet import contact_sheet
    from engine.enhancing.folder_job import is_there, run_job
    from engine.enhancing.job_plan import describe_ignored
    from engine.enhancing.job_record import JobRecord, job_settings

    record = JobRecord(args.output_dir, job_settings(args.input_path, args.weights_path, **settings))
    with logging_redirect_tqdm():
        summary = run_job(plan, enhance_pixels, overwrite=args.overwrite, max_megapixels=args.max_megapixels, record=record)
    print(f"{summary}; results in {args.output_dir}")
    if plan.ignored:
        print(f"other files in the folder: {describe_ignored(plan.ignored)}")
    if summary.interrupted:
        print("interrupted: the same command again goes on from here" + (" (without --overwrite)" if args.overwrite else ""))
        return INTERRUPTED
    shown = [(task.output.relative_to(args.output_dir), task.compare or task.output) for task in plan.tasks]
    pictures = [(str(name), file) for name, file in shown if is_there(file)]
    if args.contact_sheet and pictures:
        try:
            write_photo(args.contact_sheet, contact_sheet(pictures, args.max_megapixels, pairs=args.compare))
        except PhotoError as error:
            summary.fail(args.contact_sheet, str(error))
        else:
            print(f"contact sheet: {args.contact_sheet}")
    return FAILED if summary.failed else DONE


def score(args: argparse.Namespace, config: Config, enhance_pixels: EnhancePixels, device: torch.device,
          settings: dict[str, Any]) -> int:
    """Benchmarks, or the photos of --input_path against those of --target_path."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from data.benchmarks import BenchmarkSet, benchmark_sets
    from engine.scoring import evaluation

    every = bool(args.benchmark) and "all" in args.benchmark
    if args.target_path:
        sets = [BenchmarkSet(args.input_path.resolve().name, args.input_path, args.target_path)]
    else:
        sets = benchmark_sets(config, [name for name in args.benchmark if name != "all"])
        sets = benchmark_sets(config) if every else sets
    with logging_redirect_tqdm():
        return evaluation.run(sets, enhance_pixels, args.output_dir, device, required=not every, settings=settings)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # docker stop, SLURM, timeout: as Ctrl-C
    sys.exit(main())
