"""How a camera was held while it filmed: a clip's display matrix, and what it is in the terms of a photo's EXIF orientation."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.files.photo import upright

if TYPE_CHECKING:
    import av

Matrix = tuple[int, ...]   # nine numbers as FFmpeg keeps them, row by row

# (x' from x, y' from x, x' from y, y' from y) as signs -> EXIF orientation; x to the right, y down.
ORIENTATIONS = {(1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
                (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8}
BACK = {6: 8, 8: 6}        # what undoes an orientation; the others undo themselves


def matrix_of(frame: av.VideoFrame) -> Matrix | None:
    """None where the file has none: the picture is shown as it is stored."""
    for side_data in frame.side_data:
        data = side_data if hasattr(side_data, "type") else frame.side_data[side_data]
        if data.type.name == "DISPLAYMATRIX":
            return tuple(int(value) for value in np.frombuffer(bytes(data), np.int32, 9))
    return None


def orientation_of(matrix: Matrix | None) -> int:
    """1..8 as in EXIF; 1 where there is no matrix, or one of another angle than 0, 90, 180 and 270 degrees."""
    if matrix is None:
        return 1
    a, b, _, c, d = matrix[:5]
    return ORIENTATIONS.get(tuple(int(value) for value in np.sign([a, b, c, d])), 1)


def as_stored(values: np.ndarray, orientation: int) -> np.ndarray:
    """Upright (H, W, ...) -> as the file keeps it: what `data.files.photo.upright` was given (a view, nothing is copied)."""
    return upright(values, BACK.get(orientation, orientation))
