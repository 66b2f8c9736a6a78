"""Failures that no input caused: recognised, and said with what to do; train.py prints one line."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import train
from engine import failures
from engine.failures import explain_training_failure, is_out_of_memory


@pytest.mark.parametrize("allocate", [lambda: torch.empty(10**15), lambda: np.empty(10**17), lambda: bytearray(10**17)])
def test_real_allocations_that_fail(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as failure:
        allocate()
    assert is_out_of_memory(failure.value)
    assert "gradient_accumulation_steps" in explain_training_failure(failure.value)


def test_of_a_gpu():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...\nsecond line")
    message = explain_training_failure(error)
    assert message.startswith("out of memory (CUDA out of memory. Tried to allocate 2.00 GiB") and "\n" not in message


@pytest.mark.parametrize("text", [
    "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared "
    "memory. Please try to raise your shared memory limit.",
    "Caught RuntimeError in DataLoader worker process 0.\nTraceback\nRuntimeError: unable to allocate shared memory(shm) for "
    "file </torch_1>: No space left on device (28)"])
def test_of_a_container_without_shared_memory(text):
    message = explain_training_failure(RuntimeError(text))
    assert "--ipc=host" in message and "num_workers=0" in message and "\n" not in message


def test_no_room_for_a_semaphore(monkeypatch):
    monkeypatch.setattr(failures, "_shared_memory_left", lambda: 4096)
    message = explain_training_failure(OSError(28, "No space left on device"))
    assert "--ipc=host" in message and "num_workers=0" in message
    assert explain_training_failure(OSError(28, "No space left on device", "/data/file")) is None
    monkeypatch.setattr(failures, "_shared_memory_left", lambda: 1e9)
    assert explain_training_failure(OSError(28, "No space left on device")) is None


@pytest.mark.parametrize("text", [
    "DataLoader worker (pid 1234) is killed by signal: Killed. ",
    "DataLoader worker (pid(s) 17, 18) exited unexpectedly"])
def test_a_loader_process_that_was_killed(text):
    message = explain_training_failure(RuntimeError(text))
    assert text.strip() in message and "memory" in message and "--set num_workers=1" in message and "\n" not in message


def test_another_process_that_has_ended():
    text = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:5190"
    assert explain_training_failure(RuntimeError(text)).startswith("another process of this training has ended; its own last")


def test_others_are_not_explained_away():
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyError("x")):
        assert explain_training_failure(error) is None


@pytest.mark.parametrize(("error", "words"), [
    (torch.OutOfMemoryError("CUDA out of memory."), "--set batch_size"), (RuntimeError("Bus error"), "--ipc=host"),
    (OSError(28, "No space left on device"), "No space left on device")])
def test_train_ends_with_one_line(monkeypatch, capsys, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("engine.training.session.run_training", fail)
    assert train.main(["--exp_name", "short_test"]) == train.EXIT_ERROR
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and words in printed and printed.count("\n") == 1
    monkeypatch.setattr("engine.training.session.run_training",
                        lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a defect")))
    with pytest.raises(RuntimeError, match="a defect"):
        train.main(["--exp_name", "short_test"])
