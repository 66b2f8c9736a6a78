"""Shared fixtures: golden values, the optional development data beside the project, small synthetic photos."""
from __future__ import annotations

import gc
import json
import signal
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent
PROJECT = TESTS.parent
SHARED = PROJECT.parent / "shared"


def pytest_configure(config):
    """What tests import stays: no garbage is looked for in it while they are collected. Signals that a shell made this process
    ignore (`nohup`, `&`) are heard by what the tests start, as they are where nothing is ignored."""
    gc.disable()
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):  # else in the workers
        for name, heard in (("SIGINT", signal.default_int_handler), ("SIGHUP", lambda *_: None)):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, heard)


def pytest_collection_finish():
    gc.freeze()  # nor while they run
    gc.enable()


@pytest.fixture(scope="session")
def golden():
    """Path of the golden values' folder (tests/golden/README.md says what each holds)."""
    return TESTS / "golden"


@pytest.fixture(scope="session")
def golden_json(golden):
    """Reader of one golden JSON file by name."""
    return lambda name: json.loads((golden / name).read_text())


@pytest.fixture(scope="session")
def shared():
    """The development data folder ../shared; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the development data in ../shared")
    return SHARED


def synthetic_photo(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth colourful picture with edges, uint8 (H, W, 3) RGB, different for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase, freq = rng.uniform(0, 6.28, 3), rng.uniform(2, 12, (3, 2))
    waves = [0.5 + 0.4 * np.sin(freq[c, 0] * x + freq[c, 1] * y + phase[c]) for c in range(3)]
    image = np.stack(waves, -1)
    top, left = rng.integers(0, max(height // 2, 1)), rng.integers(0, max(width // 2, 1))
    image[top : top + height // 3, left : left + width // 3] = rng.uniform(0, 1, 3)
    return np.round(np.clip(image + rng.normal(0, 0.01, image.shape), 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_photo():
    """`make_photo(height, width, seed)` -> uint8 (H, W, 3) RGB."""
    return synthetic_photo


@pytest.fixture(scope="session")
def save_small_network(tmp_path_factory):
    """`save_small_network(**settings)` -> a small network with random weights, saved, as options of the scripts."""
    def save(**settings: object) -> list[str]:
        import torch

        from exp_config import Config
        from models import HVR, save_weights

        folder = tmp_path_factory.mktemp("small-network")
        torch.manual_seed(0)
        config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2], hvr_t=1, **settings)
        weights = folder / "HVR.safetensors"
        save_weights(HVR.from_config(config), weights, config)
        return ["--config_path", str(folder / "config.json"), "--weights_path", str(weights), "--device", "cpu"]

    return save
