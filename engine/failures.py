"""What failed where no input was wrong: memory, shared memory. In words that say what to do."""
from __future__ import annotations

import errno
import math
import shutil

import torch

NO_MEMORY = ("not enough memory", "out of memory", "allocate memory")  # in the messages of several versions of torch

def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: on a GPU, in torch's CPU allocator, or in numpy and Python."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY))


def is_out_of_shared_memory(error: BaseException) -> bool:
    """Whether a loader process had no shared memory for its batch (/dev/shm, 64 MB in a docker container)."""
    if isinstance(error, OSError):  # of a semaphore, which has no file's name
        return error.errno == errno.ENOSPC and error.filename is None and _shared_memory_left() < 2**20
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("shared memory" in text or "bus error" in text)


def _shared_memory_left() -> float:
    """Bytes; infinite where there is no such place."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return math.inf


def is_loader_killed(error: BaseException) -> bool:
    """Whether a loader process died without a word of its own: killed, most often by the system for its memory."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "dataloader worker" in text and (
        "killed by signal" in text or "exited unexpectedly" in text)


def is_other_process_gone(error: BaseException) -> bool:
    """Whether the connection to another process of the training broke, as it does when that one ends."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("connection closed by peer" in text or "connection reset by peer" in text)


def explain_training_failure(error: BaseException) -> str | None:
    """One line of what happened and what to do, for the failures that have such an answer; None for others."""
    cause = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    if is_out_of_shared_memory(error):
        return (f"the loader processes have too little shared memory ({cause}); in docker: docker run --ipc=host ... "
                "(or --shm-size=8g); anywhere: --set num_workers=0")
    if is_loader_killed(error):
        return (f"a loader process was ended from outside ({str(error).strip().splitlines()[0]}); most often the machine had "
                "no memory left (dmesg says so): fewer of them, --set num_workers=1 or 0, or a smaller batch_size")
    if is_other_process_gone(error):
        return f"another process of this training has ended; its own last lines say why ({cause})"
    if is_out_of_memory(error):
        return (f"out of memory ({str(error).splitlines()[0] if str(error) else cause}); the same steps in less memory: "
                "half the batch_size and twice the gradient_accumulation_steps, for example "
                "--set batch_size=16 gradient_accumulation_steps=4")
    return None
