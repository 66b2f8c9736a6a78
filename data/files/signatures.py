"""What a file that bears a photo's name and is none really is, as its first bytes show."""
from __future__ import annotations

import re

from data.files.kinds import brands_of, kind_of

# Where the bytes stand, the bytes, and what they say. Sources: the formats' own specifications, and the Git LFS
# pointer specification.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"), (0, b"%PDF", "a PDF document"), (0, b"8BPS", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"), (0, b"PK\x03\x04", "a ZIP archive"), (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (0, b"\x1f\x8b", "a gzip archive"), (257, b"ustar", "a tar archive"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"), (0, b"OggS", "an Ogg file"), (0, b"ID3", "an MP3 file"),
    (8, b"AVI ", "an AVI video"), (8, b"WAVE", "a WAV file"), (0, b"\x7fELF", "a program"), (0, b"MZ", "a Windows program"),
    (0, b"SQLite format 3", "a database"), (0, b"\x93NUMPY", "a NumPy array"), (0, b"\x00\x00\x01\x00", "a Windows icon"),
    (0, b"v/1\x01", "an OpenEXR picture"), (0, b"#?RADIANCE", "a Radiance HDR picture"), (0, b"DDS ", "a DDS texture"),
)
_PICTURES = {"HEIC": "an HEIC picture", "AVIF": "an AVIF picture", "RAW": "a Canon raw file"}
_MARKUP = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+)?(html|head|body|svg|\?xml)", re.IGNORECASE | re.DOTALL)


def what_it_is(data: bytes) -> str | None:
    """In words with an article ("a GIF"), and what to do where that helps; None where the bytes say nothing known."""
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer, not the picture itself; git lfs pull fetches it"
    if data[4:8] == b"ftyp":
        kind = kind_of(data)
        return _PICTURES[kind] if kind else "a QuickTime video" if b"qt  " in brands_of(data) else "an MP4 video"
    for position, signature, name in _SIGNATURES:
        if data[position : position + len(signature)] == signature:
            return name
    start = data[:1024].removeprefix(b"\xef\xbb\xbf")
    markup = _MARKUP.match(start)
    if markup:
        kind = markup[1].lower()
        if kind == b"svg" or b"<svg" in start.lower():
            return "an SVG drawing"
        return "an XML file" if kind == b"?xml" else "an HTML page (a download that did not give the picture?)"
    if not data.strip(b"\0"):
        return "nothing but zero bytes (a copy or download that broke off?)"
    return "a text file" if _is_text(start) else None


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8", "strict" if len(start) < 1000 else "ignore")
    except UnicodeDecodeError:
        return False
    return len(text) > 8 and all(character.isprintable() or character.isspace() for character in text)
