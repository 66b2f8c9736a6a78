"""Make img/samples: dark photos that anyone may pass on, from photos that scikit-image and scikit-learn ship.

    pip install scikit-image scikit-learn && python img/make_samples.py

One of them (rocket.jpg) was taken at night and is copied as it is. The others are daylight photos darkened as a camera
darkens them: the light is reduced by a number of stops before the sensor, photons and read-out electronics add their
noise, and the result is stored in 8 bits. `img/samples/README.md` names sources, licences and settings.
"""
from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).resolve().parent / "samples"
SKIMAGE, SKLEARN = "skimage.data", "sklearn.datasets.images"
WHITE_ELECTRONS = 4000.0  # electrons of a white pixel at normal exposure: a small sensor at high sensitivity
READ_NOISE_ELECTRONS = 3.0
JPEG_QUALITY = 92
ORIENTATION, TURN_RIGHT = 0x0112, 6  # EXIF tag, and its value for "show turned 90 degrees clockwise"


@dataclass(frozen=True)
class Sample:
    """One picture of img/samples; `stops` 0 copies the file untouched."""

    name: str
    package: str
    source: str
    stops: float = 0.0
    crop: tuple[int, int, int, int] | None = None  # left, top, right, bottom in pixels of the source
    turned: bool = False                           # stored lying on its side, with the EXIF tag that sets it upright


CHOSEN = (
    Sample("rocket.jpg", SKIMAGE, "rocket.jpg"),
    Sample("coffee.jpg", SKIMAGE, "coffee.png", stops=4.0),
    Sample("cat.png", SKIMAGE, "chelsea.png", stops=3.5),
    Sample("astronaut.jpg", SKIMAGE, "astronaut.png", stops=4.5, crop=(32, 0, 432, 512), turned=True),
    Sample("pagoda.jpg", SKLEARN, "china.jpg", stops=5.0),
)


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB code values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to sRGB code values in [0, 1]."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def darken(photo: np.ndarray, stops: float, rng: np.random.Generator) -> np.ndarray:
    """The photo as taken with `stops` stops less light.

    photo: (H, W, 3) uint8. Electrons ~ Poisson(white * light / 2^stops) + normal(0, read noise). Returns (H, W, 3) uint8.
    """
    expected = WHITE_ELECTRONS * to_linear(photo / 255.0) / 2.0**stops
    electrons = rng.poisson(expected) + rng.normal(0.0, READ_NOISE_ELECTRONS, photo.shape)
    return np.round(255.0 * to_srgb(np.clip(electrons / WHITE_ELECTRONS, 0.0, 1.0))).astype(np.uint8)


def make(sample: Sample, folder: Path) -> Path:
    """Write one sample into `folder`; the noise depends on its name alone."""
    source, target = files(sample.package).joinpath(sample.source), folder / sample.name
    if not sample.stops:
        target.write_bytes(source.read_bytes())
        return target
    with source.open("rb") as file:
        photo = Image.open(file).convert("RGB")
    if sample.crop:
        photo = photo.crop(sample.crop)
    dark = Image.fromarray(darken(np.asarray(photo), sample.stops, np.random.default_rng(list(sample.name.encode()))))
    exif = Image.Exif()
    if sample.turned:
        dark = dark.transpose(Image.Transpose.ROTATE_90)  # counter-clockwise; the tag turns it back
        exif[ORIENTATION] = TURN_RIGHT
    if target.suffix == ".png":
        dark.save(target, optimize=True)
    else:
        dark.save(target, quality=JPEG_QUALITY, exif=exif)
    return target


def main() -> None:
    """Make them all."""
    SAMPLES.mkdir(exist_ok=True)
    for sample in CHOSEN:
        target = make(sample, SAMPLES)
        print(f"{target.relative_to(SAMPLES.parent.parent)}: {target.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
