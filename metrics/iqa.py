"""lpips, niqe, piqe and brisque, computed by pyiqa on the 8-bit picture divided by 255.

lpips   Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018
niqe    Mittal et al., "Making a Completely Blind Image Quality Analyzer", IEEE SPL 2013
piqe    Venkatanath et al., "Blind Image Quality Evaluation Using Perception Based Features", NCC 2015
brisque Mittal et al., "No-Reference Image Quality Assessment in the Spatial Domain", IEEE TIP 2012

Each looks at the whole picture at once: per megapixel niqe takes about 0.4 GB and lpips 0.2 GB of memory.
"""
from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from exp_config.pyiqa_access import create_metric
from metrics.pictures import Picture, check_pair, check_picture

DEFINITIONS = {
    "lpips": "LPIPS 0.1 with AlexNet (pyiqa), against the reference",
    "niqe": "NIQE (pyiqa, original parameters) on the luma of the output alone",
    "piqe": "PIQE (pyiqa) on the luma of the output alone, 0 to 100",
    "brisque": "BRISQUE (pyiqa, original SVM) on the luma of the output alone",
}
MIN_SIDE = {"lpips": 31, "niqe": 96, "piqe": 8, "brisque": 9}  # below it the network or the blocks have no pixels left


class IqaMetric:
    """One metric of pyiqa on `device`: `metric(output, reference)`; the reference is used by lpips alone.

    Raises PyiqaUnavailable (a ValueError) when pyiqa or a weight file cannot be had.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        self.name, self.device = name, torch.device(device)
        # The inner network: pyiqa's wrapper would switch TF32 on, and scores would depend on the machine.
        self._network: torch.nn.Module = create_metric(name, device=device).net  # type: ignore[assignment]

    def __call__(self, output: Picture, reference: Picture | None = None) -> float:
        """The score of uint8 pictures (H, W, 3). Raises ValueError for other arrays, different or too small sizes."""
        if reference is None:
            check_picture(output, "output")
        else:
            check_pair(output, reference)
        height, width = output.shape[:2]
        least = MIN_SIDE[self.name]
        if min(height, width) < least:
            raise ValueError(f"needs sides of at least {least} pixels, found {width}x{height}")
        pictures = [output] if self.name != "lpips" or reference is None else [output, reference]
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False), exact, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.cov's, when a small picture is a single block of niqe
            return float(self._network(*(self._tensor(picture) for picture in pictures)).squeeze())

    def _tensor(self, picture: Picture) -> Tensor:
        """uint8 (H, W, 3) -> float32 (1, 3, H, W) in [0, 1] on the device."""
        levels = torch.from_numpy(np.ascontiguousarray(picture)).to(self.device)
        return levels.permute(2, 0, 1).unsqueeze(0).float() / 255
