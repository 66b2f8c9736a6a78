"""Make the photo files of tests/data/files/made, and made.json: what independent decoders see in them.

    python tests/data/files/make_files.py

Run by hand; the files are committed. It takes ImageMagick, exiftool, libtiff-tools, cwebp, heif-enc, avifenc, cjxl (Debian:
imagemagick libimage-exiftool-perl libtiff-tools webp libheif-examples libavif-bin libjxl-tools) and tifffile.
"""
from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import tifffile

MADE = Path(__file__).parent / "made"
HEIGHT, WIDTH, BLOCK = 32, 48, 16

# name -> shell command; {m} is a master PNG of 16 bits with alpha, {o} one without, {e} one of 8 bits, {t} a TIFF of {o}.
RECIPES = {
    "jpg_420.jpg": "convert {e} -sampling-factor 4:2:0 -quality 92 {out}",
    "jpg_progressive_422.jpeg": "convert {e} -interlace JPEG -sampling-factor 4:2:2 -quality 95 {out}",
    "jpg_gray.jpe": "convert {e} -colorspace gray -quality 95 jpg:{out}",
    "jpg_cmyk.jpg": "convert {e} -colorspace CMYK -sampling-factor 1x1 -quality 98 {out}",
    "jpg_orient8_exif.jpg": "convert {e} -quality 95 {out} && exiftool -q -overwrite_original -n -Orientation=8 -Make=Abc "
                            "-GPSLatitude=48 -GPSLatitudeRef=N -XMP-xmp:Rating=3 -IPTC:Keywords=night {out}",
    "png_rgba16.png": "convert {m} {out}",
    "png_rgba8.png": "convert {m} -depth 8 {out}",
    "png_rgb16_interlaced.png": "convert {o} -interlace PNG {out}",
    "png_gray16.png": "convert {o} -colorspace gray {out}",
    "png_gray_alpha16.png": "convert {m} -colorspace gray -define png:color-type=4 {out}",
    "png_gray_alpha8.png": "convert {m} -colorspace gray -depth 8 -define png:color-type=4 {out}",
    "png_palette.png": "convert {e} -colors 16 png8:{out}",
    "png_palette_alpha.png": "convert {m} -depth 8 -channel A -threshold 50% +channel -colors 16 png8:{out}",
    "png_gray_1bit.png": "convert {e} -colorspace gray -threshold 20% -depth 1 {out}",
    "png_gray_4bit.png": "convert {e} -colorspace gray -posterize 16 -define png:bit-depth=4 -define png:color-type=0 {out}",
    "png_rgb16_orient3.png": "convert {o} {out} && exiftool -q -overwrite_original -n -Orientation=3 {out}",
    "tif_rgb16_lzw.tif": "convert {o} -compress lzw {out}",
    "tif_rgb16_lzw_predictor.tif": "tiffcp -c lzw:2 {t} {out}",
    "tif_rgb16_tiled_zip.tif": "tiffcp -c zip:2 -t -w 16 -l 16 {t} {out}",
    "tif_rgb16_planes.tif": "convert {o} -interlace plane -compress zip {out}",
    "tif_rgb16_big_endian.tif": "convert {o} -endian MSB {out}",
    "tif_rgb16_bigtiff.tif": "convert {o} -compress zip tiff64:{out}",
    "tif_rgba16.tif": "convert {m} -define tiff:alpha=unassociated -compress zip {out}",
    "tif_rgba16_multiplied.tif": "convert {m} -define tiff:alpha=associated -compress zip {out}",
    "tif_rgba8.tif": "convert {m} -depth 8 -define tiff:alpha=unassociated {out}",
    "tif_gray16_white_is_zero.tif": "convert {o} -colorspace gray -define quantum:polarity=min-is-white {out}",
    "tif_jpeg.tif": "convert {e} -compress jpeg -quality 95 {out}",
    "tif_fax4.tif": "convert {e} -colorspace gray -threshold 20% -compress group4 {out}",
    "tif_palette_packbits.tif": "convert {e} -colors 16 -type palette -compress rle {out}",
    "tif_cmyk.tif": "convert {e} -colorspace CMYK {out}",
    "tif_rgb16_orient6.tif": "convert {o} {out} && exiftool -q -overwrite_original -n -Orientation=6 {out}",
    "tif_rgb16_zstd_predictor.tif": {"compression": "zstd", "predictor": True},
    "tif_rgb16_lzma_predictor.tif": {"compression": "lzma", "predictor": True},
    "webp_lossless_alpha.webp": "convert {m} -depth 8 {tmp}/w.png && cwebp -quiet -lossless -exact {tmp}/w.png -o {out}",
    "webp_lossy.webp": "cwebp -quiet -q 95 {e} -o {out}",
    "heic_8bit.heic": "heif-enc -q 95 -p chroma=444 {e} -o {out}",
    "heic_10bit.heic": "heif-enc -q 95 -b 10 -p chroma=444 {o} -o {out}",
    "heic_alpha.heif": "convert {m} -depth 8 {tmp}/h.png && heif-enc -q 95 -p chroma=444 {tmp}/h.png -o {out}",
    "avif_8bit.avif": "avifenc --min 2 --max 6 -y 444 {e} {out}",
    "avif_10bit_alpha.avif": "avifenc --min 2 --max 6 -d 10 -y 444 {m} {out}",
    "avif_alpha_multiplied.avif": "convert {m} -depth 8 {tmp}/a.png && "
                                  "avifenc --premultiply --min 2 --max 6 -y 444 {tmp}/a.png {out}",
    "avif_12bit.avif": "avifenc --min 2 --max 6 -d 12 -y 444 {o} {out}",
    "jxl_rgb16.jxl": "cjxl --quiet -d 0 {o} {out}",
    "jxl_rgba8.jxl": "convert {m} -depth 8 {tmp}/j.png && cjxl --quiet -d 0 {tmp}/j.png {out}",
    "jxl_lossy.jxl": "cjxl --quiet -d 0.5 {e} {out}",
    "jp2_rgb16.jp2": "convert {o} -quality 0 {out}",
    "jp2_rgb8.jp2": "convert {e} -quality 0 {out}",
    "bmp_rgb.bmp": "convert {e} bmp3:{out}",
    "bmp_palette_rle.bmp": "convert {e} -colors 16 -compress rle bmp3:{out}",
}
TO_PNG = {".heic": "heif-convert {file} {png}", ".heif": "heif-convert {file} {png}", ".avif": "avifdec -d 16 {file} {png}",
          ".jxl": "djxl --quiet {file} {png}"}


def scene() -> np.ndarray:
    """(32, 48, 4) uint16: dark, smooth, of other values in every block, with an alpha."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green, blue = 1200 + 500 * x + 90 * y, 900 + 260 * y + 60 * x, 600 + 150 * (WIDTH - x) + 40 * y
    return np.dstack([red, green, blue, 20000 + 700 * x + 300 * y]).astype(np.uint16)


def seen(file: Path, folder: Path) -> np.ndarray:
    """(H, W, 4) uint16 of the upright file, by ImageMagick or by the decoder of its format."""
    if file.suffix in TO_PNG:
        run(TO_PNG[file.suffix].format(file=file, png=folder / "seen.png"))
        file = folder / "seen.png"
    turn = "-rotate 180" if "orient3" in file.name else "-auto-orient"  # ImageMagick 6 does not know EXIF in PNG
    raw = run(f"convert {file}[0] {turn} -colorspace sRGB -depth 16 -endian LSB rgba:-")
    size = [int(number) for number in run(f"convert {file}[0] {turn} -format '%w %h' info:").split()]
    return np.frombuffer(raw, "<u2").reshape(size[1], size[0], 4)


def blocks(values: np.ndarray) -> np.ndarray:
    """(h, w, channels): means of blocks of 16x16 pixels."""
    height, width, count = values.shape
    return values.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, count).mean(axis=(1, 3))


def run(command: str) -> bytes:
    result = subprocess.run(command, shell=True, capture_output=True, check=False)
    if result.returncode:
        raise SystemExit(f"{command}\n{result.stderr.decode()}")
    return result.stdout


def main() -> None:
    MADE.mkdir(exist_ok=True)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").write_bytes(scene().astype("<u2").tobytes())
        masters = {key: folder / f"{key}.png" for key in "moe"} | {"t": folder / "t.tif", "tmp": folder}
        run(f"convert -size {WIDTH}x{HEIGHT} -depth 16 -endian LSB rgba:{folder}/raw {masters['m']}")
        run(f"convert {masters['m']} -alpha off {masters['o']}")
        run(f"convert {masters['o']} -depth 8 {masters['e']}")
        run(f"convert {masters['o']} -compress none {masters['t']}")
        for file, recipe in RECIPES.items():
            target = MADE / file
            if isinstance(recipe, dict):
                tifffile.imwrite(target, scene()[..., :3], photometric="rgb", metadata=None, **recipe)
            else:
                run(recipe.format(out=target, **masters))
            found[file] = np.round(blocks(seen(target, folder)), 1).tolist()
    (MADE / "made.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
