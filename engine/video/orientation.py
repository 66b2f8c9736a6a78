"""How a camera was held while it filmed: a clip's display matrix in the terms of a photo's EXIF orientation."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

# (x' from x, y' from x, x' from y, y' from y) as signs -> EXIF orientation; x to the right, y down.
ORIENTATIONS = {(1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
                (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8}


def orientation_of(frame: av.VideoFrame) -> int:
    """1..8 as in EXIF; 1 where there is no matrix, or one of another angle than 0, 90, 180 and 270 degrees."""
    for side_data in frame.side_data:
        data = side_data if hasattr(side_data, "type") else frame.side_data[side_data]
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32, 5)
            return ORIENTATIONS.get(tuple(int(value) for value in np.sign([a, b, c, d])), 1)
    return 1
