"""Which scenes of a test set stand in the training set as well: `python -m data.overlap --train DIR --test DIR`.

The paper reports that many LOL test scenes do: pairs of references with an SSIM of 0.90 and more. How the pairs are
computed stands in data/overlap/study.py, what is written in data/overlap/report.py.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.overlap.report import write_report
from data.overlap.study import MARGIN, OverlapError, study, verify
from exp_config.streams import open_standard_streams


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data.overlap", description="Find test scenes that stand in the "
                                     "training set: pairs of reference pictures with a high SSIM.")
    parser.add_argument("--train", type=Path, required=True, metavar="DIR", help="references of the training split")
    parser.add_argument("--test", type=Path, required=True, metavar="DIR", help="references of the test split")
    parser.add_argument("--output_dir", type=Path, default=Path("results/overlap"), metavar="DIR",
                        help="where matrix.csv, matches.csv, heatmap.png and overlap.json go (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.9, help="SSIM from which on two pictures count as one "
                        "scene (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=MARGIN, help="pairs estimated at threshold - margin and above "
                        "are computed in full; 2 computes all of them (default: %(default)s)")
    parser.add_argument("--verify", type=int, default=0, metavar="N", help="also compute N of the ruled-out pairs in "
                        "full, and print the recall and the estimate's error")
    options = parser.parse_args(arguments)
    if not 0 < options.threshold <= 1 or options.margin < 0 or options.verify < 0:
        parser.error("expected 0 < --threshold <= 1, --margin >= 0 and --verify >= 0")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, write its files, print its figures; returns the exit status."""
    options = _parse_arguments(arguments)
    try:
        overlap = study(options.test, options.train, options.threshold, options.margin)
        verification = verify(overlap, options.verify) if options.verify else None
        lines = write_report(overlap, verification, options.output_dir)
    except (OverlapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    open_standard_streams()
    sys.exit(main())
