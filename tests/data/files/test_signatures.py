"""What files with a photo's name turn out to be."""
from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from data.files.images import PhotoError, read_photo
from data.files.signatures import what_it_is


def box(*brands: bytes) -> bytes:
    content = b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands)
    return (4 + len(content)).to_bytes(4, "big") + content + bytes(64)


def saved(write) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def gif(file):
    Image.new("P", (8, 8)).save(file, "GIF")


def archive(file):
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.txt", "x")


def tar(file):
    with tarfile.open(fileobj=file, mode="w") as made:
        made.addfile(tarfile.TarInfo("a.txt"))


@pytest.mark.parametrize(("data", "said"), [
    (saved(gif), "a GIF"), (saved(archive), "a ZIP archive"), (saved(tar), "a tar archive"),
    (saved(lambda file: np.save(file, np.zeros(3))), "a NumPy array"),
    (saved(lambda file: Image.new("RGB", (8, 8)).save(file, "PDF")), "a PDF document"),
    (saved(lambda file: Image.new("RGB", (16, 16)).save(file, "ICO")), "a Windows icon"),
    (box(b"heic", b"mif1"), "an HEIC picture"), (box(b"mif1", b"avif"), "an AVIF picture"), (box(b"avif"), "an AVIF picture"),
    (box(b"isom", b"mp42"), "an MP4 video"), (box(b"qt  "), "a QuickTime video"), (box(b"crx "), "a Canon raw file"),
    (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>404", "an HTML page"), (b"<HTML><head>", "an HTML page"),
    (b"<!-- saved -->\n<html>", "an HTML page"), (b'<?xml version="1.0"?>\n<svg width="1">', "an SVG drawing"),
    (b'<?xml version="1.0"?><x/>', "an XML file"), (b"{\"error\": \"not found\"}", "a text file"),
    ("fotoğraf bulunamadı".encode(), "a text file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer, not the picture itself"),
    (bytes(4096), "nothing but zero bytes"),
])
def test_what_the_first_bytes_show(data, said):
    assert what_it_is(data).startswith(said)


@pytest.mark.parametrize(("data", "said"), [
    (saved(gif), "it is a GIF; read are "), (b"<!DOCTYPE html><html>", "it is an HTML page"),
    (bytes(99), "nothing but zero bytes"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "it is a Git LFS pointer, .*git lfs pull"),
])
def test_what_a_user_is_told(data, said, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(data)
    with pytest.raises(PhotoError, match=said):
        read_photo(tmp_path / "photo.jpg")


@pytest.mark.parametrize("data", [b"\x89QNG\r\n\x1a\n\0\0\0\r", b"\xd8\xff\0\x01" * 400, b"x"])
def test_bytes_that_say_nothing(data):
    assert what_it_is(data) is None


def test_text_whose_first_kilobyte_ends_within_a_letter():
    assert what_it_is(("x" + "é" * 4000).encode()) == "a text file"
