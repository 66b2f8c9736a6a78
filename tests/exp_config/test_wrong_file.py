"""Weights and configs that are something else."""
from __future__ import annotations

import pytest

from exp_config import Config, ConfigError
from models.weights import WeightsError, read_weights

CASES = [(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"), (b"<!DOCTYPE html>", "a web page"),
         (b"", "it is empty"), (b"junk" * 9, "")]


@pytest.mark.parametrize(("content", "said"), CASES)
def test_what_stands_there_is_said(tmp_path, content, said):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"not a readable safetensors file.*{said}"):
        read_weights(path)
    with pytest.raises(ConfigError, match=f"not a readable JSON file.*{said}"):
        Config.from_json(path)
