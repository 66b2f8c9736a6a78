"""One function that enhances a picture, whatever its kind: `enhance(model, image)`; and where and how exactly it computes.

Example:
    from engine.device import choose_device
    from engine.enhancing.enhancement import enhance
    from models import load_pretrained

    model = load_pretrained("checkpoint/zeros/config.json", "checkpoint/zeros/HVR.safetensors", choose_device("auto"))
    bright = enhance(model, dark)        # dark: (H, W, 3) RGB, uint8, uint16, or float in [0, 1]; bright is of the same kind
"""
from __future__ import annotations

import contextlib
import copy
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.device import autocast_dtype
from engine.enhancing.finishing import finished
from engine.enhancing.pictures import ImageError, Picture, check_picture, size_of
from engine.enhancing.sizes import shrunk, working_size
from engine.enhancing.windows import small_copy
from engine.failures import is_out_of_memory
from models import HVR
from models.hvr import mirror
from models.latents import State

OnStep = Callable[[str, State], None]
LIMITS = {"strength": (0, 1), "border": (0, math.inf), "light_order": (0, 1), "white_balance": (0, 1),
          "detail": (0, 1), "max_working_megapixels": (0, math.inf), "brightness": (-8, 8), "saturation": (0, 8)}

logger = logging.getLogger(__name__)


class EnhancementError(RuntimeError):
    """The network could not give a picture: memory, or numbers that ran out of range."""


def enhance(model: HVR, image: Picture, *, seed: int = 0, strength: float = 1.0, T: int | None = None,
            C: int | None = None, N: int | None = None, border: int | None = None, precision: str = "auto",
            average: bool | None = None, light_order: float | None = None, white_balance: float | None = None,
            detail: float | None = None, max_working_megapixels: float = 0.0, brightness: float = 0.0, saturation: float = 1.0,
            on_step: OnStep | None = None) -> Picture:
    """Enhance a dark picture, on the device of `model`; the result has the kind, type, shape and range of `image`.

    image: numpy (H, W, 3) RGB, uint8, uint16 (full range) or float in [0, 1]; or a float tensor (B, 3, H, W) in [0, 1].
    seed: of the initial latents; the same photo and seed give the same picture, in any batch.
    strength: 1 is the network's picture, 0 the input, between them a blend.
    T, C, N: numbers of L steps, H steps and supervision steps; None: the model's.
    border: mirrored pixels around the picture while it is computed (see `add_border`), 0 or more; None: the model's.
    precision: "fp32", "bf16", "fp16", or "auto": bf16 for 8-bit pictures on a GPU that has it, fp32 otherwise. On a CPU
        16 bits are used where they gain something (see engine.device), else fp32.
    average: the mean of the pictures after all supervision steps (see models.hvr.MeanPicture), and not the last one; None:
        the model's.
    light_order: how far the result keeps the picture's order of light (see engine.enhancing.light_order) and, in strong
        colours, that of red, green and blue (engine.enhancing.channel_order), 0 to 1; None: the model's.
    white_balance: how much of the cast of what came out of the dark is taken off (see engine.enhancing.white_balance), 0 to 1;
        None: the model's.
    detail: how much of the picture's own fine structure the result has instead of the network's (see engine.enhancing.detail),
        0 to 1; None: the model's.
    max_working_megapixels: a larger picture is shown to the network as a copy of so many; the result has the picture's size
        all the same, and its sharpness by `detail`. 0: the whole picture.
    brightness: in stops around the network's own choice; saturation: times the network's (see engine.enhancing.tone).
    on_step: called after each step of the recursion with "L" or "H" and the state; what it raises ends the enhancement.
        Where memory runs out, the steps begin again on another device.

    Raises ImageError naming what was found and expected, EnhancementError when the network fails on this picture,
    DeviceError for an unknown precision.
    """
    border = model.inference_border if border is None else border
    light_order = model.inference_light_order if light_order is None else light_order
    white_balance = model.inference_white_balance if white_balance is None else white_balance
    detail = model.inference_detail if detail is None else detail
    average = model.inference_average if average is None else average
    finishing = {"strength": strength, "light_order": light_order, "white_balance": white_balance, "detail": detail,
                 "brightness": brightness, "saturation": saturation}
    _check_settings(border=border, max_working_megapixels=max_working_megapixels, **finishing)
    device = next(model.parameters()).device
    dtype = autocast_dtype(precision, device, eight_bit=isinstance(image, np.ndarray) and image.dtype == np.uint8)
    check_picture(image)
    x = shrunk(image, working_size(*size_of(image), max_working_megapixels), device)          # (B, 3, h, w)
    small = small_copy(x)
    x = add_border(model.to_model_range(x), border)
    steps = {"T": T, "C": C, "N": N, "average": average, "on_step": on_step}
    output = cut_border(_sample(model, x, dtype, seed, steps), border)
    del x  # large photos: nothing stays in memory that is not needed
    return finished(image, model.to_unit_range(output).clamp_(0, 1), small, **finishing)


def _check_settings(**settings: float) -> None:
    """ImageError for one that is out of its bounds, NaN too."""
    for name, value in settings.items():
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise ImageError(f"{name} = {value!r}; expected {low} or more" + (f", at most {high}" if high < math.inf else ""))


def add_border(x: Tensor, pixels: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + 2 pixels, W + 2 pixels), mirrored; edge pixels repeated where a side is too short for that.

    Convolutions see zeros around what they are given, and the outermost pixels of the network's picture are off by some ten
    8-bit levels: a thin frame. With a border the frame lies in what `cut_border` takes away.
    """
    return mirror(x, (pixels, pixels), (pixels, pixels))


def cut_border(x: Tensor, pixels: int) -> Tensor:
    """What `add_border` was given, of (B, C, H, W)."""
    return x[..., pixels: x.shape[-2] - pixels, pixels: x.shape[-1] - pixels]


# --- the network, within the memory there is ---

def _sample(model: HVR, x: Tensor, dtype: torch.dtype | None, seed: int, steps: Mapping[str, Any]) -> Tensor:
    """The model's picture of x (B, 3, H, W) in its range, float32, on the device of x or where there is room for it."""
    places = devices_to_try(x.device)
    for place, following in zip(places, [*places[1:], None], strict=True):
        try:
            output = _run(model, x, dtype if place == x.device else None, seed, steps, place)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = f"not enough memory for {x.shape[-1]}x{x.shape[-2]} pixels on {place}"
        # Only here, outside of the handler, are the maps of the failed attempt let go.
        if following is None:
            raise EnhancementError(message)
        logger.warning("%s; this picture is computed on %s", message, following)
        if place.type == "cuda":
            torch.cuda.empty_cache()
    if not torch.isfinite(output).all():
        advice = "use --precision fp32" if dtype else "do these weights belong to this network?"
        raise EnhancementError(f"the network's output holds NaN or infinite values; {advice}")
    return output


def _run(model: HVR, x: Tensor, dtype: torch.dtype | None, seed: int, steps: Mapping[str, Any],
         place: torch.device) -> Tensor:
    """`_sample` on one device."""
    if place != x.device:
        model = copy.deepcopy(model).to(place)
    with torch.autocast(place.type, dtype) if dtype else contextlib.nullcontext():
        return model.sample(x.to(place), seeds=seed, **steps)[1].float().to(x.device)


def devices_to_try(device: torch.device) -> list[torch.device]:
    """Where to compute, in this order as memory runs out: the CPU's main memory is larger, and its kernels need least."""
    return [device] if device.type == "cpu" else [device, torch.device("cpu")]
