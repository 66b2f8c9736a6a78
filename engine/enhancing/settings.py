"""What decides on the look of a result: numbers of steps, border, strength and the rest, from options and the config."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from exp_config import Config


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of an enhancement; each field is a keyword of `engine.enhancing.enhancement.enhance`, but for z_distribution, which
    is the model's."""

    seed: int = 0
    z_distribution: str
    border: int
    strength: float = 1.0
    precision: str = "auto"
    T: int
    C: int
    N: int
    average: bool = False
    light_order: float = 0.0
    white_balance: float = 0.0
    detail: float = 0.0
    max_working_megapixels: float = 0.0
    brightness: float = 0.0
    saturation: float = 1.0

    @classmethod
    def of(cls, config: Config, *, hvr_t: int | None = None, hvr_c: int | None = None, hvr_n_supervision: int | None = None,
           hvr_n_sup_factor: float | None = None, border: int | None = None, z_distribution: str | None = None,
           average: bool | None = None, light_order: float | None = None, white_balance: float | None = None,
           detail: float | None = None, max_working_megapixels: float | None = None, **others: Any) -> Settings:
        """Those of the weights' config where an option is None. `others`: fields of this class that no config has."""
        return cls(
            T=_given(hvr_t, config.hvr_t), C=_given(hvr_c, config.hvr_c),
            N=supervision_steps(_given(hvr_n_supervision, config.hvr_n_supervision),
                                _given(hvr_n_sup_factor, config.hvr_n_sup_factor)),
            border=_given(border, config.inference_border), z_distribution=_given(z_distribution, config.z_distribution),
            average=_given(average, config.inference_average),
            light_order=_given(light_order, config.inference_light_order),
            white_balance=_given(white_balance, config.inference_white_balance), detail=_given(detail, config.inference_detail),
            max_working_megapixels=_given(max_working_megapixels, config.inference_megapixels),
            **others)

    @property
    def steps(self) -> dict[str, int]:
        """T, C and N by name."""
        return {"T": self.T, "C": self.C, "N": self.N}

    def record(self) -> dict[str, Any]:
        """All fields by name, for records and reports."""
        return asdict(self)


def supervision_steps(n: int, factor: float) -> int:
    """max(int(factor * N), 1): how many supervision steps sampling runs."""
    return max(int(factor * n), 1)


def _given(option: Any, otherwise: Any) -> Any:
    return otherwise if option is None else option
