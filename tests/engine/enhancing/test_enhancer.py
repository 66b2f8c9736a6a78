"""A network that is ready to enhance: how many pictures it takes at the same time."""
from __future__ import annotations

import pytest
import torch

from engine.enhancing.enhancer import AT_ONCE_MEGAPIXELS, Enhancer
from engine.enhancing.settings import Settings
from exp_config import Config
from models import HVR


@pytest.mark.parametrize(("height", "width", "megapixels", "most"), [
    (720, 1280, 0.08, 6), (2160, 3840, 0.08, 6), (720, 1280, 0.0, 1), (4000, 6000, 0.5, 1), (500, 500, 0.5, 2),
    (1, 1, 0.0, 5e5)])
def test_as_many_at_once_as_there_are_cores_and_room(monkeypatch, height, width, megapixels, most):
    """Together they show the network no more than one large photo does, if they are more than one."""
    config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2])
    enhancer = Enhancer(HVR.from_config(config), config, Settings.of(config, max_working_megapixels=megapixels))
    for cores in (1, 2, 4, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        count = enhancer.at_once(height, width)
        assert count == min(cores, most)
        assert count == 1 or count * min(height * width, (megapixels or 1e6) * 1e6) <= AT_ONCE_MEGAPIXELS * 1e6
