"""Where the tests of the losses find weight files, or find none."""
from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def metric_weights(shared):
    """TORCH_HOME with the weights of lpips, niqe and brisque."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TORCH_HOME", str(shared / "metric_weights"))
    yield shared / "metric_weights"
    patch.undo()


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An empty TORCH_HOME on a machine without internet."""
    pytest.importorskip("pyiqa", reason="needs pyiqa")

    def refuse(url: str, seconds: float):
        raise OSError("no internet here")

    monkeypatch.setattr("exp_config.pyiqa_access._open_within", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path
