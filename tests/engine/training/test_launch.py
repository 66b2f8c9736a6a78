"""Starts that cannot give what was asked for are refused with what to type instead."""
import pytest
from accelerate.state import AcceleratorState

from engine.training.launch import LaunchError, _explain, asked_processes, check_process_count, start_accelerator


@pytest.mark.parametrize(("environ", "launcher", "asked"), [
    ({}, ["bash"], 1),
    ({}, [], 1),
    ({"WORLD_SIZE": "4"}, [], 4),
    ({"OMPI_COMM_WORLD_SIZE": "3"}, [], 3),
    ({}, ["python", "/bin/accelerate", "launch", "--cpu", "--num_processes", "2", "train.py"], 2),
    ({}, ["python", "/bin/accelerate-launch", "--num_processes=8", "train.py"], 8),
    ({}, ["python", "/bin/accelerate", "launch", "train.py"], 1),
    ({}, ["python", "/bin/accelerate", "launch", "--num_processes"], 1),
    ({}, ["python", "other.py", "--num_processes", "2"], 1),
])
def test_asked(environ, launcher, asked):
    assert asked_processes(environ, launcher) == asked


def test_all_there():
    """Both calls return; with a process fewer they raise (see below)."""
    assert check_process_count(2, 2, {}) is check_process_count(1, 1, {"WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(("environ", "words"), [
    ({}, "accelerate launch starts a single process on a machine without GPU"),
    ({"WORLD_SIZE": "2"}, "there is no GPU here"),
])
def test_fewer_than_asked(environ, words):
    with pytest.raises(LaunchError, match=f"2 processes were asked for.*{words}.*ACCELERATE_USE_CPU=true torchrun"):
        check_process_count(1, 2, environ)


def test_occupied_port(monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "29512")
    text = _explain(RuntimeError("The server socket has failed to listen on any local network address. EADDRINUSE"))
    assert "port 29512" in text and "--main_process_port" in text


def test_fp16_needs_a_gpu(tiny_config, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(LaunchError, match="fp16.*needs a GPU"):
        start_accelerator(tiny_config(autocast_dtype="fp16"))
    AcceleratorState._reset_state(reset_partial_state=True)
