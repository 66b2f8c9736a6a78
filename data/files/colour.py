"""From a photo's own colour space to the sRGB values that the network was trained on, and back.

littleCMS (through imagecodecs, which gives it floating-point colours, unclipped) says what a profile means; of profiles
that are three curves and a matrix, as those of cameras and screens are, its answer for some thousand colours is all that is
needed, and numpy does the pixels.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from data.files.photo import LUMINANCE, Photo, PhotoError, in_depth

D65 = (0.3127, 0.3290, 1.0)
SRGB_PRIMARIES = (0.640, 0.330, 1.0, 0.300, 0.600, 1.0, 0.150, 0.060, 1.0)  # x, y, Y of red, green and blue
# Primaries and transfer curves by their codes (ITU-T H.273, tables 2 and 3).
PRIMARIES = {1: SRGB_PRIMARIES, 2: SRGB_PRIMARIES, 12: (0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0),
             9: (0.708, 0.292, 1.0, 0.170, 0.797, 1.0, 0.131, 0.046, 1.0),
             6: (0.630, 0.340, 1.0, 0.310, 0.595, 1.0, 0.155, 0.070, 1.0)}
SRGB_CURVES, GAMMAS, HDR_CURVES = (1, 2, 6, 13, 14, 15), {4: 2.2, 5: 2.8, 8: 1.0}, {16: "PQ", 18: "HLG"}
RELATIVE = 1                    # rendering intent of littleCMS: relative colorimetric
CURVE_POINTS, PROBES = 4096, 400
INVERSE_POINTS = 1 << 18        # so many that the nearest is within half a level of 16 bits
SAME, FITS = 2e-3, 1e-3         # differences in sRGB values (0..1) that count as none; of the matrix from the profile
DEEP = np.dtype(np.uint16)      # of the sRGB values that a photo of another space is brought to
ROWS = 256                      # of a photo at once, so that its floating-point values take little memory
DARKEST = 1e-4                  # linear light: below it, brightening is not taken for a factor
MOST_GAIN = 50.0


@dataclass(frozen=True)
class Space:
    """A colour space. curves: (channels, 4096) linear light of evenly spaced values; matrix: (3, channels) from it to linear
    sRGB; inverse: (channels, 2^18) values of the squares of evenly spaced roots of light. All None where the profile is no
    matrix: then littleCMS does every pixel, by `profile`."""

    profile: bytes
    curves: np.ndarray | None = None
    matrix: np.ndarray | None = None
    inverse: np.ndarray | None = None


def to_srgb(photo: Photo) -> Photo:
    """The photo with pixels in sRGB values, `own_pixels` what they were; as it is where its profile is sRGB or absent.

    The sRGB values have 16 bits, whatever the file has: rounded to 8 once more, they would be as far off again as the file's
    own rounding, and the network makes both ten times as large. A profile that cannot be used is left out, and `notes` say so.
    """
    if not photo.icc_profile:
        return photo
    channels = 1 if photo.gray else 3
    try:
        space = space_of(photo.icc_profile, channels)
    except PhotoError as error:
        return replace(photo, icc_profile=None, notes=(*photo.notes, f"{error}; its colours are taken for sRGB"))
    if space is None:
        return photo
    own = photo.pixels[..., :channels]
    return replace(photo, pixels=_in_blocks(lambda block: _quantise(_to_srgb_values(block, space), DEEP), own),
                   own_pixels=own)


def from_srgb(photo: Photo) -> np.ndarray:
    """(H, W, 3), the photo's pixels in its own space and of the depth of its file.

    What of it lies outside of sRGB went around the network: it is added again, as much brighter as the network made the
    pixel. Where the network changed nothing, the own values come back exactly.
    """
    if photo.own_pixels is None or photo.icc_profile is None:
        return photo.pixels
    own, channels = photo.own_pixels, photo.own_pixels.shape[2]
    space = space_of(photo.icc_profile, channels)
    if space is None:
        return in_depth(photo).pixels
    if own.shape[:2] != photo.pixels.shape[:2] or space.matrix is None:
        back = _in_blocks(lambda block: _quantise(_from_linear(_linear(block), space), own.dtype), photo.pixels)
    else:
        back = _in_blocks(lambda block, before: _back(block, before, space), photo.pixels, own)
    return back if channels == 3 else np.repeat(back, 3, axis=2)


def srgb_of_inks(values: np.ndarray, profile: bytes | None) -> np.ndarray:
    """CMYK (H, W, 4), uint8 or uint16, full range all ink -> sRGB (H, W, 3) of the same type, by the file's profile, the ink's
    black becoming black (it would be a fog, which the network brightens), or, with none that fits, by the plain formula."""
    import imagecodecs

    if profile and profile[16:20] == b"CMYK":
        try:
            return imagecodecs.cms_transform(values, profile, _srgb_profile(), colorspace="cmyk", outcolorspace="rgb",
                                             outdtype=values.dtype, intent=RELATIVE,
                                             flags=imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION)
        except imagecodecs.CmsError:
            pass
    top = np.iinfo(values.dtype).max
    light = (top - values).astype(np.uint32)
    return ((light[..., :3] * light[..., 3:] + top // 2) // top).astype(values.dtype)


def profile_of_codes(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile of what the codes of ITU-T H.273 say (cICP of PNG, nclx of AVIF and HEIC); None for sRGB.

    Raises PhotoError for HDR and for codes that are not known.
    """
    if transfer in HDR_CURVES:
        raise PhotoError(f"an HDR picture ({HDR_CURVES[transfer]}); expected one with standard range: export it as SDR")
    if primaries not in PRIMARIES or transfer not in (*SRGB_CURVES, *GAMMAS):
        raise PhotoError(f"its colours are told by codes that are not known (ITU-T H.273): primaries {primaries}, expected one "
                         f"of {sorted(PRIMARIES)}; transfer {transfer}, expected one of {sorted((*SRGB_CURVES, *GAMMAS))}")
    if PRIMARIES[primaries] == SRGB_PRIMARIES and transfer in SRGB_CURVES:
        return None
    return make_profile(PRIMARIES[primaries], GAMMAS.get(transfer))


def make_profile(primaries: tuple[float, ...], gamma: float | None, white: tuple[float, ...] = D65) -> bytes:
    """An RGB profile; gamma None: the curve of sRGB."""
    import imagecodecs

    if gamma is not None:
        return imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, gamma=gamma)
    curve = np.round(_linear(np.linspace(0, 1, 1024, dtype=np.float32)) * 65535).astype(np.uint16)
    return imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, transferfunction=curve)


@functools.lru_cache(maxsize=8)
def space_of(profile: bytes, channels: int) -> Space | None:
    """What a profile of 1 (gray) or 3 channels means; None for sRGB. Raises PhotoError for one that cannot be used."""
    import imagecodecs

    signature, expected = profile[16:20], b"GRAY" if channels == 1 else b"RGB "
    if signature != expected:
        said = signature.decode("ascii", "replace").strip()
        raise PhotoError(f"its colour profile is one of {said!r}, its pixels are {expected.decode().strip()}")
    try:
        imagecodecs.cms_profile_validate(profile)
        points = np.linspace(0, 1, CURVE_POINTS, dtype=np.float32)
        ramps = np.zeros((channels, CURVE_POINTS, channels), np.float32)
        for channel in range(channels):
            ramps[channel, :, channel] = points
        light = _profile_to_linear(ramps, profile)
    except imagecodecs.CmsError:
        raise PhotoError("its colour profile is damaged or of an unknown kind") from None
    matrix = light[:, -1].T                                                   # (3, channels)
    curves = np.einsum("cnk,kc->cn", light, matrix) / np.maximum((matrix**2).sum(0), 1e-9)[:, None]
    colours = np.random.default_rng(0).random((1, PROBES, channels), dtype=np.float32)
    wanted = _profile_to_linear(colours, profile)
    roots = np.linspace(0, 1, INVERSE_POINTS)
    inverse = np.array([np.interp(roots**2, np.maximum.accumulate(curve), points) for curve in curves], np.float32)
    space = Space(profile, np.ascontiguousarray(curves, np.float32), np.ascontiguousarray(matrix, np.float32), inverse)
    if np.abs(_own_linear(colours, space) - wanted).max() > FITS or np.linalg.matrix_rank(matrix) < channels:
        space = Space(profile)
    srgb = np.repeat(colours, 3 // channels, axis=2)
    return None if np.abs(_encode(wanted) - srgb).max() < SAME else space


def _to_srgb_values(own: np.ndarray, space: Space) -> np.ndarray:
    """(H, W, channels) of any range type -> float32 (H, W, 3), sRGB values, outside of [0, 1] where the colours are."""
    return _encode(_own_linear(own, space))


def _own_linear(own: np.ndarray, space: Space) -> np.ndarray:
    """-> float32 (H, W, 3), linear sRGB."""
    if space.curves is None or space.matrix is None:
        return _profile_to_linear(_unit(own), space.profile)
    light = np.empty(own.shape, np.float32)
    for channel, curve in enumerate(space.curves):
        light[..., channel] = _look_up(own[..., channel], curve)
    return light @ space.matrix.T


def _back(pixels: np.ndarray, own: np.ndarray, space: Space) -> np.ndarray:
    """A block of the result in sRGB (h, w, 3) and the photo's own values there (h, w, channels) -> own values."""
    before = _own_linear(own, space)
    bright, dark = _linear(pixels), np.clip(before, 0, 1)
    gain = (bright @ LUMINANCE + DARKEST) / (dark @ LUMINANCE + DARKEST)
    light = bright + (before - dark) * np.minimum(gain, MOST_GAIN)[..., None]
    result = _quantise(_from_linear(light, space), own.dtype)
    unchanged = (pixels == _quantise(_encode(dark), pixels.dtype)).all(axis=2, keepdims=True)  # from what the network was given
    return np.where(unchanged, own, result)


def _from_linear(light: np.ndarray, space: Space) -> np.ndarray:
    """Linear sRGB (h, w, 3) -> values of the space in [0, 1], (h, w, channels)."""
    if space.inverse is None or space.matrix is None:
        return _linear_to_profile(light, space.profile)
    own = np.clip(light @ np.linalg.pinv(space.matrix).astype(np.float32).T, 0, 1)
    places = (np.sqrt(own) * (INVERSE_POINTS - 1) + 0.5).astype(np.int32)
    for channel, values in enumerate(space.inverse):
        own[..., channel] = values[places[..., channel]]
    return own


def _profile_to_linear(values: np.ndarray, profile: bytes) -> np.ndarray:
    import imagecodecs

    gray = profile[16:20] == b"GRAY"
    return imagecodecs.cms_transform(
        np.ascontiguousarray(values[..., 0] if gray else values), profile, _linear_srgb(), colorspace="gray" if gray else "rgb",
        outcolorspace="rgb", outdtype=np.float32, intent=RELATIVE)


def _linear_to_profile(light: np.ndarray, profile: bytes) -> np.ndarray:
    import imagecodecs

    gray = profile[16:20] == b"GRAY"
    values = imagecodecs.cms_transform(
        np.ascontiguousarray(light, np.float32), _linear_srgb(), profile, colorspace="rgb",
        outcolorspace="gray" if gray else "rgb", outdtype=np.float32, intent=RELATIVE)
    return np.clip(values.reshape(*light.shape[:2], -1), 0, 1)


@functools.cache
def _linear_srgb() -> bytes:
    return make_profile(SRGB_PRIMARIES, 1.0)


@functools.cache
def _srgb_profile() -> bytes:
    return make_profile(SRGB_PRIMARIES, None)


def _in_blocks(function, *arrays: np.ndarray) -> np.ndarray:
    """`function` of some rows of the arrays at a time."""
    return np.concatenate([function(*(array[top : top + ROWS] for array in arrays))
                           for top in range(0, arrays[0].shape[0], ROWS)])


def _look_up(values: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """A curve of evenly spaced points, at whole numbers of full range or at floats in [0, 1]."""
    if values.dtype == np.float32:
        return np.interp(values, np.linspace(0, 1, len(curve)), curve).astype(np.float32)
    top = np.iinfo(values.dtype).max
    table = np.interp(np.arange(top + 1) / top, np.linspace(0, 1, len(curve)), curve).astype(np.float32)
    return table[values]


def _unit(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.float32 else values.astype(np.float32) / np.iinfo(values.dtype).max


def _quantise(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    top = np.iinfo(kind).max
    return np.round(np.clip(values, 0, 1) * np.float32(top)).astype(kind)


def _linear(values: np.ndarray) -> np.ndarray:
    """sRGB values -> linear light, float32 (IEC 61966-2-1)."""
    if values.dtype != np.float32:
        top = np.iinfo(values.dtype).max
        return _linear(np.arange(top + 1, dtype=np.float32) / np.float32(top))[values]
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encode(light: np.ndarray) -> np.ndarray:
    """Linear light -> sRGB values, float32; below 0 mirrored."""
    size = np.abs(light)
    values = np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** np.float32(1 / 2.4) - 0.055)
    return np.copysign(values, light).astype(np.float32)
