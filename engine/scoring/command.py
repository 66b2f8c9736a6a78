"""Scoring as the command line asks for it: benchmark sets by name, or two folders of pairs."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from data.benchmarks import BenchmarkSet, benchmark_sets
from engine.enhancing.enhancer import Enhancer
from engine.scoring import evaluation
from exp_config import Config


def score(enhancer: Enhancer, weights_path: Path, output_dir: Path, *, names: Sequence[str] = (), low: Path | None = None,
          high: Path | None = None) -> int:
    """Score the sets of the config's eval_dataset with these names ("all": every one that is here), or the photos of `low`
    against those of `high`. -> exit status: 1 where something could not be scored, else 0.

    Raises BenchmarkError for an unknown name, EvaluationError where there is nothing to score.
    """
    every = "all" in names
    sets = [BenchmarkSet(low.resolve().name, low, high)] if low is not None else chosen_sets(enhancer.config, names)
    with logging_redirect_tqdm():
        return evaluation.run(sets, enhancer, output_dir, enhancer.device, required=not every,
                              settings={"weights": str(weights_path), **enhancer.settings.record()})


def chosen_sets(config: Config, names: Sequence[str]) -> list[BenchmarkSet]:
    """The sets with these names; all where one of them is "all". Raises BenchmarkError for an unknown name beside it, too."""
    named = benchmark_sets(config, [name for name in names if name != "all"])
    return benchmark_sets(config) if "all" in names else named
