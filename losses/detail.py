"""Detail: as much of the finest structure as the reference has, place by place (of this project, not of the paper).

    detail = mean |e(p) - e(r)|,   e(x) = sqrt(mean over a window of (g - G g)^2 + floor^2)

g is the channel mean, G the 3x3 binomial filter, windows have 8x8 pixels, every 4. Where the input does not tell where exactly
an edge or a grain lies, absolute differences, SSIM and LPIPS are smallest for a picture without it; this one asks how much of
it there is, not where.
"""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

WINDOW, STRIDE = 8, 4
FLOOR = 0.5 / 255        # half an 8-bit level: keeps the root's gradient finite on flat ground


def detail_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The formula above for two (B, 3, H, W) images in [0, 1]; a 0-d tensor. Raises ValueError below 10x10 pixels."""
    return (detail_strength(prediction) - detail_strength(target)).abs().mean()


def detail_strength(image: Tensor) -> Tensor:
    """e(x) of the windows of (B, 3, H, W) in [0, 1]: (B, 1, rows, columns), in units of the image."""
    if min(image.shape[-2:]) < WINDOW + 2:
        raise ValueError(f"the loss detail needs images of at least {WINDOW + 2}x{WINDOW + 2} pixels, found "
                         f"{image.shape[-2]}x{image.shape[-1]}")
    grey = image.mean(1, keepdim=True)
    fine = grey[..., 1:-1, 1:-1] - binomial(binomial(grey).mT).mT
    return (F.avg_pool2d(fine.square(), WINDOW, STRIDE) + FLOOR**2).sqrt()


def binomial(rows: Tensor) -> Tensor:
    """[1, 2, 1] / 4 along the last dimension, which loses its ends. By shifts: a convolution would round to TF32 on a GPU."""
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
