"""Damaged files: 400 seeded mutations of real encodings through the script. No traceback, nothing half-written."""
from __future__ import annotations

import io
import re
import struct

import numpy as np
import pytest
import torch
from PIL import Image

import infer_image
from data.files.encoding import encode
from data.files.images import FORMATS, Photo, PhotoError, decode_photo, read_photo
from exp_config import Config
from models import HVR, save_weights

MUTATIONS = 400
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def originals(photo: np.ndarray) -> list[tuple[str, bytes]]:
    """(suffix, file) of every format and kind."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = "Maker", 6, {0x829A: 0.5, 0xA002: 26}
    deep, alpha = photo.astype(np.uint16) * 257, photo[..., 0]
    kept = {"exif": exif.tobytes(), "dpi": (72.0, 72.0)}
    files = [(suffix, encode(Photo(photo, **kept), suffix)) for suffix in FORMATS]
    files += [(suffix, encode(Photo(photo, alpha), suffix)) for suffix in (".png", ".tif", ".webp")]
    files += [(suffix, encode(Photo(deep, deep[..., 0], **kept), suffix)) for suffix in (".png", ".tif")]
    files += [(suffix, encode(Photo(deep, gray=True), suffix)) for suffix in (".png", ".tif")]
    image = Image.fromarray(photo)
    for suffix, kind, picture, options in (
        (".png", "PNG", image.quantize(16), {}), (".png", "PNG", image, {"save_all": True, "append_images": [image]}),
        (".jpg", "JPEG", image.convert("CMYK"), {"progressive": True}), (".jpg", "MPO", image, {}),
        (".tif", "TIFF", image, {"compression": "tiff_lzw"}), (".tif", "TIFF", image, {"compression": "jpeg"}),
        (".tif", "TIFF", image.convert("1"), {"compression": "group4"}), (".bmp", "BMP", image.quantize(8), {}),
        (".webp", "WEBP", image, {"lossless": True, "exif": exif.tobytes()}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files.append((suffix, file.getvalue()))
    return files


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut, overwrite, insert, repeat or swap parts of a file; half of the changes hit its first 200 bytes."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        end = min(len(changed), 200) if rng.random() < 0.5 else len(changed)
        at = int(rng.integers(0, max(end, 1)))
        match rng.integers(0, 7):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + int(rng.integers(1, 64))]
            case 2:
                changed[at:at] = rng.bytes(int(rng.integers(1, 32)))
            case 3:
                for spot in rng.integers(0, max(end, 1), 8):
                    if spot < len(changed):
                        changed[spot] ^= 1 << int(rng.integers(8))
            case 4:
                form = str(rng.choice(["<H", ">H", "<L", ">L"]))
                value = struct.pack(form, INTERESTING[rng.integers(len(INTERESTING))] & (0xFFFF if "H" in form else 0xFFFFFFFF))
                changed[at : at + len(value)] = value
            case 5:
                changed[at : at + 16] = changed[at : at + 16] * 3
            case _:
                other = int(rng.integers(0, max(len(changed), 1)))
                changed[at : at + 8], changed[other : other + 8] = changed[other : other + 8], changed[at : at + 8]
    return bytes(changed)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = Config(z_dims=4, embed_dims=4, unet_init_features=4, swin_depths=[1], swin_num_heads=[1], hvr_t=1, hvr_c=1)
    save_weights(HVR.from_config(config), folder / "HVR.safetensors", config)
    return ["--config_path", str(folder / "config.json"), "--weights_path", str(folder / "HVR.safetensors")]


def test_mutated_files(weights, tmp_path, make_photo, capfd):
    rng = np.random.default_rng(20261122)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    files = originals(make_photo(18, 26))
    for i in range(MUTATIONS):
        suffix, data = files[i % len(files)]
        (source / f"{i:03}{suffix}").write_bytes(mutate(data, rng))
    options = ["--device", "cpu", "--hvr_n_supervision", "1", "--max_megapixels", "0.5", "--compare"]
    status = infer_image.main([*weights, *options, "--input_path", str(source), "--output_dir", str(out)])
    said, complaints = capfd.readouterr()   # of the process: also what C libraries print
    lines = [line.strip() for line in re.split(r"[\r\n]", complaints)]
    failed = [line for line in lines if line.startswith("failed: ")]
    assert status == 1
    assert not [line for line in lines if line and line not in failed and f"/{MUTATIONS} [" not in line]  # progress
    assert said.startswith(f"{MUTATIONS - len(failed)} written, 0 skipped, {len(failed)} failed")
    assert 50 < len(failed) < MUTATIONS - 20    # mutations of both kinds: those that destroy and those that do not
    written = [path for path in out.rglob("[!.]*") if path.is_file()]
    assert len(written) == 2 * (MUTATIONS - len(failed))
    for path in written:
        assert path.suffix in FORMATS and read_photo(path).pixels.size > 0
    assert status == infer_image.main([*weights, *options, "--input_path", str(source), "--output_dir", str(out)])
    assert f"0 written, {MUTATIONS - len(failed)} skipped" in capfd.readouterr().out


@pytest.mark.filterwarnings("ignore:.*EXIF data:UserWarning", "ignore:Truncated File Read:UserWarning")
def test_truncation_at_any_place_is_noticed_or_harmless(make_photo):
    """Every original cut at 12 places: a reason, or the whole picture (what was cut off lay behind the pixels)."""
    for _, data in originals(make_photo(18, 26)):
        try:
            whole = decode_photo(data)
        except PhotoError:
            continue   # the animation
        for share in np.linspace(0, 0.99, 12):
            try:
                cut = decode_photo(data[: int(len(data) * share)])
            except PhotoError:
                continue
            np.testing.assert_array_equal(cut.pixels, whole.pixels)
