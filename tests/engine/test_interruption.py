"""What a training does with signals."""
from __future__ import annotations

import os
import signal

import pytest

from engine.interruption import Interrupted, StopRequest


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in StopRequest.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_is_noted(name, capfd):
    before = signal.getsignal(signal.Signals[name])
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.Signals[name])
        assert stop.signal_name == name
        with pytest.raises(Interrupted, match=name), stop.at_once():
            pass
    assert capfd.readouterr().err.startswith(f"\n{name}: finishing this batch, then saving")
    assert signal.getsignal(signal.Signals[name]) == before
    with pytest.raises(Interrupted, match=name), StopRequest() as stop, stop.at_once():
        os.kill(os.getpid(), signal.Signals[name])


def test_behind_nohup_a_lost_connection_is_nothing():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal_name is None
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
