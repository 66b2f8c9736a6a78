"""Where the tests of the metrics find weight files, or find none."""
from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def metric_weights(shared):
    """TORCH_HOME with the weights of lpips, niqe and brisque."""
    pytest.importorskip("pyiqa", reason="needs pyiqa")
    patch = pytest.MonkeyPatch()
    patch.setenv("TORCH_HOME", str(shared / "metric_weights"))
    yield shared / "metric_weights"
    patch.undo()
