"""Where each pixel of a frame was in the frame before: the camera's motion, and that of things that move by themselves.

Dense inverse search (Kroeger et al., ECCV 2016) finds a first motion of every pixel; an affine map through most of them,
refined by the enhanced correlation coefficient (Evangelidis and Psarakis, TPAMI 2008), is the camera's, exact to some
hundredths of a pixel, which dense motion in noise is not. It holds wherever the dense one does not explain clearly more.
"""
from __future__ import annotations

import contextlib

import cv2
import numpy as np

GRID = 4                 # pixels between two places that vote for the camera's motion
FITS = 1.0               # pixels: places this near to the camera's motion are of it
ECC_STEPS, ECC_CHANGE, ECC_BLUR = 15, 1e-4, 5
BETTER, LOOKED_AT = 1.5, 3.0   # times smaller an error has to be for another motion, over a Gaussian of so many pixels
FEWEST = 12              # voting places; below that the camera stands still


class Motion:
    """Call it with a frame and the one before, uint8 (h, w): (flow (h, w, 2) float32 in pixels, from the frame to where the
    same was before; the correlation of what lies on one another then, -1 to 1, without brightness and coarse shapes)."""

    def __init__(self) -> None:
        self._dense = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, now: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, float]:
        if min(now.shape) < 16:  # less than a patch of the search
            return np.zeros((*now.shape, 2), np.float32), correlation(now, before)
        dense = self._dense.calc(now, before, None)
        camera = _affine_flow(_camera(now, before, dense), *now.shape)
        errors = [cv2.GaussianBlur((now.astype(np.float32) - warp(before.astype(np.float32), flow)) ** 2, (0, 0), LOOKED_AT)
                  for flow in (camera, dense)]
        moving = (errors[0] > BETTER * errors[1] + 2 * np.median(errors[0])).astype(np.float32)
        moving = cv2.GaussianBlur(cv2.dilate(moving, np.ones((5, 5))), (0, 0), 2)[..., None]
        flow = camera + moving * (dense - camera)
        return flow, correlation(now, warp(before, flow))


def warp(picture: np.ndarray, flow: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
    """What `flow` leads to in a picture (h, w, ..) of its size, edges repeated."""
    h, w = flow.shape[:2]
    x = flow[..., 0] + np.arange(w, dtype=np.float32)
    y = flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(picture, x, y, how, borderMode=cv2.BORDER_REPLICATE)


def lies_inside(flow: np.ndarray) -> np.ndarray:
    """(h, w, 2) -> float32 (h, w): 1 where the flow leads into the picture, else 0."""
    h, w = flow.shape[:2]
    x = flow[..., 0] + np.arange(w, dtype=np.float32)
    y = flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    return ((x >= -0.5) & (x <= w - 0.5) & (y >= -0.5) & (y <= h - 0.5)).astype(np.float32)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two pictures (h, w) between fine noise and coarse brightness; 1 where neither has anything there."""
    a, b = (_middle_frequencies(picture) for picture in (first, second))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-6 * a.size else 1.0


def _middle_frequencies(picture: np.ndarray) -> np.ndarray:
    values = picture.astype(np.float32)
    return cv2.GaussianBlur(values, (0, 0), 1.5) - cv2.GaussianBlur(values, (0, 0), 8)


def _camera(now: np.ndarray, before: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """float32 (2, 3): the affine map from a place now to that before."""
    still = np.eye(2, 3, dtype=np.float32)
    smooth = cv2.GaussianBlur(now.astype(np.float32), (0, 0), 1.5)
    edges = np.hypot(cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1))
    rows, columns = (index.ravel() for index in np.mgrid[GRID : now.shape[0] - GRID : GRID, GRID : now.shape[1] - GRID : GRID])
    strong = edges[rows, columns] >= np.median(edges)
    rows, columns = rows[strong], columns[strong]
    if len(rows) < FEWEST:
        return still
    here = np.stack([columns, rows], 1).astype(np.float32)
    found, _ = cv2.estimateAffine2D(here, here + dense[rows, columns], method=cv2.RANSAC, ransacReprojThreshold=FITS)
    found = still if found is None else found.astype(np.float32)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ECC_STEPS, ECC_CHANGE)
    with contextlib.suppress(cv2.error):  # no two pictures of one scene
        _, found = cv2.findTransformECC(now, before, found.copy(), cv2.MOTION_AFFINE, until, None, ECC_BLUR)
    return found


def _affine_flow(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """(2, 3) -> (height, width, 2)."""
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f) = matrix - np.eye(2, 3, dtype=np.float32)
    return np.dstack([a * x + b * y + c, d * x + e * y + f]).astype(np.float32)
