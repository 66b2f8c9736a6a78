"""Run by test_resume.py: trainings that are killed at random moments and resumed, compared with an unbroken one.

    python killed_runs.py config.json KILLS SEED  ->  exit status 0 and a line about what happened, or an AssertionError

Everything heavy is imported once; each training is a fork of this single-threaded process, ended by SIGKILL.
"""
from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from engine.program import run_program
from engine.training.checkpoints import BEST, LATEST, load, repair, stages
from engine.training.session import run_training
from exp_config import Config


def start(config: Config, resume_from: Path | None) -> int:
    """Process id of a training in a fork."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run_training(config, resume_from=None if resume_from is None else str(resume_from))
            status = 0
        except BaseException:
            logging.exception("a training ended with an error")
        finally:
            os._exit(status)
    return pid


def finish(pid: int, seconds: float | None = None) -> bool:
    """Wait for the end, or kill after `seconds`; whether the training ended by itself."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, 0 if end is None else os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, f"a training failed with status {status}"
            return True
        if end is not None and time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.002)


def result(folder: Path) -> tuple[dict, list[dict], bytes]:
    """Everything that must not depend on interruptions: state, reported numbers, weights file."""
    state = load(folder)
    lines = [json.loads(line) for line in (folder.parent / "history.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("images_per_second", None)
    return state, lines, (folder / "HVR.safetensors").read_bytes()


def assert_same(found: object, expected: object, place: str = "state") -> None:
    """Equality bit for bit, through dicts, lists and tensors."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key in expected:
            assert_same(found[key], expected[key], f"{place}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), place
        for number, item in enumerate(expected):
            assert_same(found[number], item, f"{place}[{number}]")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), place
    else:
        assert found == expected, f"{place}: {found} != {expected}"


def run_folder(config: Config) -> Path | None:
    folders = sorted(Path(config.checkpoint_dir).glob("*/"))
    return folders[-1] if folders else None


def main(config_path: str, kills: int, seed: int) -> int:
    logging.basicConfig(level=logging.ERROR)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports the half of torch that each fork would import again
    draw = random.Random(seed)
    base = Config.from_json(config_path)
    config = replace(base, checkpoint_dir=base.checkpoint_dir + "/unbroken")
    began = time.monotonic()
    finish(start(config, None))
    duration = time.monotonic() - began
    expected = {name: result(run_folder(config) / name) for name in (LATEST, BEST)}

    killed, completed, in_a_save, number = 0, 0, 0, 0
    while killed < kills or not completed:
        number += 1
        config = replace(base, checkpoint_dir=f"{base.checkpoint_dir}/broken_{number}")
        ended = False
        while not ended:
            run = run_folder(config)
            if run is not None:
                in_a_save += any(stage.exists() for name in (LATEST, BEST) for stage in stages(run / name))
                repair(run / LATEST)
            resume_from = run / LATEST if run is not None and (run / LATEST).is_dir() else None
            ended = finish(start(config, resume_from), draw.uniform(0.0, 0.7) * duration if killed < kills else None)
            killed += not ended
        completed += 1
        for name in (LATEST, BEST):
            found = result(run_folder(config) / name)
            assert_same(found[0], expected[name][0], name)
            assert found[1] == expected[name][1], "reported numbers"
            assert found[2] == expected[name][2], "weights file"
    print(f"{killed} kills, {in_a_save} of them within a save, {completed} runs completed, each equal to the unbroken one; "
          f"an unbroken run takes {duration:.1f} s")
    return 0


if __name__ == "__main__":
    run_program(lambda: main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
