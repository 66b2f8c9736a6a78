"""Whether one dark scene gives the same picture from sRGB, Display P3, Adobe RGB and ProPhoto RGB (needs scikit-image).

    python -m benchmarks.spaces --input DIR [--every 1] [--megapixels 0.06] [--config_path FILE --weights_path FILE]

The photos of DIR, made smaller so that their values are finer than 8 bits, are the scenes. Each is saved in every space,
enhanced and written as `infer_image.py` does it, and compared as CIEDE2000 with the result of sRGB in 16 bits: mean and 99th
percentile of the pixels, means over the photos, and in brackets the worst photo. "file alone": the file has 8 bits and the
result is not rounded to 8 bits, so that what is left is what the file itself has lost.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.recursion import SHIPPED
from data.benchmarks import list_pictures
from data.files.colour import D65, SRGB_PRIMARIES, make_profile
from data.files.encoding import encode
from data.files.images import Photo, decode_photo, read_photo
from engine.enhancing.enhancer import Enhancer, load_enhancer

# Primaries as x, y, Y; the power of the curve, None for that of sRGB; white. By their publishers.
SPACES = {"sRGB": (SRGB_PRIMARIES, None, D65),
          "Display P3": ((0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0), None, D65),
          "Adobe RGB": ((0.640, 0.330, 1.0, 0.210, 0.710, 1.0, 0.150, 0.060, 1.0), 2.19921875, D65),
          "ProPhoto RGB": ((0.734699, 0.265301, 1.0, 0.159597, 0.840403, 1.0, 0.036598, 0.000105, 1.0), 1.8,
                           (0.345704, 0.358540, 1.0))}


def saved_in(space: str, scene: np.ndarray, kind: type) -> Photo:
    """The scene, sRGB uint16 (H, W, 3), saved in a space as uint8 or uint16 and read again."""
    import imagecodecs

    profile = make_profile(*SPACES[space])
    own = imagecodecs.cms_transform(scene.astype(np.float32) / 65535, make_profile(*SPACES["sRGB"]), profile, colorspace="rgb",
                                    outcolorspace="rgb", outdtype=np.float32, intent=1)
    top = np.iinfo(kind).max
    values = np.round(np.clip(own, 0, 1) * top).astype(kind)
    return decode_photo(encode(Photo(values, icc_profile=profile), ".png"))


def difference(result: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """CIEDE2000 between sRGB pictures (H, W, 3), uint8 or uint16: mean and 99th percentile."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    found = deltaE_ciede2000(*(rgb2lab(picture / np.iinfo(picture.dtype).max) for picture in (wanted, result)))
    return float(found.mean()), float(np.percentile(found, 99))


def of_one_scene(scene: np.ndarray, enhancer: Enhancer) -> dict[tuple[str, str], tuple[float, float]]:
    """(space, column) -> mean and 99th percentile."""
    wanted, found = enhancer(scene), {}
    for space in SPACES:
        for bits, kind in (("16 bits", np.uint16), ("8 bits", np.uint8)):
            photo = saved_in(space, scene, kind)
            bright = replace(photo, pixels=enhancer(photo.pixels))
            found[space, bits] = difference(decode_photo(encode(bright, ".png")).pixels, wanted)
            if kind == np.uint8:
                deep = photo.pixels if photo.pixels.dtype == np.uint16 else photo.pixels.astype(np.uint16) * 257
                found[space, "8 bits, file alone"] = difference(enhancer(deep), wanted)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spaces", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="dark photos")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th photo")
    parser.add_argument("--megapixels", type=float, default=0.06, help="of a scene")
    parser.add_argument("--config_path", type=Path, default=SHIPPED / "config.json", metavar="FILE", help="of the weights")
    parser.add_argument("--weights_path", type=Path, default=SHIPPED / "HVR.safetensors", metavar="FILE",
                        help="a safetensors file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    enhancer = load_enhancer(options.config_path, options.weights_path, options.device)
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    names = sorted(list_pictures(options.input))[:: options.every]
    for name in tqdm(names, unit="photo"):
        values = read_photo(options.input / name).pixels
        values = values.astype(np.float32) / np.iinfo(values.dtype).max
        scale = min((options.megapixels * 1e6 / (values.shape[0] * values.shape[1])) ** 0.5, 0.5)
        small = cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for key, value in of_one_scene(np.round(small * 65535).astype(np.uint16), enhancer).items():
            rows.setdefault(key, []).append(value)
    columns = ("16 bits", "8 bits", "8 bits, file alone")
    print(f"\n{len(names)} photos\n\n| space | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for space in SPACES:
        cells = []
        for column in columns:
            (mean, high), (worst_mean, worst_high) = np.mean(rows[space, column], 0), np.max(rows[space, column], 0)
            cells.append(f"{mean:.2f} / {high:.2f} ({worst_mean:.2f} / {worst_high:.2f})")
        print(f"| {space} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
