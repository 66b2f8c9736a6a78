"""How a script runs as a program: streams that may be closed, signals that end it, and an exit that waits for nothing."""
from __future__ import annotations

import _thread
import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from exp_config.streams import open_standard_streams

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

WRONG_USAGE, INTERRUPTED = 2, 130  # exit statuses
SENT_AGAIN_AFTER = 0.1  # seconds


def run_program(main: Callable[[], int]) -> NoReturn:
    """Call `main` and end the process with the exit status that it returns.

    SIGTERM (docker stop, SLURM, timeout) and SIGHUP (a lost ssh connection) are as Ctrl-C; behind nohup the latter stays
    ignored. One that comes while a library's callback or a destructor runs, whose exceptions Python drops, is heard a moment
    later. What cannot be printed, since nobody reads it any more, is dropped and changes nothing.
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
    sys.unraisablehook = send_again
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
    except Exception:  # of ours: told as Python does
        traceback.print_exc()
        status = 1
    leave(status)


def told(work: Callable[[], int]) -> int:
    """The exit status of `work`; a mistake of the user is told in a line, and may have an `exit_status` of its own.

    A plain ValueError is a fault of the program.
    """
    try:
        return work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:  # the latter: of paths on the command line; a folder's files are looked after
        if type(error) is ValueError:
            raise
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_status", WRONG_USAGE)


@contextmanager
def quick_imports() -> Iterator[None]:
    """For the statements that import torch: what they bring stays, and to look through it for garbage time and again would be
    a quarter of their seconds."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def explain_import(error: ImportError) -> str:
    """One line of a package that does not load, and what to do."""
    return (f"a package does not load: {error}. To mend the environment: pip install -U -r requirements.txt "
            "(docs/troubleshooting.md has the usual causes)")


def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """A signal's handler: as Ctrl-C."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def send_again(dropped: sys.UnraisableHookArgs) -> None:
    """The hook for exceptions that Python drops: an `interrupt` among them is sent anew, when what dropped it has ended."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    number = getattr(signal, str(dropped.exc_value), signal.SIGINT)
    if hasattr(signal, "pthread_kill"):  # wakes what waits, too
        again = threading.Timer(SENT_AGAIN_AFTER, signal.pthread_kill, (threading.main_thread().ident, number))
    else:
        again = threading.Timer(SENT_AGAIN_AFTER, _thread.interrupt_main, (number,))
    again.daemon = True
    again.start()


def leave(status: int) -> NoReturn:
    """End the process, without taking the interpreter down: with torch loaded that takes a second, and where torch's threads
    still talk to other processes of a training it can abort. What is registered for the end is done, as multiprocessing does
    it; where a computation that was given up still runs (`engine.background`), it and all else are not waited for."""
    if any(getattr(thread, "abandoned", False) for thread in threading.enumerate()):
        for child in multiprocessing.active_children():
            child.terminate()
    else:
        if status == 0:
            _part()
        threading._shutdown()
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _part() -> None:
    """Take leave of the other processes of a training that went well. After an error nobody is waited for: they may be dead,
    or wait themselves."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        with suppress(RuntimeError):  # all is done and written
            distributed.destroy_process_group()
