"""Kinds of pictures that can be enhanced, what they must be, and how rows of them become numbers and go back."""
from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from data.files.photo import LUMA

OUT_OF_RANGE = 1e-3   # values in [0, 1] may stick out by so much (rounding of whoever made them); they are clipped

Picture = TypeVar("Picture", np.ndarray, Tensor)


def luma_of(picture: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), of gamma-encoded values (ITU-R BT.601)."""
    return (picture * picture.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


class ImageError(ValueError):
    """A picture, or a setting, that cannot be used: wrong type, shape or values."""


def check_picture(image: np.ndarray | Tensor) -> None:
    """Raise ImageError, naming what was found and expected, unless `image` is (H, W, 3), uint8, uint16 or floating point in
    [0, 1], or a floating-point tensor (B, 3, H, W) in [0, 1]."""
    if isinstance(image, Tensor):
        if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
            raise ImageError(f"a tensor of shape {tuple(image.shape)}; expected (B, 3, H, W)")
        if not image.is_floating_point():
            raise ImageError(f"a tensor of {image.dtype}; expected floating point in [0, 1] (uint8 pictures go in as numpy "
                             "arrays)")
        _check_range(*(float(v) for v in torch.aminmax(image)))
    elif isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(f"an array of shape {image.shape}; expected (H, W, 3), RGB (repeat a gray channel three times)")
        if np.issubdtype(image.dtype, np.floating):
            _check_range(float(image.min()), float(image.max()))
        elif image.dtype not in (np.uint8, np.uint16):
            raise ImageError(f"an array of {image.dtype}; expected uint8, uint16, or floating point in [0, 1]")
    else:
        raise ImageError(f"an image of type {type(image).__name__}; expected a numpy array or a torch tensor")


def _check_range(low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("the image holds NaN or infinite values")
    if low < -OUT_OF_RANGE or high > 1 + OUT_OF_RANGE:
        hint = "; divide 8-bit values by 255" if high > 2 else "; [-1, 1] -> (x + 1) / 2" if low >= -1.01 else ""
        raise ImageError(f"values from {low:.4g} to {high:.4g}; expected [0, 1]{hint}")


def size_of(image: np.ndarray | Tensor) -> tuple[int, int]:
    """Height and width."""
    return (image.shape[-2], image.shape[-1]) if isinstance(image, Tensor) else (image.shape[0], image.shape[1])


def rows_of(image: np.ndarray | Tensor, top: int, bottom: int, device: torch.device) -> Tensor:
    """Rows of a checked picture -> float32 (B, 3, bottom - top, W) in [0, 1] on the device; B is 1 for an array."""
    if isinstance(image, Tensor):
        return image[..., top:bottom, :].to(device, torch.float32).clamp(0, 1)
    return to_batch(image[top:bottom], device)


def put_rows(result: np.ndarray | Tensor, top: int, rows: Tensor) -> None:
    """Write float32 (B, 3, h, W) in [0, 1] into the rows of `result` from `top` on, in its own kind."""
    bottom = top + rows.shape[-2]
    if isinstance(result, Tensor):
        result[..., top:bottom, :] = rows.to(result.device, result.dtype)
    else:
        result[top:bottom] = to_array(rows, result.dtype)


def to_batch(image: np.ndarray, device: torch.device) -> Tensor:
    """(H, W, 3), uint8, uint16 or floating point in [0, 1] -> float32 (1, 3, H, W) in [0, 1] on the device."""
    if image.dtype == np.uint8:
        values = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device)
        return values.permute(2, 0, 1)[None].to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    if image.dtype == np.uint16:
        values = torch.from_numpy(image.astype(np.float32)).to(device).div_(65535)
    else:
        values = torch.from_numpy(image.astype(np.float32)).to(device).clamp_(0, 1)
    return values.permute(2, 0, 1)[None].contiguous()


def to_array(batch: Tensor, dtype: np.dtype) -> np.ndarray:
    """float32 (1, 3, H, W) in [0, 1] -> (H, W, 3), integers rounded to nearest."""
    values = torch.stack(batch[0].unbind(), -1)  # of three planes, twice as fast as a permuted copy
    if dtype == np.uint8:
        return values.mul_(255).round_().to(torch.uint8).cpu().numpy()
    pixels = values.cpu().numpy()
    return np.round(pixels * 65535.0).astype(dtype) if dtype == np.uint16 else pixels.astype(dtype)
