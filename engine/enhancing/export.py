"""The network as an ONNX file: fixed numbers of steps, any height, width and batch, the latents as inputs."""
from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from models import HVR, State
from models.hvr import MeanPicture
from models.swin2sr import WindowAttention

INPUTS, OUTPUTS = ("image", "zH", "zL"), ("enhanced", "zH_out", "zL_out")


class ExportError(ValueError):
    """The network cannot be exported here; the message says what is missing."""


def smallest_side(model: HVR) -> int:
    """In pixels, 9 for the published windows: a side is padded by reflection alone, by less than itself, and to two windows or
    more, since torch.export takes one for a special case."""
    return model.size_multiple + 1


def reflected(side: int, multiple: int) -> Tensor:
    """Which rows or columns, of so many, models.hvr.pad_to_multiple has in each place, for a side of `smallest_side` or more of
    which only the running graph knows the size."""
    # a number of its own, not an expression of the side: to reason on the latter at each layer takes longer than all else
    windows = torch.scalar_tensor((side + multiple - 1) // multiple, dtype=torch.int64).item()
    torch._check(windows >= 2)
    at = torch.arange(windows * multiple)
    return side - 1 - (side - 1 - at).abs()


def crop(x: Tensor, dim: int, side: int) -> Tensor:
    """The first `side` rows or columns."""
    return x.index_select(dim, torch.arange(side, device=x.device))


class TracedAttention:
    """softmax(q k^T + bias) v of a block for any number of windows: nothing depends on where the last ones stand."""

    def __init__(self, attention: WindowAttention) -> None:
        self.shifted, self.bias = attention.shifted, attention.position_bias()

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (B, rows, columns, h, n, d) -> the same shape."""
        similarity = q @ k.transpose(-2, -1) + self.bias[0]
        if self.shifted:  # both masks where row and column are the last: -200 instead of -100, which is 0 either way
            for dim, kind in ((1, 2), (2, 1)):
                at = torch.arange(q.shape[dim], device=q.device) == q.shape[dim] - 1
                last = at.to(q.dtype).reshape(-1, *[1] * (5 - dim))
                similarity = similarity + last * (self.bias[kind] - self.bias[0])
        return similarity.softmax(-1) @ v


class Enhancer(nn.Module):
    """image (B, 3, H, W) in [0, 1], zH, zL (B, D, H, W) -> enhanced image in [0, 1], zH, zL."""

    def __init__(self, model: HVR, steps: list[str], average: bool) -> None:
        super().__init__()
        self.model, self.steps, self.average = model, steps, average
        for module in model.modules():
            if isinstance(module, WindowAttention):
                setattr(module, "_attend", TracedAttention(module))  # noqa: B010

    def forward(self, image: Tensor, zH: Tensor, zL: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        H, W = image.shape[-2:]
        x, zH, zL = self.model.to_model_range(image), zH, zL
        for dim, side in ((2, H), (3, W)):
            at = reflected(side, self.model.size_multiple)
            x, zH, zL = (t.index_select(dim, at) for t in (x, zH, zL))
        mean = MeanPicture()
        for steps in self.steps:
            zH, zL = self.model.recurse(x, State(zH, zL), steps)
            mean.add(self.model.head(zH))
        out = self.model.to_unit_range(mean.mean() if self.average else self.model.head(zH))
        out, zH, zL = (crop(crop(t, 2, H), 3, W) for t in (out, zH, zL))
        return out, zH, zL


def export_onnx(model: HVR, path: str | Path, *, T: int | None = None, C: int | None = None, N: int | None = None,
                average: bool | None = None) -> None:
    """Write `model` with fixed T, C, N and `average` (default: its own; see `HVR.sample`) to `path`, one file with its weights.

    Inputs: image (batch, 3, height, width) float32 in [0, 1]; zH, zL (batch, D, height, width): zeros, or
    `model.initial_state(image, seeds)` for what inference here starts from. Outputs: enhanced in [0, 1], zH_out, zL_out.
    batch, height and width are free; sides of `smallest_side(model)` pixels or more. Equal to PyTorch within 1e-4.
    Raises ExportError without the packages onnx and onnxscript, or where `path` cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"exporting needs the packages {' and '.join(missing)}: pip install onnx onnxscript")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error}; give the name of a file") from error
    average = model.inference_average if average is None else average
    plain = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    batch, height, width = 2, 5 * plain.size_multiple, 7 * plain.size_multiple
    latent = torch.zeros(batch, model.z_dims, height, width)
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=smallest_side(plain)),
             3: torch.export.Dim("width", min=smallest_side(plain))}
    inputs = (torch.zeros(batch, 3, height, width), latent, latent.clone())
    network = Enhancer(plain, model.supervision_steps(T, C, N), average).eval()
    traced = torch.export.export(network, inputs, dynamic_shapes=(sizes, sizes, sizes), strict=False,
                                 prefer_deferred_runtime_asserts_over_guards=True)
    program = torch.onnx.export(traced, (), dynamo=True, input_names=list(INPUTS), output_names=list(OUTPUTS), verbose=False)
    assert program is not None
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        program.save(temporary, external_data=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
