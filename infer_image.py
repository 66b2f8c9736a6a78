"""Enhance dark photos with a trained network, score benchmarks with it, or export it.

    python infer_image.py --input_path PHOTO_OR_FOLDER --output_dir results/out
"""
from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from engine.enhancing.options import (
    Formatter,
    Parser,
    add_file_options,
    add_look_options,
    add_network_options,
    look_of,
    path,
)
from engine.environment import check_progress_variables, load_env_file
from engine.launcher import guarded, place
from engine.program import quick_imports, run_program, told

FILE_OPTIONS = ("output_format", "quality", "overwrite", "compare", "contact_sheet")
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit statuses, beside engine.program.WRONG_USAGE


def build_parser() -> Parser:
    parser = Parser(description="Enhance dark photos with a trained network, score benchmarks with it, or export it.",
                    allow_abbrev=False, formatter_class=Formatter,
                    epilog="Exit status: 0 every photo is written (or was there already), 1 some failed, 2 wrong usage or "
                           "paths, 130 interrupted.")
    parser.add_argument("--input_path", type=path, metavar="PATH", help="a photo, or a folder with all folders below it")
    parser.add_argument("--output_dir", type=path, metavar="DIR", default=Path("results/out"),
                        help="folder for the results; names and sub-folders are those of the input")
    add_network_options(parser)
    parser.add_argument("--check_gpu_mem", action="store_true",
                        help="enhance dummy pictures first and print the memory they take, on the CPU too")
    add_file_options(parser)
    add_look_options(parser)
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

    def prepared() -> int:
        load_env_file()
        check_progress_variables()
        # Of several processes, the first one's warnings are those of all.
        logging.basicConfig(format="%(message)s", level=logging.WARNING if place().rank == 0 else logging.ERROR)
        return guarded(lambda: run(args))

    return told(prepared)


def run(args: argparse.Namespace) -> int:
    """What the arguments ask for, in the order: memory check, export, scores or photos."""
    from data.files.images import silence_decoders
    from engine.enhancing.job_plan import check_output_dir, check_pair_folders, plan_job

    silence_decoders()
    plan = None
    if args.target_path or args.benchmark:
        check_output_dir(args.output_dir)
    if args.target_path:
        check_pair_folders(args.input_path, args.target_path, args.output_dir / args.input_path.resolve().name)
    elif args.input_path:
        plan = plan_job(args.input_path, args.output_dir, output_format=args.output_format, compare=args.compare,
                        contact_sheet=args.contact_sheet, quality=args.quality)

    with quick_imports():  # of torch, which takes seconds: the paths are right by now
        from engine.enhancing.enhancer import load_enhancer

    look = look_of(args)
    if (args.benchmark or args.target_path) and look["max_working_megapixels"] is None:
        look["max_working_megapixels"] = 0.0  # scores are of the network's own work, unless asked otherwise
    enhancer = load_enhancer(args.config_path, args.weights_path, args.device, **look)
    if args.check_gpu_mem and place().rank == 0:
        from engine.enhancing.memory_check import memory_report

        print(memory_report(enhancer.model, enhancer, enhancer.settings.max_working_megapixels))
    if args.export_onnx and place().rank == 0:
        from engine.enhancing.export import export_onnx

        export_onnx(enhancer.model, args.export_onnx, **enhancer.settings.steps, average=enhancer.settings.average)
        print(f"written: {args.export_onnx}")
    if args.benchmark or args.target_path:
        from engine.scoring.command import score

        return score(enhancer, args.weights_path, args.output_dir, names=args.benchmark or (), low=args.input_path,
                     high=args.target_path)
    if plan is None:
        return DONE
    from engine.enhancing.photos import enhance_photos

    summary = enhance_photos(plan, enhancer, args.input_path, args.output_dir, args.weights_path, overwrite=args.overwrite,
                             max_megapixels=args.max_megapixels, sheet=args.contact_sheet, compare=args.compare,
                             batch_megapixels=args.batch_megapixels)
    return INTERRUPTED if summary.interrupted else FAILED if summary.failed or summary.orphaned else DONE


if __name__ == "__main__":
    run_program(main)
