"""What an evaluation finds: the scores of each picture, gathered by benchmark set."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

from data.benchmarks import BenchmarkSet


@dataclass
class PictureScores:
    """One picture of a set. `output` and `input`: value by metric, of the enhanced picture and of the dark one.

    A picture that could not be enhanced or compared has a `problem` and no scores. A metric that cannot judge this very
    picture is not among its scores and has its reason in `gaps`.
    """

    name: str
    low: str
    high: str | None = None
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    output: dict[str, float] = field(default_factory=dict)
    input: dict[str, float] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass
class SetScores:
    """One benchmark set. `problem` says why nothing of it could be scored; `absent`: its folders are not there."""

    benchmark: BenchmarkSet
    metrics: list[str]
    missing: dict[str, str] = field(default_factory=dict)  # metric -> which file is missing where
    pictures: list[PictureScores] = field(default_factory=list)
    problem: str | None = None
    absent: bool = False

    @property
    def name(self) -> str:
        return self.benchmark.name

    @property
    def scored(self) -> list[PictureScores]:
        return [picture for picture in self.pictures if picture.problem is None]

    @property
    def failed(self) -> list[PictureScores]:
        return [picture for picture in self.pictures if picture.problem is not None]

    def means(self, kind: str = "output") -> dict[str, float]:
        """Mean over the pictures of their values, for every metric that has one; kind: "output" or "input"."""
        values = {name: [scores[name] for scores in (getattr(p, kind) for p in self.scored) if name in scores]
                  for name in self.metrics}
        return {name: math.fsum(v) / len(v) for name, v in values.items() if v}
