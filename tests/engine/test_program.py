"""How the scripts end where nothing can be done."""
from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from engine import program

PROJECT = Path(__file__).resolve().parents[2]


def test_a_folder_that_is_gone(tmp_path):
    """Told at once: torch's own libraries would fail there with other words."""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(["bash", "-c", 'rmdir "$1"; exec "$2" "$3" --input_path /x', "bash", folder, sys.executable,
                           PROJECT / "infer_image.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: the current folder has been deleted")


@pytest.mark.parametrize(("script", "options"), [("infer_image.py", ["--input_path", "a.png"]), ("train.py", [])])
def test_a_package_that_does_not_load(script, options, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    (tmp_path / "a.png").write_bytes(b"x")
    done = subprocess.run([sys.executable, PROJECT / script, *options], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2 and done.stderr.startswith("error: a package does not load: libtorch_cpu.so: cannot open")
    assert done.stderr.count("\n") == 1


def test_what_is_due_at_the_end_is_done(tmp_path):
    """Threads end their work, functions of atexit are called and streams are flushed; the interpreter is not taken down."""
    (tmp_path / "script.py").write_text("""
import atexit, threading, time
from concurrent.futures import ThreadPoolExecutor
from engine.program import run_program

class Last:
    def __del__(self):
        print("taken down")

last, pool = Last(), ThreadPoolExecutor(1)

def main():
    atexit.register(print, "registered")
    pool.submit(lambda: (time.sleep(0.05), print("pool")))
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    print("main")
    return 3

run_program(main)
""")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert (done.returncode, done.stdout.split(), done.stderr) == (3, ["main", "pool", "thread", "registered"], "")


def test_a_fault_of_the_program_is_told_as_python_does(tmp_path):
    done = subprocess.run([sys.executable, "-c", "from engine.program import run_program; run_program(lambda: 1 / 0)"],
                          capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 1 and done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(("number", "waiting"), [("SIGTERM", "time.sleep(60)"), ("SIGHUP", "threading.Event().wait(60)"),
                                                 ("SIGINT", "[None for _ in iter(int, 1)]")])
def test_a_signal_that_a_destructor_drops_is_heard(number, waiting, tmp_path):
    """As in a callback of a C library: Python drops the exception of whatever it runs there."""
    (tmp_path / "script.py").write_text(f"""
import signal, threading, time
from engine.program import run_program

class Destroyed:
    def __del__(self):
        signal.raise_signal(signal.{number})
        print("never printed")

def main():
    Destroyed()
    {waiting}
    return 0

run_program(main)
""")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=50,
                          env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 130 and not done.stdout
    assert done.stderr == f"interrupted{'' if number == 'SIGINT' else f' by {number}'}\n"


def test_other_exceptions_of_a_destructor_are_told(capsys):
    class Destroyed:
        def __del__(self):
            raise ValueError("of a destructor")

    hook, sys.unraisablehook = sys.unraisablehook, program.send_again
    try:
        Destroyed()
    finally:
        sys.unraisablehook = hook
    assert "ValueError: of a destructor" in capsys.readouterr().err


@pytest.mark.parametrize("status", [0, 2])
def test_processes_of_a_training_part_when_it_went_well(status, monkeypatch):
    """After an error a process that is dead, or waits itself, would be waited for."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(threading, "_shutdown", lambda: None)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])  # another test may have given up a thread
    try:
        program.leave(status)
        assert ended == [status] and torch.distributed.is_initialized() == (status != 0)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class Mistake(ValueError):
    pass


class Unfinished(Mistake):
    exit_status = 1


@pytest.mark.parametrize(("error", "status", "said"), [
    (Mistake("no such set"), 2, "error: no such set"), (Unfinished("the disk is full"), 1, "error: the disk is full"),
    (FileNotFoundError("no folder"), 2, "error: no folder"), (KeyboardInterrupt(), 130, "interrupted")])
def test_mistakes_are_told_in_a_line(error, status, said, capsys):
    def work():
        raise error

    assert program.told(work) == status and capsys.readouterr().err == f"{said}\n"


def test_faults_of_the_program_are_not_told_as_mistakes():
    with pytest.raises(ValueError, match="invalid literal"):
        program.told(lambda: int("x"))
