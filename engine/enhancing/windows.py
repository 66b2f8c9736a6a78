"""Small copies of a picture and means over their windows: what maps from one picture to another are fitted on."""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from engine.enhancing.sizes import resized

SHRINK = 4  # maps are fitted on copies of 1 / SHRINK of the network's sides: there its picture lacks nothing


def small_copy(shown: Tensor) -> Tensor:
    """What maps are fitted on, (B, 3, h, w), of what the network was shown (B, 3, H, W)."""
    height, width = shown.shape[-2:]
    return resized(shown, (max(height // SHRINK, 1), max(width // SHRINK, 1)))


def window_mean(x: Tensor, radius: int) -> Tensor:
    """(B, C, h, w) -> means over windows of 2 radius + 1 pixels; at the edges over what there is of a window."""
    side = 2 * radius + 1
    x = F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, side), 1, (0, radius), count_include_pad=False)


def local_fit(x: Tensor, y: Tensor, radius: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Gain and offset, both of y's shape, with which gain x + offset is nearest to y around each pixel, epsilon added to the
    variance of x (guided filter: He, Sun and Tang, TPAMI 2013). x (B, 1 or C, h, w), y (B, C, h, w)."""
    mean_x, mean_y = window_mean(x, radius), window_mean(y, radius)
    variance = window_mean(x * x, radius) - mean_x * mean_x
    gain = (window_mean(x * y, radius) - mean_x * mean_y) / (variance.clamp_(min=0) + epsilon)
    return gain, mean_y - gain * mean_x
