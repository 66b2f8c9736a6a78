"""Folders of a user who may have none."""
from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from engine.training.checkpoints import CheckpointError
from engine.training.runs import find_checkpoint
from exp_config import Config, ConfigError
from exp_config.places import home, user_cache
from exp_config.pyiqa_access import PyiqaUnavailable, _require_files, weights_root


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user id without an entry in the list of users, and no HOME."""
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_no_home(homeless, tmp_path):
    assert home() is None and user_cache() is None
    with pytest.raises(ConfigError, match="no home folder"):
        Config.path("~/photos")
    with pytest.raises(CheckpointError, match="no home folder"):
        find_checkpoint("~/runs/x/best_model")
    assert Config.path("/photos") == Path("/photos")


def test_weights_of_metrics_are_not_put_into_a_folder_named_tilde(homeless, tmp_path):
    with pytest.raises(PyiqaUnavailable, match=r"no home folder for them(.|\n)*TORCH_HOME"):
        _require_files("niqe", weights_root())
    assert not list(tmp_path.iterdir())


def test_a_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache/hvr-ssle" and Config.path("~/x") == tmp_path / "x"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert user_cache() == Path("/elsewhere/hvr-ssle")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")  # relative ones do not count
    assert user_cache() == tmp_path / ".cache/hvr-ssle"
