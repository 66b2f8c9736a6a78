"""What launchers' variables say, and what the guard of a process does."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.launcher import LIVES, LauncherError, Place, place

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("variables", "expected"), [
    ({}, Place()),
    ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, Place()),
    ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, Place(3, 4, 1)),
    ({"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, Place(5, 8, 1, slurm=True)),
    ({"WORLD_SIZE": "2", "RANK": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "5"}, Place(1, 2)),
    ({"WORLD_SIZE": "1", "RANK": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, Place(1, 2, slurm=True)),
    ({"LOCAL_RANK": "2"}, Place(local_rank=2)),
])
def test_place(variables, expected):
    assert place(variables) == expected


@pytest.mark.parametrize(("variables", "said"), [
    ({"WORLD_SIZE": "2"}, "RANK='' in the environment; expected a whole number"),
    ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE='two'"),
    ({"SLURM_NTASKS": "2", "SLURM_PROCID": "2"}, "SLURM_PROCID=2 of SLURM_NTASKS=2 processes; expected 0 to 1"),
])
def test_variables_that_contradict_each_other(variables, said):
    with pytest.raises(LauncherError, match=said):
        place(variables)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from engine.launcher import guarded, lifeline

def work():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    notes = Path(sys.argv[2])
    with notes.open("a") as file:
        file.write(f"{os.getpid()} {lifeline()}\\n")
    lives = len(notes.read_text().splitlines())
    if sys.argv[1] == "killed" or (sys.argv[1] == "once" and lives == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[1] == "waits":
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            return 130
    return 7

sys.exit(guarded(work))
"""


@pytest.fixture
def start(tmp_path):
    """`start("once")` -> the process, and a function for the (process, lifeline) of each life."""
    def call(kind, rank=1, world=2):
        notes = tmp_path / "notes"
        notes.write_text("")
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "WORLD_SIZE": str(world), "RANK": str(rank)}
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, kind, str(notes)], env=env, stderr=subprocess.PIPE, text=True)
        return process, lambda: [tuple(map(int, line.split())) for line in notes.read_text().splitlines() if line.count(" ")]
    return call


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_alone_there_is_no_guard(start):
    process, lives = start("", rank=0, world=1)
    assert process.wait(60) == 7 and lives() == [(process.pid, process.pid)]


def test_one_that_is_killed_is_started_anew(start):
    process, lives = start("once")
    assert process.wait(60) == 7
    assert len(lives()) == 2 and {lifeline for _, lifeline in lives()} == {process.pid}
    assert "process 1 was ended by SIGKILL" in process.stderr.read()


@pytest.mark.parametrize(("rank", "status"), [(0, 1), (1, 0)])
def test_one_that_is_killed_again_and_again_is_given_up(start, rank, status):
    process, lives = start("killed", rank)
    assert process.wait(60) == status and len(lives()) == LIVES


def test_signals_go_on_to_the_child(start):
    process, lives = start("waits")
    wait_for(lives)
    time.sleep(0.1)  # it is waiting now
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130 and len(lives()) == 1


def test_the_child_dies_with_its_guard(start):
    process, lives = start("waits")
    wait_for(lives)
    process.kill()
    process.wait(60)

    def is_gone():
        try:
            os.kill(lives()[0][0], 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{lives()[0][0]}/stat").read_text().split(") ")[1].startswith("Z")  # nobody has asked after it

    wait_for(is_gone)
