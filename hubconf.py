"""The shipped network by torch.hub: `torch.hub.load(FOLDER, "hvr_ssle", source="local")`, FOLDER that of this file."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

dependencies = ["torch", "safetensors", "numpy"]

PROJECT = Path(__file__).resolve().parent
SHIPPED = PROJECT / "checkpoint" / "zeros"


def hvr_ssle(pretrained: bool = True, device: str = "cpu") -> Any:
    """The network (`models.HVR`) with the settings of the shipped checkpoint, on `device` ("cpu", "cuda", "cuda:1", "mps").

    pretrained: with the shipped weights, in eval mode, without gradients; else with fresh weights, in training mode.
    `model.sample(model.to_model_range(x))[1]` is the picture, in the model's range, of photos x (B, 3, H, W) in [0, 1].
    """
    _check_that_packages_are_ours()
    from exp_config import Config
    from models import HVR, load_pretrained

    config = Config.from_checkpoint(SHIPPED / "config.json")
    return load_pretrained(config, SHIPPED / "HVR.safetensors", device) if pretrained else HVR.from_config(config).to(device)


def enhancer(device: str = "cpu", **settings: Any) -> Callable[[Any], Any]:
    """A function from a dark picture to the enhanced one, by the shipped weights: (H, W, 3) RGB, uint8, uint16 or float in
    [0, 1], or a float tensor (B, 3, H, W) in [0, 1], in and out. settings: as of engine.enhancing.enhancement.enhance."""
    _check_that_packages_are_ours()
    from engine.enhancing.enhancement import enhance

    model = hvr_ssle(device=device)
    return lambda image: enhance(model, image, **settings)


def _check_that_packages_are_ours() -> None:
    """ImportError where the calling program has packages of the same names: Python would then take those."""
    import engine
    import exp_config
    import models

    for package in (models, exp_config, engine):
        found = Path(package.__path__[0]).resolve()
        if found.parent != PROJECT:
            raise ImportError(f"a package named {package.__name__!r} is loaded from {found}, and this project has one of that "
                              f"name in {PROJECT}; load the network before it, or in a process of its own")
