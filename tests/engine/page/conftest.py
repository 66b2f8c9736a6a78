"""A small network for the page, as files and loaded, and photos as people bring them."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.files.images import Photo, write_photo
from engine.enhancing.enhancer import Enhancer, load_enhancer
from exp_config import Config
from models import HVR, save_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> list[str]:
    """A small network with random weights, as options of the scripts."""
    folder = tmp_path_factory.mktemp("page-weights")
    torch.manual_seed(0)
    config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2], hvr_t=1, hvr_c=2, inference_border=4)
    save_weights(HVR.from_config(config), folder / "HVR.safetensors", config)
    return ["--config_path", str(folder / "config.json"), "--weights_path", str(folder / "HVR.safetensors"), "--device", "cpu"]


@pytest.fixture(scope="session")
def enhancer(weights) -> Enhancer:
    return load_enhancer(Path(weights[1]), Path(weights[3]), "cpu")


@pytest.fixture(scope="session")
def make_upload(make_photo) -> Callable[..., Path]:
    """`make_upload(path, height, width, seed)`: a dark photo with EXIF in the format of its suffix."""
    def make(path: Path, height: int = 40, width: int = 56, seed: int = 0) -> Path:
        exif = Image.Exif()
        exif[0x010F], exif[0x0112] = "Camera", 1
        write_photo(path, Photo(make_photo(height, width, seed) // np.uint8(6), exif=exif.tobytes()))
        return path

    return make
