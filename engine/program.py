"""How a script runs as a program: streams that may be closed, signals that end it, and an exit that waits for nothing."""
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from exp_config.streams import open_standard_streams

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

WRONG_USAGE, INTERRUPTED = 2, 130  # exit statuses


def run_program(main: Callable[[], int]) -> NoReturn:
    """Call `main` and end the process with the exit status that it returns.

    SIGTERM (docker stop, SLURM, timeout) and SIGHUP (a lost ssh connection) are as Ctrl-C; behind nohup the latter stays
    ignored. What cannot be printed, since nobody reads it any more, is dropped and changes nothing.
    """
    open_standard_streams()
    try:
        os.getcwd()
    except OSError:  # torch's libraries would not load, and say something else
        print("error: the current folder has been deleted; cd to another one, and start again there", file=sys.stderr)
        leave(WRONG_USAGE)
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        status = main()
    except SystemExit as end:  # of argparse
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt as error:  # outside of what the script itself looks after
        print(f"interrupted{f' by {error}' if str(error) else ''}", file=sys.stderr)
        status = INTERRUPTED
    except ImportError as error:
        print(f"error: {explain_import(error)}", file=sys.stderr)
        status = WRONG_USAGE
    leave(status)


def explain_import(error: ImportError) -> str:
    """One line of a package that does not load, and what to do."""
    return (f"a package does not load: {error}. To mend the environment: pip install -U -r requirements.txt "
            "(docs/troubleshooting.md has the usual causes)")


def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """A signal's handler: as Ctrl-C."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def leave(status: int) -> NoReturn:
    """End the process. Where a computation that was given up still runs (`engine.background`) it is not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    if any(getattr(thread, "abandoned", False) for thread in threading.enumerate()):
        for child in multiprocessing.active_children():
            child.terminate()
        os._exit(status)
    sys.exit(status)
