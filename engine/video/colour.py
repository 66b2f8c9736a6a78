"""Frames to RGB and back: by the matrix and range that a file names, or that players take where it names none.

Sources: ITU-R BT.601-7, BT.709-6 and BT.2020-2 (matrices and ranges), ITU-T H.273 (the numbers that files name them by).
The arithmetic is FFmpeg's (swscale).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.video.errors import VideoError

if TYPE_CHECKING:
    import av

UNKNOWN, RGB, BT709, BT601 = 2, 0, 1, 6
MATRICES = {BT709: "BT.709", 4: "FCC", 5: "BT.601", BT601: "BT.601", 7: "SMPTE 240M", 9: "BT.2020", 10: "BT.2020"}
REFUSED_MATRICES = {8: "YCgCo", 11: "SMPTE 2085", 12: "chromaticity-derived", 13: "chromaticity-derived", 14: "ICtCp",
                    15: "IPT-C2", 16: "YCgCo-R", 17: "YCgCo-R"}
LIMITED, FULL = 1, 2
HDR = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
CONSTANT_LUMINANCE = 10      # read as BT.2020's other kind: swscale, as most players, has no such transfer in it
BICUBIC = "BICUBIC"          # how chroma of half the size becomes that of all pixels, and back


@dataclass(frozen=True)
class Colour:
    """How a clip's numbers are meant, as H.273 counts: what is read is what is written."""

    matrix: int
    range: int
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN

    def __str__(self) -> str:
        return f"{MATRICES[self.matrix]}, {'full' if self.range == FULL else 'limited'} range"


def colour_of(frame: av.VideoFrame) -> Colour:
    """What a decoded frame says of itself; a matrix that it does not name is that of its size, as players take it.

    Raises VideoError for HDR and for matrices that are none of MATRICES.
    """
    transfer = int(frame.color_trc)
    if transfer in HDR:
        raise VideoError(f"the clip is HDR: {HDR[transfer]}; expected standard dynamic range, which the network has learned. "
                         "Make it SDR first, for example with ffmpeg's filters zscale and tonemap")
    matrix = int(frame.colorspace)
    if matrix in REFUSED_MATRICES:
        raise VideoError(f"colours in {REFUSED_MATRICES[matrix]}; expected RGB, BT.601, BT.709 or BT.2020. Convert the clip "
                         "first: ffmpeg -i CLIP -vf scale=out_color_matrix=bt709 ...")
    rgb = frame.format.is_rgb
    if matrix not in MATRICES:
        matrix = matrix_of_size(frame.width, frame.height)
    full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj")
    return Colour(matrix, LIMITED if rgb or not full else FULL, int(frame.color_primaries), transfer)


def matrix_of_size(width: int, height: int) -> int:
    """BT.709 for pictures of high definition, BT.601 for smaller ones: what players do where a file names nothing."""
    return BT709 if width >= 1280 or height > 576 else BT601


def to_rgb(frame: av.VideoFrame, colour: Colour, width: int, height: int) -> np.ndarray:
    """A decoded frame -> (height, width, 3) RGB, uint8, or uint16 of full range where it has more than 8 bits."""
    deep = any(component.bits > 8 for component in frame.format.components)
    changed = frame.reformat(width, height, "rgb48le" if deep else "rgb24", src_colorspace=_for_swscale(colour.matrix),
                             src_color_range=FULL if frame.format.is_rgb else colour.range, dst_color_range=FULL,
                             interpolation=BICUBIC)
    return changed.to_ndarray()


def from_rgb(pixels: np.ndarray, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """(H, W, 3) RGB, uint8 or uint16 -> a frame in `pix_fmt`, with the names of its colours; H and W are what the format's
    chroma asks for (see `even`)."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
    if av.VideoFormat(pix_fmt).is_rgb:
        changed = frame.reformat(format=pix_fmt)
        changed.colorspace, changed.color_range = RGB, FULL
    else:
        changed = frame.reformat(format=pix_fmt, dst_colorspace=_for_swscale(colour.matrix), src_color_range=FULL,
                                 dst_color_range=colour.range, interpolation=BICUBIC)
        changed.colorspace, changed.color_range = colour.matrix, colour.range
    changed.color_primaries, changed.color_trc = colour.primaries, colour.transfer
    return changed


def even(pixels: np.ndarray, pix_fmt: str) -> np.ndarray:
    """(H, W, 3) with its last row or column once more where the format keeps one chroma value for two of them."""
    import av

    form = av.VideoFormat(pix_fmt, 64, 64)
    steps = (64 // form.chroma_height(64), 64 // form.chroma_width(64)) if not form.is_rgb else (1, 1)
    more = [-side % step for side, step in zip(pixels.shape, steps, strict=False)]
    return np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge") if any(more) else pixels


def _for_swscale(matrix: int) -> int:
    """The number that PyAV's reformat knows a matrix by."""
    return {5: 5, BT601: 5, CONSTANT_LUMINANCE: 9}.get(matrix, matrix)
