"""The metrics of the evaluation, and a suite that scores pictures with those asked for."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from exp_config.pyiqa_access import PyiqaUnavailable
from metrics import gtmean, iqa, loe, psnr, ssim
from metrics.pictures import Picture, check_pair, check_picture


@dataclass(frozen=True)
class MetricInfo:
    """What a report says about a metric."""

    name: str
    definition: str
    higher_is_better: bool
    needs_reference: bool
    needs_source: bool = False  # the picture that the output was made from


METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo("psnr", psnr.DEFINITION, higher_is_better=True, needs_reference=True),
        MetricInfo("ssim", ssim.DEFINITION, higher_is_better=True, needs_reference=True),
        MetricInfo("ssim_3x3", ssim.DEFINITION_3X3, higher_is_better=True, needs_reference=True),
        MetricInfo("psnr_gtmean", gtmean.PSNR_DEFINITION, higher_is_better=True, needs_reference=True),
        MetricInfo("ssim_gtmean", gtmean.SSIM_DEFINITION, higher_is_better=True, needs_reference=True),
        MetricInfo("lpips", iqa.DEFINITIONS["lpips"], higher_is_better=False, needs_reference=True),
        MetricInfo("niqe", iqa.DEFINITIONS["niqe"], higher_is_better=False, needs_reference=False),
        MetricInfo("piqe", iqa.DEFINITIONS["piqe"], higher_is_better=False, needs_reference=False),
        MetricInfo("brisque", iqa.DEFINITIONS["brisque"], higher_is_better=False, needs_reference=False),
        MetricInfo("loe", loe.DEFINITION, higher_is_better=False, needs_reference=False, needs_source=True),
    )
}
PAIRED = tuple(METRICS)                                                            # a set with references
UNPAIRED = tuple(name for name, info in METRICS.items() if not info.needs_reference)  # a set without
FUNCTIONS: dict[str, Callable[[Picture, Picture], float]] = {
    "psnr": psnr.psnr,
    "ssim": ssim.ssim,
    "ssim_3x3": ssim.ssim_3x3,
    "psnr_gtmean": gtmean.psnr_gtmean,
    "ssim_gtmean": gtmean.ssim_gtmean,
    "loe": loe.loe,
}


class Scores(dict[str, float]):
    """Metric -> value of one picture. `reasons` says, for each value that is nan, why the picture has none."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[str, str] = {}


@dataclass
class MetricSuite:
    """The metrics `names` (all by default), built once on `device`; pictures are scored one at a time, nothing is kept.

    `available`: name -> MetricInfo of those that can run here, in the order asked for;
    `missing`: name -> message with the weight file and the place where it is looked for. Missing ones end nothing.
    Raises ValueError for an unknown name, listing all.
    """

    names: Iterable[str] = PAIRED
    device: torch.device | str = "cpu"
    available: dict[str, MetricInfo] = field(init=False, default_factory=dict)
    missing: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.names = tuple(dict.fromkeys(self.names))
        unknown = [name for name in self.names if name not in METRICS]
        if unknown:
            raise ValueError(f"unknown metric {', '.join(map(repr, unknown))}; there are: {', '.join(METRICS)}")
        self._functions: dict[str, Callable[[Picture, Picture], float]] = {}
        self._networks: dict[str, iqa.IqaMetric] = {}
        for name in self.names:
            try:
                if name in FUNCTIONS:
                    self._functions[name] = FUNCTIONS[name]
                else:
                    self._networks[name] = iqa.IqaMetric(name, self.device)
            except PyiqaUnavailable as error:
                self.missing[name] = str(error)
            else:
                self.available[name] = METRICS[name]

    def score(self, output: Picture, reference: Picture | None = None, source: Picture | None = None) -> Scores:
        """Score the saved 8-bit picture, uint8 (H, W, 3) RGB, by its reference and by the picture that it was made from, all
        of one size, where there are these.

        Without a reference or a source the metrics that need it are left out. A metric that cannot judge this very picture (too
        small, without any structure, too large for the memory) gives nan and a reason; psnr of equal pictures is inf.
        Raises ValueError when the arrays are no such pictures or differ in size.
        """
        check_picture(output, "output")
        for other in (reference, source):
            if other is not None:
                check_pair(output, other)
        scores = Scores()
        for name, info in self.available.items():
            if (info.needs_reference and reference is None) or (info.needs_source and source is None):
                continue
            try:
                scores[name] = self._value(name, output, source if info.needs_source else reference)
            except Exception as error:  # one metric's failure must not end an evaluation; it is reported
                scores[name], scores.reasons[name] = math.nan, f"{type(error).__name__}: {error}"
        return scores

    def _value(self, name: str, output: Picture, other: Picture | None) -> float:
        if name in self._networks:
            value = self._networks[name](output, other)
        else:
            assert other is not None
            value = self._functions[name](output, other)
        if not math.isfinite(value) and not (value == math.inf and name in ("psnr", "psnr_gtmean")):
            raise ArithmeticError("undefined for this picture (nothing to measure in it)")
        return value
