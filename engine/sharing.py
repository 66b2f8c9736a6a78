"""Work that processes share: a list of pieces, each done once, by whichever process is free."""
from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from engine.stores import TeamError
from engine.team import POLL, Team


class SharedWork:
    """`count` pieces, known by their numbers 0, 1, ..; what came of each is told to the first process.

    Every piece has a counter in the store, and who counts to one has it. So nothing that is only planned (a photo that is
    decoded ahead) is taken from the others, and a process that dies costs no more than the pieces it had begun.

    finished: whether a piece is done, by what lies on the disk. With it a process goes on when the first one, and with it
    the store, is gone; without it `take` then raises TeamError.
    """

    def __init__(self, team: Team, name: str, count: int, finished: Callable[[int], bool] | None = None) -> None:
        self.team, self.name, self.count = team, name, count
        self._finished = finished
        self._mine: set[int] = set()
        self._read, self._open, self._known = 0, set[int](), set[int]()

    def order(self) -> Iterator[int]:
        """All numbers as this process goes through them: its own part of the list from the beginning, then the parts of the
        others, each from its end, so that they meet late."""
        rank, world, count = self.team.rank, self.team.world, self.count
        for step in range(world):
            part = (rank + step) % world
            numbers = range(part * count // world, (part + 1) * count // world)
            yield from numbers if step == 0 else reversed(numbers)

    def is_free(self, number: int) -> bool:
        """Nobody has it yet. It costs less than to `take` it."""
        try:
            return number not in self._mine and not self.team.tell("check", self._key("taken", number))
        except TeamError:
            return self._is_unfinished(number)

    def take(self, number: int) -> bool:
        """Whether this piece is now this process's to do."""
        try:
            mine = number not in self._mine and self.team.tell("add", self._key("taken", number), 1) == 1
        except TeamError:
            mine = self._is_unfinished(number)
        if mine:
            self._mine.add(number)
        return mine

    def _is_unfinished(self, number: int) -> bool:
        if self._finished is None:
            raise TeamError("the first process is gone, and with it the list of what is done")
        return number not in self._mine and not self._finished(number)

    def survive(self, number: int) -> None:
        """Note that the dangerous part of a piece is over: should this process die before it reports, it was not this one's
        fault, and the first process may do it again."""
        with suppress(TeamError):
            self.team.tell("set", self._key("survived", number), "1")

    def report(self, number: int, outcome: Any) -> None:
        """Tell the first process what came of a piece: anything that can be pickled. Lost where the first process is."""
        try:
            slot = self.team.tell("add", self._key("slots"), 1) - 1
            self.team.tell("set", self._key("outcome", slot), pickle.dumps((number, outcome)))
        except TeamError:
            if self.team.is_main:
                raise

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """On the first process: number and outcome of the pieces that have been reported since the last call."""
        if not self.team.is_main:
            return
        slots = self.team.tell("add", self._key("slots"), 0)
        self._open.update(range(self._read, slots))
        self._read = slots
        for slot in sorted(self._open):  # one that stays open is of a process that died before it could tell
            if self.team.tell("check", self._key("outcome", slot)):
                number, outcome = pickle.loads(self.team.tell("get", self._key("outcome", slot)))
                self._open.remove(slot)
                if number not in self._known:
                    self._known.add(number)
                    yield number, outcome

    def rest(self) -> Iterator[tuple[int, Any]]:
        """On the first process: the outcomes still to come, for as long as any may."""
        while self.team.is_main:
            over = len(self._known) == self.count or not self.team.working()
            yield from self.outcomes()
            if over or len(self._known) == self.count:
                return
            time.sleep(POLL)

    def unknown(self) -> list[int]:
        """After `rest`: the pieces that whoever had them did not tell of."""
        return [number for number in range(self.count) if number not in self._known]

    def survived(self, number: int) -> bool:
        """Whether a process did `survive` this piece."""
        return self.team.tell("check", self._key("survived", number))

    def _key(self, *parts: object) -> str:
        return "/".join(map(str, (self.name, *parts)))
