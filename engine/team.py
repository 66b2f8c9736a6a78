"""The processes of a launch while they share work, and what they tell each other through the store.

There is no meeting at the beginning: whoever comes, begins. One that dies, or never comes, keeps nobody waiting for long.
"""
from __future__ import annotations

import _thread
import itertools
import json
import logging
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from torch import distributed as dist

from engine.launcher import lifeline, machine, place, runs
from engine.stores import COMING, Line, OwnStore, TeamError, address_file, launch_store

T = TypeVar("T")
logger = logging.getLogger(__name__)

BEAT = 0.5       # seconds from one sign of life to the next
SILENCE = 60.0   # a process without one for so long is taken for dead
ABSENT = 60.0    # so long, after the work, the first process waits for one that was announced and has not come
POLL = 0.05
PIECE = 4 * 2**20  # bytes of a value in the store, which takes no more than 8 MiB

_numbers = itertools.count()  # of the teams that this process has been in, the same on every process
_last: deque[Line] = deque()  # of the last two teams of a training


class Team:
    """This process among `world` that share work; without arguments: alone. `team()` makes it.

    `lost`: the store is gone, and nothing can be told any more; every call then raises TeamError.
    """

    def __init__(self, rank: int = 0, world: int = 1, line: Line | None = None) -> None:
        self.rank, self.world = rank, world
        self.tell = Line(OwnStore(), "") if line is None else line
        self.stopped = False  # somebody has asked all to stop
        self._beats: dict[int, tuple[int, float]] = {}
        self._closing, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._came = time.monotonic()
        self._neighbours: dict[int, int | None] = {}  # process by rank, of those on this machine that have not left
        self._before: Any = None                      # what SIGTERM did before
        self._decided = False                         # what it does now

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def lost(self) -> bool:
        return self.tell.lost

    def on_main(self, name: str, function: Callable[[], T]) -> T:
        """The result of `function`, called on the first process alone and once, on every process; it must be picklable.

        A ValueError is raised on every process. name: the same on all, and of no other call.
        Raises TeamError where the first process does not come, or is gone without having told.
        """
        if self.world == 1:
            return function()
        if self.is_main and not self.tell("check", f"told/{name}"):
            self._publish(name, _outcome(function))
        waiting = time.monotonic()
        while not self.tell("check", f"told/{name}"):
            gone = self.has_ended(0) or self.is_dead(0) or (not self.has_come(0) and time.monotonic() - waiting > COMING)
            if gone and not self.tell("check", f"told/{name}"):  # it may have told, and gone, since the question above
                raise TeamError("the first process is gone, or did not come; its last words say why")
            time.sleep(POLL)
        pieces = int(self.tell("get", f"told/{name}"))
        value, error = pickle.loads(b"".join(self.tell("get", f"told/{name}/{piece}") for piece in range(pieces)))
        if error is not None:
            raise error
        return value

    def _publish(self, name: str, value: Any) -> None:
        content = pickle.dumps(value)
        pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
        for number, piece in enumerate(pieces):
            self.tell("set", f"told/{name}/{number}", piece)
        self.tell("set", f"told/{name}", str(len(pieces)))

    def stop(self) -> None:
        """Ask all processes to stop, this one too."""
        self.stopped = True
        with suppress(TeamError):
            self.tell("set", "stop", "1")

    # --- who is there ---

    def has_come(self, rank: int) -> bool:
        return self.tell("check", f"here/{rank}")

    def has_ended(self, rank: int) -> bool:
        """It has left the team, as every process does that can."""
        return self.tell("check", f"end/{rank}")

    def is_dead(self, rank: int) -> bool:
        """It came, has not left, and gives no sign of life."""
        if not self.has_come(rank) or self.has_ended(rank):
            return False
        place_of, process = json.loads(self.tell("get", f"here/{rank}"))
        if place_of == machine() and not runs(process):
            return not self.has_ended(rank)  # it may have left meanwhile
        beat, now = self.tell("add", f"beat/{rank}", 0), time.monotonic()
        known, since = self._beats.get(rank, (None, now))
        self._beats[rank] = (beat, since if beat == known else now)
        return now - self._beats[rank][1] > SILENCE

    def is_orphaned(self) -> bool:
        """The first process is gone, and with it, perhaps, the store."""
        try:
            return not self.is_main and self.is_dead(0)
        except TeamError:
            return True

    def is_working(self, rank: int) -> bool:
        """It may yet do something; one that was announced and has not come, for ABSENT seconds."""
        if not self.has_come(rank):
            return time.monotonic() - self._came < ABSENT
        return not (self.has_ended(rank) or self.is_dead(rank))

    def working(self) -> list[int]:
        """The other processes that may yet do something."""
        return [rank for rank in range(self.world) if rank != self.rank and self.is_working(rank)]

    # --- life ---

    def enter(self, *, interrupting: bool) -> None:
        """Come, and give signs of life from now on. interrupting: a stop is a Ctrl-C of this process, too."""
        if self.world == 1:
            return
        self.tell("set", f"here/{self.rank}", json.dumps([machine(), lifeline()]))
        self._came = time.monotonic()
        self._thread = threading.Thread(target=self._pulse, args=(interrupting,), daemon=True)
        self._thread.start()
        if interrupting and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._on_sigterm)

    def _pulse(self, interrupting: bool) -> None:
        with suppress(TeamError):
            while not self._closing.is_set():
                self.tell("add", f"beat/{self.rank}", 1)
                if not self.stopped and self.tell("check", "stop") and not self.stopped:
                    self.stopped = True
                    if interrupting:
                        _signal_main(signal.SIGINT)
                self._look_around()
                if self._wake.wait(BEAT) and not self._closing.is_set():
                    self._wake.clear()
                    self._answer_sigterm()

    def _look_around(self) -> None:
        """Note the processes on this machine."""
        for rank in range(self.world):
            if rank not in self._neighbours and rank != self.rank and self.has_come(rank):
                place_of, process = json.loads(self.tell("get", f"here/{rank}"))
                self._neighbours[rank] = process if place_of == machine() else None
            elif self._neighbours.get(rank) and self.has_ended(rank):
                self._neighbours[rank] = None

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """The thread that talks decides, since the main one may be in the middle of a word."""
        if not self._decided and self._thread is not None and self._thread.is_alive():
            self._wake.set()
        elif callable(self._before):
            self._before(number, frame)
        else:
            raise KeyboardInterrupt

    def _answer_sigterm(self) -> None:
        """As before the team came together; but where torchrun sends it because another process died, the photos that are
        left count for more: it gives half a minute before it kills."""
        self._look_around()
        self._decided = True
        if any(process and not runs(process) for process in self._neighbours.values()):
            logger.warning("a process died, and its launcher asks the others to stop; they go on for as long as it lets them")
        else:
            _signal_main(signal.SIGTERM)

    def leave(self, patience: float) -> None:
        """Go. The first process stays until the others have gone, for `patience` seconds, since it may hold the store."""
        self._closing.set()
        self._wake.set()
        if self.world == 1:
            return
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        with suppress(TeamError):
            self.tell("set", f"end/{self.rank}", "1")
            until = time.monotonic() + patience
            while self.is_main and time.monotonic() < until and self.working():
                time.sleep(POLL)


def _signal_main(number: int) -> None:
    """As if the signal had come to this process: it wakes the main thread from waiting for a computation, too."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        _thread.interrupt_main(number)


def _forget_all_but_the_last(line: Line) -> None:
    """Who begins a team has finished the one before, for which all had finished the one before that."""
    while len(_last) > 1:
        _last.popleft().forget()
    _last.append(line)


def _outcome(function: Callable[[], T]) -> tuple[T | None, ValueError | None]:
    try:
        return function(), None
    except ValueError as error:
        return None, error


@contextmanager
def team(folder: Path | None = None) -> Iterator[Team]:
    """The processes of this launch (torchrun, accelerate launch, srun), or of the training that runs, or this one alone.

    All of them must enter such a block, as often as one another. folder: shared by all machines, where processes of srun
    find each other. Raises LauncherError, TeamError.
    """
    number = next(_numbers)
    joined = dist.is_available() and dist.is_initialized()
    here = place()
    if joined:
        store = dist.distributed_c10d._get_default_store()
        members = Team(dist.get_rank(), dist.get_world_size(), Line(store, f"hvr team {number}/"))
        _forget_all_but_the_last(members.tell)
    elif here.world > 1:
        members = Team(here.rank, here.world, Line(launch_store(here, folder), f"team {number}/"))
    else:
        members = Team()
    patience = COMING
    try:
        members.enter(interrupting=not joined)
        yield members
    except BaseException:
        patience = 10.0
        raise
    finally:
        members.leave(patience)
        if here.slurm and not joined and members.is_main and folder is not None:
            address_file(folder).unlink(missing_ok=True)
