"""A page in the browser: drop a dark photo, see it bright.

    python app.py
"""
from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Sequence

from engine.enhancing.options import (
    Formatter,
    Parser,
    add_look_options,
    add_network_options,
    look_of,
    number,
)
from engine.program import quick_imports, run_program, told


def name_and_password(text: str) -> tuple[str, str]:
    """An argparse type."""
    name, _, password = text.partition(":")
    if not name or not password:
        raise argparse.ArgumentTypeError("expected USER:PASSWORD")
    return name, password


def build_parser() -> Parser:
    parser = Parser(description="A page in the browser: drop a dark photo, see it bright.", allow_abbrev=False,
                    formatter_class=Formatter, epilog="Ctrl-C ends the page, and deletes all photos and results.")
    page = parser.add_argument_group("the page")
    page.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all of this machine's, for people "
                      "elsewhere")
    page.add_argument("--port", type=number(int, 0, 65535), default=7860, help="0: any that is free")
    page.add_argument("--auth", type=name_and_password, metavar="USER:PASSWORD", help="ask for this name and password")
    page.add_argument("--open_browser", action="store_true", help="show the page at once")
    page.add_argument("--max_megapixels", type=number(float, 0, 178), default=60.0, metavar="M",
                      help="larger photos are refused")
    page.add_argument("--max_megabytes", type=number(float, 0.001, 10000), default=200.0, metavar="MB",
                      help="larger files are refused")
    add_network_options(parser)
    add_look_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run with the command line `argv` (default: the program's) and return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    return told(functools.partial(run, args))


def run(args: argparse.Namespace) -> int:
    """Load the network, and open the page until somebody ends it."""
    from data.files.images import silence_decoders

    silence_decoders()
    with quick_imports():  # of torch
        from engine.enhancing.enhancer import load_enhancer
    from engine.page.server import serve

    enhancer = load_enhancer(args.config_path, args.weights_path, args.device, **look_of(args))
    serve(enhancer, host=args.host, port=args.port, auth=args.auth, max_megapixels=args.max_megapixels,
          max_megabytes=args.max_megabytes, open_browser=args.open_browser)
    return 0


if __name__ == "__main__":
    run_program(main)
