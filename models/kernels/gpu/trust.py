"""Kernels that a GPU, driver or compiler may get wrong are compared with plain PyTorch before they are used."""
from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

import torch

log = logging.getLogger(__name__)


class Trust:
    """Remembers in `verdicts` for which sizes, types and devices the kernels were right."""

    def __init__(self) -> None:
        self.verdicts: dict[Hashable, bool] = {}

    def given(self, key: Hashable, disagreement: Callable[[], str | None], warning: str) -> bool:
        """Whether `disagreement()` found no problem for `key`; asked once. A problem is logged after `warning`.

        Any error of the kernels but a lack of memory is a problem, too.
        """
        if key not in self.verdicts:
            try:
                problem = disagreement()
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a compiler or driver makes of it, plain PyTorch still works
                problem = f"they fail ({type(error).__name__}: {str(error)[:500]})"
            if problem:
                log.warning("%s: %s. Plain PyTorch is used, slower and with more memory", warning, problem)
            self.verdicts[key] = not problem
        return self.verdicts[key]
