"""Scores of the benchmarks in the middle of a training, and the pictures to look at."""
from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import torch

from data.benchmarks import benchmark_sets
from engine.background import interruptible
from engine.enhancing.enhancement import enhance
from engine.scoring.evaluation import PICTURES, evaluate
from exp_config import Config
from models import HVR

logger = logging.getLogger(__name__)

FOLDER = "evaluation"   # below the run folder: pictures and reports of the latest round
SHOWN_PER_SET = 2       # pictures of each benchmark that wandb gets


def score_benchmarks(config: Config, model: HVR, run: Path, device: torch.device, epoch: int, *,
                     name_absent: bool) -> tuple[dict[str, float], dict[str, Path]]:
    """Enhance and score config.eval_dataset with the present weights, shared by all processes; each must call this.

    name_absent: warn of benchmarks that are not on this machine. -> ({"LOLv1/psnr": ..}, {"LOLv1/1.png": enhanced picture}).
    No trouble here ends a training: it is logged, and what could be scored is returned.
    """
    sets = [benchmark for benchmark in benchmark_sets(config)
            if name_absent or any(folder.is_dir() for folder in benchmark.folders())]
    if not sets:
        return {}, {}
    training = model.training
    model.eval()
    try:
        results = evaluate(sets, partial(interruptible, enhance, model), run / FOLDER, device, score_inputs=False,
                           max_images=config.eval_max_images, settings={"run": run.name, "epoch": epoch})
    except Exception as error:
        logger.error("the benchmarks could not be scored: %s: %s", type(error).__name__, error, exc_info=True)
        return {}, {}
    finally:
        model.train(training)
    scores = {f"{result.name}/{metric}": value for result in results for metric, value in result.means().items()}
    pictures = {f"{result.name}/{picture.name}": result_picture(run, result.name, picture.name)
                for result in results for picture in result.scored[:SHOWN_PER_SET]}
    return scores, pictures


def result_picture(run: Path, benchmark: str, name: str) -> Path:
    """Where `evaluate` has put an enhanced picture of a run's latest round."""
    return run / FOLDER / benchmark / PICTURES / Path(name).with_suffix(".png")
