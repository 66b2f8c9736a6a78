"""One picture on the device at a time, first come first served, previews between the steps of full ones."""
from __future__ import annotations

import threading
import time

import pytest

from engine.page.turns import NotWantedError, Turns


def wanted() -> None:
    """A check that never gives up."""


def until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that within 5 s")


class Person(threading.Thread):
    """Takes a turn, and notes when it has it and how many it was told are before it."""

    def __init__(self, turns: Turns, name: str, log: list[str], *, preview: bool = False) -> None:
        super().__init__(daemon=True)
        self.turns, self.label, self.log, self.preview = turns, name, log, preview
        self.go_on, self.given_up, self.told = threading.Event(), False, []

    def check(self) -> None:
        if self.given_up:
            raise NotWantedError

    def run(self) -> None:
        try:
            with self.turns.turn(self.check, preview=self.preview, waiting=self.told.append):
                self.log.append(f"{self.label} begins")
                self.go_on.wait(5)
                self.log.append(f"{self.label} ends")
        except NotWantedError:
            self.log.append(f"{self.label} gives up")

    def arrive(self) -> Person:
        """Start, and wait until it has the device or has been told its place."""
        before = len(self.log)
        self.start()
        until(lambda: self.told or len(self.log) > before)
        return self


@pytest.fixture
def room():
    """(turns, log, `person(name, preview)`)"""
    turns, log = Turns(), []
    return turns, log, lambda name, preview=False: Person(turns, name, log, preview=preview)


def test_one_at_a_time_in_the_order_of_arrival(room):
    _, log, person = room
    people = [person(name).arrive() for name in "abc"]
    until(lambda: people[2].told)
    assert log == ["a begins"] and people[1].told[0] == 1 and people[2].told[0] == 2
    for one in people:
        one.go_on.set()
    for one in people:
        one.join(5)
    assert log == [f"{name} {word}" for name in "abc" for word in ("begins", "ends")]


def test_who_gives_up_leaves_the_line_and_is_not_waited_for(room):
    _, log, person = room
    first, second, third = (person(name).arrive() for name in "abc")
    second.given_up = True
    second.join(5)
    until(lambda: third.told[-1] == 1)
    first.go_on.set()
    third.go_on.set()
    third.join(5)
    assert log == ["a begins", "b gives up", "a ends", "c begins", "c ends"]


def test_a_preview_goes_before_pictures_that_wait(room):
    _, log, person = room
    people = [person("a").arrive(), person("b").arrive(), person("small", True).arrive()]
    for one in people:
        one.go_on.set()
    for one in people:
        one.join(5)
    assert log == ["a begins", "a ends", "small begins", "small ends", "b begins", "b ends"]


def test_a_preview_passes_between_two_steps_and_nothing_else_does(room):
    turns, log, person = room
    with turns.turn(wanted):
        log.append("step 1")
        turns.let_previews_pass(wanted)  # nobody waits: at once
        other, small = person("b").arrive(), person("small", True)
        small.go_on.set()
        small.start()
        until(lambda: turns._previews)
        turns.let_previews_pass(wanted)
        log.append("step 2")
        until(lambda: other.told)
    other.go_on.set()
    other.join(5)
    assert log == ["step 1", "small begins", "small ends", "step 2", "b begins", "b ends"]


def test_who_gives_up_while_a_preview_passes_does_not_disturb_it(room):
    turns, log, person = room

    def not_wanted() -> None:
        raise NotWantedError

    small = person("small", True)
    with pytest.raises(NotWantedError), turns.turn(wanted):
        small.start()
        until(lambda: turns._previews)
        threading.Timer(0.2, small.go_on.set).start()
        turns.let_previews_pass(not_wanted)
    small.join(5)
    last = person("c")
    last.go_on.set()
    last.start()
    last.join(5)
    assert log == ["small begins", "small ends", "c begins", "c ends"]


def test_an_error_gives_the_device_back(room):
    turns, log, person = room
    with pytest.raises(ZeroDivisionError), turns.turn(wanted):
        raise ZeroDivisionError
    after = person("b")
    after.go_on.set()
    after.start()
    after.join(5)
    assert log == ["b begins", "b ends"]
