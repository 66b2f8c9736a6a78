"""HEIC files that are large: in tiles, and never such that nobody can read them."""
from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from data.files import heif
from data.files.encoding import encode
from data.files.images import Photo, PhotoError, decode_photo

XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
       b'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>')


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_large_photo_is_written_in_tiles_without_seams(make_photo, depth):
    """A single piece of more than 16 MB would be read by nobody."""
    smooth = np.asarray(Image.fromarray(make_photo(4, 5)).resize((800, 600), Image.Resampling.BICUBIC))
    pixels = smooth.astype(depth) * (257 if depth == np.uint16 else 1)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = encode(Photo(pixels, exif=exif.tobytes(), xmp=XMP), ".heic")
    tiling = pillow_heif.open_heif(io.BytesIO(data)).info["tiling"]
    assert (tiling["num_columns"], tiling["num_rows"], tiling["tile_width"]) == (2, 2, 512)
    photo = decode_photo(data)
    assert photo.pixels.shape == (600, 800, 3) and b"Rating" in photo.xmp and b"Maker" in photo.exif
    assert np.abs(photo.pixels / np.iinfo(depth).max - pixels / np.iinfo(depth).max).max() < 0.03


def test_with_transparency_what_cannot_be_read_again_is_not_written(make_photo, monkeypatch):
    pixels = make_photo(20, 31)
    photo = Photo(pixels, pixels[..., 0])
    monkeypatch.setattr(heif, "LARGEST_PIECE", 10)
    assert decode_photo(encode(photo, ".heic")).alpha is not None     # which can be read

    def unreadable(*_):
        raise PhotoError("damaged")

    monkeypatch.setattr(heif, "read_heif", unreadable)
    with pytest.raises(PhotoError, match="MB with transparency.*--output_format, png for one, or a lower --quality"):
        encode(photo, ".heic")
    assert encode(replace(photo, alpha=None), ".heic")
