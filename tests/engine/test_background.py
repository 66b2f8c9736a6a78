"""Computations that a signal ends the wait for, and how a program leaves while one of them still runs."""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from engine.background import interruptible
from engine.program import interrupt

PROJECT = Path(__file__).resolve().parents[2]
LONG = 60  # seconds that a compiled function sleeps


@pytest.fixture
def in_a_moment():
    """`in_a_moment(number)`: this process gets the signal a little later, while it computes."""
    before = signal.signal(signal.SIGTERM, interrupt)
    timers = []

    def send(number):
        timers.append(threading.Timer(0.3, os.kill, (os.getpid(), number)))
        timers[-1].start()

    yield send
    signal.signal(signal.SIGTERM, before)
    for timer in timers:
        timer.join()


def sleep_compiled(seconds):
    """As a kernel does: one call of compiled code, in which Python hears no signal."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ctypes.CDLL(None).usleep(int(min(left, 0.9) * 1e6))


def test_what_the_function_gives_or_raises():
    assert interruptible(divmod, 7, 2) == (3, 1) and interruptible(lambda *, x: x, x=4) == 4
    for error in (ValueError("x"), KeyboardInterrupt("y"), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            interruptible(lambda error=error: (_ for _ in ()).throw(error))
        assert caught.value is error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_the_next_call_works(in_a_moment, number):
    start = time.monotonic()
    in_a_moment(number)
    with pytest.raises(KeyboardInterrupt):
        interruptible(sleep_compiled, LONG)
    assert time.monotonic() - start < LONG / 2
    assert interruptible(abs, -3) == 3


def test_one_thread_for_all_calls_and_none_outside_the_main_thread():
    first, second = (interruptible(threading.get_ident) for _ in range(2))
    assert first == second != threading.get_ident()
    found = []
    thread = threading.Thread(target=lambda: found.append(interruptible(threading.get_ident) == threading.get_ident()))
    thread.start()
    thread.join()
    assert found == [True]


def test_the_gradient_mode_is_that_of_the_caller():
    for mode in (torch.enable_grad, torch.no_grad):
        with mode():
            assert interruptible(torch.is_grad_enabled) == torch.is_grad_enabled()


def test_in_a_forked_process():
    interruptible(abs, 1)
    child = os.fork()
    if child == 0:
        os._exit(interruptible(abs, -5))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_a_program_does_not_wait_for_what_was_given_up():
    code = (f"import ctypes, os, signal, sys, threading; sys.path.insert(0, {str(PROJECT)!r})\n"
            "from engine.background import interruptible\nfrom engine.program import run_program\n"
            "def main():\n"
            "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
            "    try:\n"
            f"        interruptible(lambda: [ctypes.CDLL(None).sleep({LONG}) for _ in range(9)])\n"
            "    except KeyboardInterrupt as error:\n"
            "        print('said', error)\n"
            "        return 130\n"
            "run_program(main)\n")
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG * 5)
    assert done.returncode == 130 and done.stdout == "said SIGTERM\n" and not done.stderr
    assert time.monotonic() - start < LONG
