"""What a launcher (torchrun, accelerate launch, srun) says of this process, and a guard beside each process. No torch here."""
from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

TORCH, SLURM = ("WORLD_SIZE", "RANK", "LOCAL_RANK"), ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
LIVES = 4  # of one process: the first, and so many new starts less one after it was killed
FORWARDED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
DONE, FAILED = 0, 1

_guarded = False              # in a guard's child
_port: list[int] = []         # of the store that its guard holds
_told = threading.Event()     # it has come


class LauncherError(ValueError):
    """The launcher's variables contradict each other."""


@dataclass(frozen=True)
class Place:
    """This process is number `rank` of `world`, and number `local_rank` of those on its machine. `slurm`: srun says so."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    slurm: bool = False


def place(environ: Mapping[str, str] | None = None) -> Place:
    """Of this process, by the variables of torchrun and accelerate launch, else by those of srun; else it is alone.

    Raises LauncherError where a number is missing or out of range.
    """
    environ = os.environ if environ is None else environ
    for names in (TORCH, SLURM):
        world = number_of(environ, names[0], 1)
        if world > 1:
            rank = number_of(environ, names[1], None)
            if rank >= world:
                raise LauncherError(f"{names[1]}={rank} of {names[0]}={world} processes; expected 0 to {world - 1}")
            return Place(rank, world, number_of(environ, names[2], 0), names is SLURM)
    return Place(local_rank=number_of(environ, "LOCAL_RANK", 0))


def number_of(environ: Mapping[str, str], name: str, default: int | None) -> int:
    """The whole number in a variable; without it the default, unless that is None. Raises LauncherError."""
    text = environ.get(name, "")
    if not text and default is not None:
        return default
    if not text.isdigit():
        raise LauncherError(f"{name}={text!r} in the environment; expected a whole number, as launchers set it (torchrun, "
                            f"accelerate launch, srun); to run a single process: unset {TORCH[0]} {SLURM[0]}")
    return int(text)


def guarded(work: Callable[[], int]) -> int:
    """`work()`; where a launcher has started several of this program, in a child process that this one guards.

    torchrun ends all processes as soon as one of them dies. Behind a guard, one that is killed (out of memory, a fault in a
    driver) is started anew and goes on beside the others; the launcher hears of it by the exit status, at the end. Signals
    that end a program go on to the child, and the child dies with its guard. The guard of srun's first process also holds the
    store in which all meet. Call it before threads are started.
    """
    here = place()
    if here.world == 1 or not hasattr(os, "fork"):
        return work()
    child, signals = 0, []
    store: Any = None

    def forward(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        with suppress(ProcessLookupError):
            os.kill(child, number)

    before = {number: signal.getsignal(number) for number in FORWARDED}
    caught = [number for number in FORWARDED if before[number] != signal.SIG_IGN]  # as SIGHUP is behind nohup
    for _ in range(LIVES):
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, caught)  # until it is known who deals with them
        child = os.fork()
        for number in caught:
            signal.signal(number, before[number] if child == 0 else forward)
        if child == 0:
            _become_child(reading, writing, caught)
            return work()
        os.close(reading)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)
        if here.slurm and here.rank == 0:
            store = store or _open_store()
            os.write(writing, f"{store.port}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(writing)
        if code >= 0 or signals:
            return code if code >= 0 else 128 - code
        print(f"process {here.rank} was ended by {signal.Signals(-code).name} (SIGKILL is often the system's, out of "
              "memory)", file=sys.stderr, flush=True)
    return FAILED if here.rank == 0 else DONE  # the first process counts, at the end, what the others did not do


def _become_child(reading: int, writing: int, blocked: list[int]) -> None:
    """In a session of its own, so that what a terminal sends to all comes once, from the guard; ended with the guard."""
    global _guarded
    _guarded = True
    os.setsid()
    os.close(writing)

    def wait() -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                _port.append(int(line))
                _told.set()
        os._exit(FAILED)  # no process holds the other end any more

    threading.Thread(target=wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)


def _open_store() -> Any:
    from torch import distributed as dist

    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def store_port(seconds: float) -> int | None:
    """Of the store that this process's guard holds, waited for so long; None without a guard."""
    return _port[0] if _guarded and _told.wait(seconds) else None


def lifeline() -> int:
    """The process whose end means that this one does not come back: its guard, or itself."""
    return os.getppid() if _guarded else os.getpid()


def machine() -> str:
    """Where a number means the same process: this machine, or this container on it."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # of Linux
    return f"{socket.gethostname()} {space}"


def runs(process: int) -> bool:
    """Whether a process of this machine has not ended."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1]  # of Linux alone
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not state.startswith("Z")  # which has ended, and nobody has asked after it
