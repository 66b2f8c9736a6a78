"""Enhance dark clips with a trained network, steadily from frame to frame.

    python infer_video.py --input_path CLIP_OR_FOLDER --output_dir results/out
"""
from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from engine.enhancing.options import (
    Formatter,
    Parser,
    add_look_options,
    add_network_options,
    look_of,
    number,
    path,
)
from engine.environment import check_progress_variables, load_env_file
from engine.program import quick_imports, run_program, told

# Of each frame, on a CPU: what is shown to the network, and its supervision steps. Two cores then make one or more a second.
CPU_MEGAPIXELS, CPU_STEPS = 0.08, 1
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit statuses, beside engine.program.WRONG_USAGE


def build_parser() -> Parser:
    parser = Parser(description="Enhance dark clips with a trained network, steadily from frame to frame.", allow_abbrev=False,
                    formatter_class=Formatter,
                    epilog="Exit status: 0 every clip is written (or was there already), 1 some failed, 2 wrong usage or "
                           "paths, 130 interrupted.")
    add = parser.add_argument
    add("--input_path", type=path, required=True, metavar="PATH", help="a clip, or a folder with all folders below it")
    add("--output_dir", type=path, metavar="DIR", default=Path("results/out"),
        help="folder for the results; names and sub-folders are those of the input")
    add_network_options(parser)
    clip = parser.add_argument_group("the clip")
    clip.add_argument("--output_format", choices=("mp4", "mov", "mkv"), help="container of the results; without it a clip "
                      "keeps its own, where that is one of these or m4v (else: mp4, and mkv for webm and ogv)")
    clip.add_argument("--codec", default="libx264", metavar="NAME", help="encoder, by FFmpeg's name or as h264, h265, vp9, av1")
    clip.add_argument("--crf", type=number(float, 0, 63), metavar="Q", help="quality: smaller is better and larger; default: "
                      "the encoder's own, 23 for H.264")
    clip.add_argument("--preset", metavar="NAME", help="the encoder's speed against its size, ultrafast to veryslow for H.264; "
                      "default: its own")
    clip.add_argument("--pix_fmt", default="yuv420p", metavar="NAME", help="pixel format of the results; yuv420p10le keeps 10 "
                      "bits")
    clip.add_argument("--frame_by_frame", action="store_true",
                      help="each frame by itself, as infer_image.py would: it flickers")
    clip.add_argument("--resume", action="store_true", help="go on with the part that an ended run has left")
    clip.add_argument("--overwrite", action="store_true", help="make results anew that are there already, and begin parts anew")
    add_look_options(parser, f"the config's, and {CPU_MEGAPIXELS} on a CPU", f"the config's, and {CPU_STEPS} on a CPU")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.resume and args.overwrite:
        parser.error("--resume goes on with what is there, --overwrite begins anew; give one of them")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run with the command line `argv` (default: the program's) and return the exit status."""
    args = parse_arguments(argv)
    logging.basicConfig(format="%(message)s")

    def prepared() -> int:
        load_env_file()
        check_progress_variables()
        return run(args)

    return told(prepared)


def run(args: argparse.Namespace) -> int:
    """Plan, load the network, and enhance clip after clip."""
    from engine.video.folder import plan_clips, run_clips

    clips = plan_clips(args.input_path, args.output_dir, args.output_format)

    from engine.video.encoding import Encoding

    encoding = Encoding.of(args.codec, args.crf, args.preset, args.pix_fmt)

    with quick_imports():  # of torch, which takes seconds: options and paths are right by now
        from engine.device import choose_device
        from engine.enhancing.enhancer import load_enhancer
    from engine.enhancing.job_record import job_settings
    from engine.video.clip_job import enhance_clip

    look = look_of(args)
    if choose_device(args.device).type == "cpu":
        if look["max_working_megapixels"] is None:
            look["max_working_megapixels"] = CPU_MEGAPIXELS
        if look["hvr_n_supervision"] is None and look["hvr_n_sup_factor"] is None:
            look["hvr_n_supervision"] = CPU_STEPS
    enhancer = load_enhancer(args.config_path, args.weights_path, args.device, **look)
    settings = job_settings(args.input_path, args.weights_path, **enhancer.record())
    del settings["input"]  # a clip is known by its name and size, wherever it is moved
    enhance = functools.partial(enhance_clip, enhance_pixels=enhancer, at_once=enhancer.at_once, encoding=encoding,
                                settings=settings, steady=not args.frame_by_frame, resume=args.resume, overwrite=args.overwrite)
    tally = run_clips(clips, enhance, resume=args.resume, overwrite=args.overwrite)
    if tally.interrupted:
        return INTERRUPTED
    if not clips.single:
        print(f"{tally}; results in {args.output_dir}")
    return FAILED if tally.failed else DONE


if __name__ == "__main__":
    run_program(main)
