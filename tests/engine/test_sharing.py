"""Work shared through a real store, by teams in threads: every piece once, and no one waits for one that is gone."""
from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from torch import distributed as dist

from engine import team as team_module
from engine.sharing import SharedWork
from engine.stores import Line, TeamError
from engine.team import Team


@pytest.fixture
def store():
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture
def join(store):
    """`join(rank, world)` -> a member with a connection of its own, which has come; it leaves at the end."""
    members = []

    def call(rank, world):
        line = dist.TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False)
        member = Team(rank, world, Line(line, "test/"))
        member.enter(interrupting=False)
        members.append(member)
        return member

    yield call
    for member in members:
        member.leave(0)


def in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(("world", "count"), [(1, 4), (2, 11), (3, 40), (4, 3), (3, 1), (2, 0)])
def test_every_piece_is_done_once_and_the_first_hears_of_all(join, world, count):
    members = [join(rank, world) for rank in range(world)]
    done, told = [[] for _ in members], []

    def work_through(member):
        work = SharedWork(member, "w", count)
        for number in work.order():
            if work.take(number):
                time.sleep(0.01 * (member.rank == 1))  # one that is slow
                done[member.rank].append(number)
                work.report(number, f"{number} by {member.rank}")
            told.extend(work.outcomes())
        told.extend(work.rest())
        assert not member.is_main or work.unknown() == []

    in_threads(*(lambda member=member: work_through(member) for member in members))
    assert sorted(sum(done, [])) == list(range(count))
    assert sorted(told) == sorted((n, f"{n} by {rank}") for rank, numbers in enumerate(done) for n in numbers)
    if world > 1 and count > 20:
        assert len(done[1]) < len(done[0])  # whoever is free has the next


def test_own_part_first_then_the_ends_of_the_others(join):
    assert list(SharedWork(join(1, 3), "w", 9).order()) == [3, 4, 5, 8, 7, 6, 2, 1, 0]
    assert list(SharedWork(Team(), "w", 4).order()) == [0, 1, 2, 3]


def test_a_piece_of_a_process_that_left_without_a_word_is_unknown(join):
    first, second = join(0, 2), join(1, 2)
    work, other = SharedWork(first, "w", 4), SharedWork(second, "w", 4)
    assert other.take(2)
    second.leave(0)
    for number in work.order():
        assert work.take(number) == (number != 2)
        if number != 2:
            work.report(number, None)
    assert len(list(work.rest())) == 3 and work.unknown() == [2]


def test_one_that_is_silent_counts_as_dead(join, monkeypatch):
    monkeypatch.setattr(team_module, "BEAT", 0.02)
    monkeypatch.setattr(team_module, "SILENCE", 0.5)
    first, second = join(0, 2), join(1, 2)
    for _ in range(8):
        assert not first.is_dead(1)
        time.sleep(0.1)
    second._closing.set()
    assert not first.is_dead(1)
    time.sleep(1)
    assert first.is_dead(1) and not first.is_working(1) and not first.has_ended(1)


def test_one_whose_process_is_gone_is_dead_at_once(join, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    first = join(0, 2)
    assert not first.is_dead(1) and first.is_working(1)  # it may still come
    monkeypatch.setattr(team_module, "lifeline", lambda: gone.pid)
    join(1, 2)
    assert first.is_dead(1) and first.working() == []


def test_one_that_never_comes_is_not_waited_for_long(join, monkeypatch):
    monkeypatch.setattr(team_module, "ABSENT", 0.3)
    first = join(0, 2)
    assert first.working() == [1]
    work = SharedWork(first, "w", 1)
    assert work.take(0)
    assert list(work.rest()) == [] and work.unknown() == [0] and first.working() == []


def test_the_first_decides_for_all_and_large_values_are_told(join):
    first, second = join(0, 2), join(1, 2)
    value, calls, found = os.urandom(2 * team_module.PIECE + 3), [], []

    def decide():
        calls.append(1)
        return value

    def fail():
        raise TeamError("no")

    in_threads(lambda: found.append(second.on_main("v", decide)), lambda: found.append(first.on_main("v", decide)))
    assert found == [value, value] and calls == [1]
    with pytest.raises(TeamError, match="no"):
        first.on_main("e", fail)
    with pytest.raises(TeamError, match="no"):
        second.on_main("e", fail)


def test_one_that_waits_for_the_word_of_the_first_hears_that_it_is_gone(join):
    first, second = join(0, 2), join(1, 2)
    first.leave(0)
    with pytest.raises(TeamError, match="the first process is gone"):
        second.on_main("v", lambda: 1)


def test_what_the_first_told_just_before_it_left_is_heard(join, monkeypatch):
    first, second = join(0, 2), join(1, 2)
    ended = second.has_ended

    def meanwhile_told_and_gone(rank):
        first.on_main("v", lambda: 1)
        first.leave(0)
        return ended(rank)

    monkeypatch.setattr(second, "has_ended", meanwhile_told_and_gone)
    assert second.on_main("v", lambda: 2) == 1


def test_a_stop_reaches_all(join):
    first, second = join(0, 2), join(1, 2)
    second.stop()
    until = time.monotonic() + 30
    while not first.stopped and time.monotonic() < until:
        time.sleep(0.05)
    assert first.stopped


class Broken:
    def __getattr__(self, name):
        def call(*_):
            raise RuntimeError("Connection reset by peer")
        return call


def test_without_a_store_the_disk_tells_what_is_done(join):
    there = {0, 3}
    member = Team(1, 2, Line(Broken(), ""))
    work = SharedWork(member, "w", 4, finished=there.__contains__)
    assert [n for n in work.order() if work.take(n)] == [2, 1] and member.lost
    work.report(2, None)  # to nobody
    with pytest.raises(TeamError, match="the first process is gone"):
        SharedWork(member, "w", 4).take(0)


def test_keys_of_a_team_of_a_training_are_taken_out_again(store):
    line = Line(store, "x/")
    line("set", "a", "1")
    line("add", "b", 2)
    before = store.num_keys()
    line.forget()
    assert store.num_keys() == before - 2
