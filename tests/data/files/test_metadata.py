"""What of a file's EXIF, XMP and IPTC still holds of an enhanced picture."""
from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from data.files.encoding import encode
from data.files.images import Photo, decode_photo
from data.files.metadata import clean_xmp, iptc_records, iptc_resources

ULTRA_HDR = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
 hdrgm:Version="1.0" xmp:Rating="4" tiff:Orientation="6" exif:PixelXDimension="4000" GCamera:MotionPhoto="1"
 xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF">
<xmp:CreatorTool>camera</xmp:CreatorTool>
<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>
<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Length="999"/>
</rdf:li></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_gain_maps_orientation_sizes_and_thumbnails_go_and_the_rest_stays():
    cleaned = clean_xmp(ULTRA_HDR)
    for gone in (b"GainMap", b"hdrgm:Version", b"Orientation", b"PixelXDimension", b"MotionPhoto", b"Thumbnails", b"Extended"):
        assert gone in ULTRA_HDR and gone not in cleaned
    assert b'xmp:Rating="4"' in cleaned and b"<xmp:CreatorTool>camera<" in cleaned and b"<x:xmpmeta" in cleaned
    assert clean_xmp(cleaned) == cleaned


@pytest.mark.parametrize("packet", [None, b"", b"<x>", b"\xff\xfe\x00", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&b;</x>'])
def test_a_damaged_packet_is_left_out(packet):
    assert clean_xmp(packet) is None


def test_a_packet_without_such_entries_stays_as_it_is():
    packet = ULTRA_HDR[: ULTRA_HDR.index(b'hdrgm:Version="1.0"')] + b' xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    assert clean_xmp(packet) is packet


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".heic"])
def test_an_ultra_hdr_photo_loses_its_gain_map_with_its_entries(make_photo, suffix):
    """A second picture behind the first, MPF entries that point to it, and XMP that describes it."""
    first, map_of_gains = Image.fromarray(make_photo(20, 31)), Image.fromarray(make_photo(5, 8))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[map_of_gains], xmp=ULTRA_HDR)
    photo = decode_photo(file.getvalue())
    assert photo.pixels.shape == (20, 31, 3) and b"GainMap" in photo.xmp
    written = encode(photo, suffix)
    assert b"MPF\0" not in written and b"GainMap" not in written and b"Rating" in decode_photo(written).xmp
    assert len(written) < len(file.getvalue()) + 20000


def test_iptc_goes_through_jpeg_and_tiff_and_photoshops_thumbnail_stays_behind(make_photo):
    records = b"\x1c\x02\x19\x00\x05night\x1c\x02\x78\x00\x03cap"
    thumbnail = b"8BIM\x04\x0c\0\0" + (7).to_bytes(4, "big") + b"picture\0"
    resources = b"Photoshop 3.0\0" + thumbnail + iptc_resources(records)[14:]
    assert iptc_records(resources) == iptc_records(resources[14:]) == records
    file = io.BytesIO()
    block = b"\xff\xed" + (len(resources) + 2).to_bytes(2, "big") + resources
    Image.fromarray(make_photo(20, 31)).save(file, "JPEG", extra=block)
    photo = decode_photo(file.getvalue())
    for suffix in (".jpg", ".tif"):
        written = encode(photo, suffix)
        assert decode_photo(written).iptc == records and b"picture" not in written


@pytest.mark.parametrize("resources", [b"", b"Photoshop 3.0\0", b"8BIM", b"8BIM\x04\x04\0",
                                       b"8BIM\x04\x04\0\0\xff\xff\xff\xff"])
def test_damaged_resources_hold_no_iptc(resources):
    assert iptc_records(resources) is None


def test_sixteen_bits_and_metadata_go_through_every_format_that_holds_them(make_photo):
    deep = make_photo(16, 24).astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x8769] = "Maker", "Model", {0x8827: 3200, 0x9003: "2026:11:29 05:14:00"}
    photo = Photo(deep, exif=exif.tobytes(), xmp=clean_xmp(ULTRA_HDR), dpi=(300.0, 300.0))
    for suffix in (".png", ".tif", ".heic", ".avif"):
        back = decode_photo(encode(photo, suffix))
        assert back.pixels.dtype == np.uint16 and b"Rating" in back.xmp
        found = Image.Exif()
        found.load(back.exif)
        assert (found[0x010F], found.get_ifd(0x8769)[0x8827], found.get_ifd(0x8769)[0x9003]) == (
            "Maker", 3200, "2026:11:29 05:14:00")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".heic"])
def test_texts_in_any_script_and_the_interoperability_directory_stay(make_photo, suffix):
    """EXIF's texts are UTF-8 by now; Pillow takes them for Latin-1 and writes ASCII. Made by hand after EXIF 2.32."""
    artist = "Zoë Юлия 夜".encode() + b"\0"
    at = {"artist": 8 + 2 + 12 * 2 + 4}
    at["exif"] = at["artist"] + len(artist) + len(artist) % 2
    at["interop"] = at["exif"] + 2 + 12 * 2 + 4
    ifd = [(0x013B, 2, len(artist), at["artist"]), (0x8769, 4, 1, at["exif"])]
    details = [(0x8827, 3, 1, 3200), (0xA005, 4, 1, at["interop"])]
    block = b"Exif\0\0II*\0" + struct.pack("<L", 8)
    for entries, after in ((ifd, artist.ljust(at["exif"] - at["artist"], b"\0")), (details, b"")):
        block += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries)
        block += bytes(4) + after
    block += struct.pack("<HHHL4sL", 1, 1, 2, 4, b"R98\0", 0)
    file = io.BytesIO()
    Image.fromarray(make_photo(20, 31)).save(file, "JPEG", exif=block)
    written = encode(decode_photo(file.getvalue()), suffix)
    assert artist[:-1] in written and b"R98" in written
    found = Image.Exif()
    found.load(decode_photo(written).exif)
    assert found[0x013B].encode("latin-1") == artist[:-1] and found.get_ifd(0x8769)[0x8827] == 3200


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".heic"])
def test_quality(make_photo, suffix):
    photo = Photo(np.kron(make_photo(12, 16), np.ones((8, 8, 1), np.uint8)))
    sizes = [len(encode(photo, suffix, quality)) for quality in (30, 60, 90)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] * 0.8
