"""Picture quality measures of pyiqa as losses, each turned so that less is better:

    ssim: 1 - SSIM of the luma (11x11 Gaussian window, on 8-bit levels; rounding passes gradients straight through)
    psnr: 1 - PSNR / 80, in dB, of RGB
    nlpd: normalised Laplacian pyramid distance (Laparra et al., Electronic Imaging 2016)
    nrqm: 1 - NRQM / 10 (Ma et al., CVIU 2017); it looks at the prediction alone and ends in regression trees, so it has
          no gradient and waits for the GPU: it can be watched beside other losses, not trained with
"""
from __future__ import annotations

import torch
from torch import Tensor

from exp_config.pyiqa_access import create_metric

NAMES = ("ssim", "psnr", "nlpd", "nrqm")
MIN_SIDE = {"ssim": 11, "psnr": 1, "nlpd": 1, "nrqm": 32}
TINY = 1e-16  # under the roots of nlpd: changes it by at most 1e-8, keeps its gradient finite for equal pictures


class QualityLoss:
    """The batch's mean of the measure `name` on images in [0, 1].

    Raises PyiqaUnavailable (a ValueError) when pyiqa or a weight file cannot be had.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu", *, dtype: torch.dtype = torch.float32) -> None:
        self.name, self.dtype = name, dtype
        # Its inner network: the wrapper around it would set cudnn's flags at each call.
        self._network: torch.nn.Module = create_metric(name, device=device, as_loss=True).net  # type: ignore[assignment]
        self._network.to(dtype)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Two (B, 3, H, W) RGB images in [0, 1]; a 0-d tensor. Raises ValueError on images too small to measure."""
        least, (height, width) = MIN_SIDE[self.name], prediction.shape[-2:]
        if min(height, width) < least:
            raise ValueError(f"the loss {self.name} needs images of at least {least}x{least}, found {height}x{width}")
        prediction, target = prediction.to(self.dtype), target.to(self.dtype)
        if self.name == "ssim":
            return 1 - self._network(prediction, target).mean()
        if self.name == "psnr":
            return 1 - self._network(prediction, target).mean() / 80
        if self.name == "nlpd":
            return self._pyramid_distance(prediction, target)
        return 1 - self._network(prediction).mean() / 10

    def _pyramid_distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """pyiqa's sum over its own pyramid, but for TINY: the root has no gradient at 0."""
        from pyiqa.utils.color_util import to_y_channel

        levels = zip(
            self._network.pyramid(to_y_channel(prediction)),  # type: ignore[operator]
            self._network.pyramid(to_y_channel(target)),  # type: ignore[operator]
            strict=True,
        )
        roots = [((ours - theirs).square().mean((1, 2, 3)) + TINY).sqrt() for ours, theirs in levels]  # (B,) each
        return torch.stack(roots).mean()
