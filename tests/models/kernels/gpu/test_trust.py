"""Kernels are used only where they agree with plain PyTorch; asked once, failures are logged, lack of memory is not one."""
from __future__ import annotations

import pytest
import torch

from models.kernels.gpu.trust import Trust


@pytest.mark.parametrize(("outcome", "trusted", "words"), [
    (None, True, ""), ("an L step differs by 0.5", False, "not used here: an L step differs by 0.5. Plain PyTorch"),
    (RuntimeError("no kernel image"), False, "they fail (RuntimeError: no kernel image)")])
def test_verdicts(caplog, outcome, trusted, words):
    trust, asked = Trust(), []

    def disagreement():
        asked.append(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert [trust.given("key", disagreement, "not used here") for _ in range(3)] == [trusted] * 3
    assert len(asked) == 1 and caplog.text.count("not used here") == (not trusted) and words in caplog.text
    trust.given("other key", disagreement, "not used here")
    assert len(asked) == 2


def test_lack_of_memory_is_no_verdict():
    trust = Trust()

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        trust.given("key", full, "not used")
    assert trust.given("key", lambda: None, "not used")
