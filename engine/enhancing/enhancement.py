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
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from engine.device import autocast_dtype
from engine.failures import is_out_of_memory
from models import HVR
from models.hvr import mirror

OUT_OF_RANGE = 1e-3   # values in [0, 1] may stick out by so much (rounding of whoever made them); they are clipped

Picture = TypeVar("Picture", np.ndarray, Tensor)
logger = logging.getLogger(__name__)


class ImageError(ValueError):
    """A picture that cannot be enhanced: wrong type, shape or values."""


class EnhancementError(RuntimeError):
    """The network could not give a picture: memory, or numbers that ran out of range."""


def enhance(model: HVR, image: Picture, *, seed: int = 0, strength: float = 1.0, T: int | None = None,
            C: int | None = None, N: int | None = None, border: int | None = None, precision: str = "auto") -> Picture:
    """Enhance a dark picture, on the device of `model`; the result has the kind, type, shape and range of `image`.

    image: numpy (H, W, 3) RGB, uint8, uint16 (full range) or float in [0, 1]; or a float tensor (B, 3, H, W) in [0, 1].
    seed: of the initial latents; the same photo and seed give the same picture, in any batch.
    strength: 1 is the network's picture, 0 the input, between them a blend.
    T, C, N: numbers of L steps, H steps and supervision steps; None: the model's.
    border: mirrored pixels around the picture while it is computed (see `add_border`), 0 or more; None: the model's.
    precision: "fp32", "bf16", "fp16", or "auto": bf16 for 8-bit pictures on a GPU that has it, fp32 otherwise. On a CPU
        16 bits are used where they gain something (see engine.device), else fp32.

    Raises ImageError naming what was found and expected, EnhancementError when the network fails on this picture,
    DeviceError for an unknown precision.
    """
    if not 0 <= strength <= 1:
        raise ImageError(f"strength = {strength!r}; expected a number in [0, 1]")
    device = next(model.parameters()).device
    dtype = autocast_dtype(precision, device, eight_bit=isinstance(image, np.ndarray) and image.dtype == np.uint8)
    border = model.inference_border if border is None else border
    if border < 0:
        raise ImageError(f"border = {border}; expected 0 or more pixels")
    if isinstance(image, Tensor):
        dark = _check_tensor(image).to(device, torch.float32).clamp(0, 1)
    elif isinstance(image, np.ndarray):
        dark = to_batch(image, device)
    else:
        raise ImageError(f"an image of type {type(image).__name__}; expected a numpy array or a torch tensor")
    x = add_border(model.to_model_range(dark), border)
    kept = dark if strength < 1 else None
    del dark  # large photos: nothing stays in memory that is not needed
    output = cut_border(_sample(model, x, dtype, seed, {"T": T, "C": C, "N": N}), border)
    bright = model.to_unit_range(output).clamp_(0, 1)
    if kept is not None:
        bright = torch.lerp(kept, bright, strength)
    return bright.to(image.device, image.dtype) if isinstance(image, Tensor) else to_array(bright, image.dtype)


def add_border(x: Tensor, pixels: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + 2 pixels, W + 2 pixels), mirrored; edge pixels repeated where a side is too short for that.

    Convolutions see zeros around what they are given, and the outermost pixels of the network's picture are off by some ten
    8-bit levels: a thin frame. With a border the frame lies in what `cut_border` takes away.
    """
    return mirror(x, (pixels, pixels), (pixels, pixels))


def cut_border(x: Tensor, pixels: int) -> Tensor:
    """What `add_border` was given, of (B, C, H, W)."""
    return x[..., pixels: x.shape[-2] - pixels, pixels: x.shape[-1] - pixels]


# --- kinds of pictures ---

def _check_tensor(image: Tensor) -> Tensor:
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise ImageError(f"a tensor of shape {tuple(image.shape)}; expected (B, 3, H, W)")
    if not image.is_floating_point():
        raise ImageError(f"a tensor of {image.dtype}; expected floating point in [0, 1] (uint8 pictures go in as numpy arrays)")
    low, high = (float(v) for v in torch.aminmax(image))
    _check_range(low, high)
    return image


def to_batch(image: np.ndarray, device: torch.device) -> Tensor:
    """(H, W, 3) of any supported type -> float32 (1, 3, H, W) in [0, 1] on the device."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f"an array of shape {image.shape}; expected (H, W, 3), RGB (repeat a gray channel three times)")
    if image.dtype == np.uint16:
        values = torch.from_numpy(image.astype(np.float32)).to(device).div_(65535)
    elif image.dtype == np.uint8:
        values = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device).float().div_(255)
    elif np.issubdtype(image.dtype, np.floating):
        _check_range(float(image.min()), float(image.max()))
        values = torch.from_numpy(image.astype(np.float32)).to(device).clamp_(0, 1)
    else:
        raise ImageError(f"an array of {image.dtype}; expected uint8, uint16, or floating point in [0, 1]")
    return values.permute(2, 0, 1)[None].contiguous()


def to_array(batch: Tensor, dtype: np.dtype) -> np.ndarray:
    """float32 (1, 3, H, W) in [0, 1] -> (H, W, 3), integers rounded to nearest."""
    values = batch[0].permute(1, 2, 0)
    if dtype == np.uint8:
        return values.mul(255).round_().to(torch.uint8).cpu().contiguous().numpy()
    pixels = values.cpu().contiguous().numpy()
    return np.round(pixels * 65535.0).astype(dtype) if dtype == np.uint16 else pixels.astype(dtype)


def _check_range(low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("the image holds NaN or infinite values")
    if low < -OUT_OF_RANGE or high > 1 + OUT_OF_RANGE:
        hint = "; divide 8-bit values by 255" if high > 2 else "; [-1, 1] -> (x + 1) / 2" if low >= -1.01 else ""
        raise ImageError(f"values from {low:.4g} to {high:.4g}; expected [0, 1]{hint}")


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
