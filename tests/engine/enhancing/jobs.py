"""Enhancers for jobs over files, and what lies in a folder after them."""
from __future__ import annotations

import numpy as np


def interrupted_at_the_second():
    """An enhancer during whose second photo Ctrl-C is pressed."""
    calls = []

    def enhance(pixels):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pixels

    return enhance


def invert(pixels):
    return np.iinfo(pixels.dtype).max - pixels


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
