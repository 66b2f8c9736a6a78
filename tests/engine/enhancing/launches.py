"""Starts infer_image.py as srun does, some processes at a time; torch is imported once for all launches of a test run.

A line of JSON in ({"processes": 2, "arguments": [..], "folder": where what they say goes}), a line of JSON out (their exit
statuses). Photos have effects: one of 31 pixels in height takes the process with it, one of 33 its guard, and one of 35 stands
for Ctrl-C; but once only, and in a folder `slow`, where each takes a tenth of a second, and the first ones wait until all
processes have one.
"""
from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import infer_image
from engine.enhancing import enhancement
from engine.launcher import place
from engine.program import run_program

enhance = enhancement.enhance
EFFECTS = {31: (os.getpid, signal.SIGKILL), 33: (os.getppid, signal.SIGKILL), 35: (os.getpid, signal.SIGINT)}


def wait_for_all(folder):
    here = place()
    (folder / f".come.{here.rank}").touch()
    until = time.monotonic() + 100
    while len(list(folder.glob(".come.*"))) < here.world and time.monotonic() < until:
        time.sleep(0.02)


def enhance_with_effects(model, image, **options):
    for folder in (Path(argument) for argument in sys.argv if Path(argument).name == "slow"):
        wait_for_all(folder)
        time.sleep(0.1)
        if image.shape[0] in EFFECTS and not (folder / ".effect").exists():
            (folder / ".effect").touch()
            process, effect = EFFECTS[image.shape[0]]
            os.kill(process(), effect)
            time.sleep(60)
    return enhance(model, image, **options)


def run(arguments):
    enhancement.enhance = enhance_with_effects
    sys.argv[1:] = arguments
    run_program(infer_image.main)


def start(rank, launch):
    """-> process number of one of the launch."""
    process = os.fork()
    if process:
        return process
    os.environ |= {"SLURM_NTASKS": str(launch["processes"]), "SLURM_PROCID": str(rank), "SLURM_JOB_ID": "7",
                   **launch["environment"]}
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(launch["folder"]) / f"{name}{rank}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    run(launch["arguments"])


def serve():
    import torch  # noqa: F401

    import engine.enhancing.photos  # noqa: F401

    for line in sys.stdin:
        launch = json.loads(line)
        processes = [start(rank, launch) for rank in range(launch["processes"])]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    run(sys.argv[1:]) if len(sys.argv) > 1 else serve()
