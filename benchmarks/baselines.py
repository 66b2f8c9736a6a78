"""What plain methods score, by the same evaluation as the network: the figures it has to beat.

    python -m benchmarks.baselines --low DIR --high DIR [--output_dir results/baselines]
    python -m benchmarks.baselines --benchmark DICM

Methods: the curve v^0.4 on every RGB value; CLAHE (OpenCV's: clip limit 2, 8x8 tiles) and histogram equalisation, both
of the lightness L of Lab with the colour kept. The first table also shows the scores of the dark input itself.
"""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from data.benchmarks import BenchmarkError, BenchmarkSet, benchmark_sets
from data.files.images import to_8_bit
from engine.scoring.evaluation import EvaluationError, evaluate
from engine.scoring.report import overview_table
from exp_config import Config
from metrics.suite import METRICS


def curve(picture: np.ndarray) -> np.ndarray:
    """v^0.4 of every value v in [0, 1]."""
    table = np.round(255 * (np.arange(256) / 255) ** 0.4).astype(np.uint8)
    return table[to_8_bit(picture)]


def clahe(picture: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of the lightness."""
    return _on_lightness(picture, cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply)


def equalised(picture: np.ndarray) -> np.ndarray:
    """Histogram equalisation of the lightness."""
    return _on_lightness(picture, cv2.equalizeHist)


def _on_lightness(picture: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    lab = cv2.cvtColor(to_8_bit(picture), cv2.COLOR_RGB2LAB)
    lab[..., 0] = change(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


METHODS = {"v^0.4": curve, "CLAHE": clahe, "histogram_equalisation": equalised}


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baselines", description="Score plain enhancement methods.")
    parser.add_argument("--low", type=Path, metavar="DIR", help="dark pictures")
    parser.add_argument("--high", type=Path, metavar="DIR", help="their references; without them the set is unpaired")
    parser.add_argument("--benchmark", nargs="+", metavar="NAME", help="sets of the default config's eval_dataset instead")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, metavar="NAME",
                        help=f"only these of {', '.join(METRICS)}")
    parser.add_argument("--output_dir", type=Path, default=Path("results/baselines"), metavar="DIR",
                        help="where pictures and scores go (default: %(default)s)")
    options = parser.parse_args(arguments)
    if bool(options.low) == bool(options.benchmark):
        parser.error("give either --low DIR (and --high DIR), or --benchmark NAME")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Score every method and print one table for each; returns the exit status."""
    options = _parse_arguments(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        sets = (benchmark_sets(Config(), options.benchmark) if options.benchmark else
                [BenchmarkSet(options.low.resolve().parent.name or "pictures", options.low, options.high)])
        complete = True
        for method, (name, function) in enumerate(METHODS.items()):
            results = evaluate(sets, function, options.output_dir / name, torch.device("cpu"),
                               score_inputs=method == 0, metrics=options.metrics, settings={"method": name})
            print(f"\n{name}\n{overview_table(results)}", flush=True)
            complete &= all(result.problem is None and not result.failed for result in results)
    except (BenchmarkError, EvaluationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
