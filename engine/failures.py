"""What failed where no input was wrong: memory, shared memory. In words that say what to do."""
from __future__ import annotations

import torch

NO_MEMORY = ("not enough memory", "out of memory", "allocate memory")  # in the messages of several versions of torch

def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: on a GPU, in torch's CPU allocator, or in numpy and Python."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY))


def is_out_of_shared_memory(error: BaseException) -> bool:
    """Whether a loader process had no shared memory for its batch (/dev/shm, 64 MB in a docker container)."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("shared memory" in text or "bus error" in text)


def explain_training_failure(error: BaseException) -> str | None:
    """One line of what happened and what to do, for the failures that have such an answer; None for others."""
    cause = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    if is_out_of_shared_memory(error):
        return (f"the loader processes have too little shared memory ({cause}); in docker: docker run --ipc=host ... "
                "(or --shm-size=8g); anywhere: --set num_workers=0")
    if is_out_of_memory(error):
        return (f"out of memory ({str(error).splitlines()[0] if str(error) else cause}); the same steps in less memory: "
                "half the batch_size and twice the gradient_accumulation_steps, for example "
                "--set batch_size=16 gradient_accumulation_steps=4")
    return None
