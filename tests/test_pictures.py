"""Depth and transparency: every way of saving a picture gives that picture, or is refused with its file's name."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from leukonb.data import audit, cohort, pixels
from leukonb.draw.cells import decode_thumbnails
from leukonb.files import Refusal, digest_file
from leukonb.pictures import read_picture

GREY = np.array([[0, 17, 90], [200, 255, 30]], np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
CLEAR = np.dstack([COLOUR, np.array([[255, 0, 128], [255, 255, 64]], np.uint8)])


def png(samples, bits, counting=b""):
    """A PNG of integer samples (height, width[, channels]), written by hand: Pillow writes no 16-bit colours."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2] if samples.ndim == 3 else 1]
    lines = b"".join(b"\0" + line.astype(f">u{bits // 8}").tobytes() for line in samples)
    head = struct.pack(">IIBBBBB", samples.shape[1], len(samples), bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"sBIT", counting) if counting else b""]
    parts += [chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(samples, **options):
    file = io.BytesIO()
    options = {"photometric": "minisblack" if samples.ndim == 2 else "rgb", **options}
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def twelve(samples):
    return np.round(samples / 255 * 4095).astype(np.uint16)


def wide(samples):
    return samples.astype(np.uint16) * 257


STATED = '<OME><Pixels SignificantBits="12"/></OME>'
WAYS = {
    "PNG, 16 bits": (png(wide(GREY), 16), GREY, "grey, 16 bits"),
    "PNG, colours, 16 bits": (png(wide(COLOUR), 16), COLOUR, "RGB, 16 bits"),
    "PNG, 12 in 16": (png(twelve(GREY), 16, b"\x0c"), GREY, "grey, 12 of 16 bits"),
    "PNG, colours, 12 in 16": (png(twelve(COLOUR), 16, b"\x0c\x0c\x0c"), COLOUR, "RGB, 12 of 16 bits"),
    "TIFF, 16 bits": (tiff(wide(GREY)), GREY, "grey, 16 bits"),
    "TIFF, colours, packed": (tiff(wide(COLOUR), compression="deflate"), COLOUR, "RGB, 16 bits"),
    "TIFF, the other order": (tiff(wide(COLOUR), byteorder=">"), COLOUR, "RGB, 16 bits"),
    "TIFF, OME": (tiff(twelve(COLOUR), description=STATED), COLOUR, "RGB, 12 of 16 bits"),
    "TIFF, largest value": (
        tiff(twelve(GREY), extratags=[(281, "H", 1, 4095, True)]),
        GREY,
        "grey, 12 of 16 bits",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.fault(
    group="data",
    fault="Images with 16 bits a sample, or with 12 of 16",
    injected="PNG and TIFF, grey and colours, either order of bytes",
    promise="scaled by what the file says: the same picture as with 8 bits",
)
def test_every_depth_gives_the_same_picture(way):
    data, expected, kind = WAYS[way]
    found = read_picture(data)
    shown = np.asarray(found.image).astype(int)
    expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    assert found.kind == kind and np.abs(shown - expected).max() == 0


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("write", [png, lambda samples, bits: tiff(samples, extrasamples=["unassalpha"])])
@pytest.mark.fault(
    group="data",
    fault="Images with transparency",
    injected="colours hidden under full and half transparency",
    promise="laid on black, and said",
)
def test_what_is_transparent_is_black(write, bits):
    samples = wide(CLEAR) if bits == 16 else CLEAR
    found = read_picture(write(samples, bits))
    expected = np.round(CLEAR[..., :3] / 255 * CLEAR[..., 3:]).astype(int)
    assert np.abs(np.asarray(found.image).astype(int) - expected).max() <= 1
    assert np.asarray(found.image)[0, 1].tolist() == [0, 0, 0]
    assert found.seen_through and found.kind == f"RGB with alpha, {bits} bits"


def test_transparency_of_a_palette_and_of_grey():
    palette = Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=palette.getpixel((1, 0)))
    found = read_picture(file.getvalue())
    assert found.seen_through and np.asarray(found.image)[0, 1].tolist() == [0, 0, 0]
    found = read_picture(png(np.dstack([GREY, CLEAR[..., 3]]), 8))
    assert found.seen_through and np.asarray(found.image)[0, 1].tolist() == [0, 0, 0]


def spread(samples, bits, way):
    """Samples of fewer bits, spread over sixteen in one of the three ways that a PNG may do it."""
    whole, empty = 2**bits - 1, 16 - bits
    few = np.round(samples / 255 * whole).astype(np.uint16)
    filled = few << empty
    return {"zeros": filled, "repeated": filled | few >> (bits - empty)}.get(
        way, np.round(few * (65535 / whole)).astype(np.uint16)
    )


@pytest.mark.parametrize("way", ["zeros", "repeated", "factor"])
@pytest.mark.parametrize("light", [1, 0.4, 0.1])
@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.fault(
    group="data",
    fault="Images whose 10, 12 or 14 bits are spread over sixteen, bright or dim",
    injected="PNG with the chunk sBIT, by zeros, by repetition and by a factor",
    promise="neither brightened nor darkened; refused where both readings fit",
)
def test_bits_spread_over_sixteen_keep_their_light(way, light, bits):
    expected = np.round(GREY * light).astype(np.uint8)
    data = png(spread(expected, bits, way), 16, bytes([bits]))
    if bits == 10 or expected.max() >= 2**8 >> (16 - bits):
        found = read_picture(data)
        assert np.array_equal(np.asarray(found.image)[..., 0], expected)
        assert found.kind == f"grey, {bits} of 16 bits"
    else:
        with pytest.raises(Refusal, match="does not say which bits count"):
            read_picture(data)


def test_each_shade_of_twelve_bits_is_the_same_in_either_place():
    shades = np.arange(2**12).reshape(64, 64)
    lower, upper = (np.asarray(read_picture(png(few, 16, b"\x0c")).image) for few in (shades, shades * 16))
    assert np.array_equal(lower, upper) and len(np.unique(lower)) == 256


def test_a_picture_too_dim_to_tell_is_refused_and_never_brightened():
    dim = np.array([[0, 3, 9]], np.uint8)
    for way in ("zeros", "repeated", "factor"):
        with pytest.raises(Refusal, match="does not say which bits count"):
            read_picture(png(spread(dim, 12, way), 16, b"\x0c"))


def bitmap(fourth, masks=()):
    """A bitmap of 32 bits a pixel by hand: its fourth bytes, and the places of its colours where it says them."""
    head = struct.pack("<IiiHHIIiiII", 56 if masks else 40, 3, -2, 1, 32, 3 if masks else 0, 24, 0, 0, 0, 0)
    head += struct.pack("<4I", *masks) if masks else b""
    pixels = np.dstack([COLOUR[..., ::-1], np.broadcast_to(np.uint8(fourth), (2, 3))]).tobytes()
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + 24, 0, 0, 14 + len(head)) + head + pixels


PLACES = (0xFF0000, 0xFF00, 0xFF)


def test_an_unused_fourth_byte_of_a_bitmap_means_nothing():
    for data in (bitmap(0), bitmap(255), bitmap(0, (*PLACES, 0))):
        found = read_picture(data)
        assert np.array_equal(np.asarray(found.image), COLOUR) and found.kind == "RGB, 8 bits"
    assert read_picture(bitmap(CLEAR[..., 3], (*PLACES, 0xFF000000))).seen_through


@pytest.mark.fault(
    group="data",
    fault="Bitmaps of 32 bits whose fourth byte holds something undeclared",
    injected="a varying fourth byte, half light throughout, four colours without a place",
    promise="refused, neither taken for transparency nor dropped",
)
@pytest.mark.parametrize("data", [bitmap(CLEAR[..., 3]), bitmap(128), bitmap(CLEAR[..., 3], (0,) * 4)])
def test_an_undeclared_fourth_byte_of_a_bitmap_is_refused(data):
    with pytest.raises(Refusal, match="fourth byte a pixel and does not say what it is; save it with 24"):
        read_picture(data)


def untold(data):
    """A TIFF that no longer says what its further channels are."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[0].tags["ExtraSamples"].offset
    return data[:place] + struct.pack("<H", 65000) + data[place + 2 :]


UNDECIDED = {
    "depth.png": png(twelve(COLOUR), 16),
    "depth.tif": tiff(twelve(GREY)),
    "float.tif": tiff(GREY.astype(np.float32)),
    "wide.tif": tiff(GREY.astype(np.uint32)),
    "signed.tif": tiff(GREY.astype(np.int16)),
    "inverted.tif": tiff(wide(GREY), photometric="miniswhite"),
    "channel.tif": tiff(CLEAR, extrasamples=["unspecified"]),
    "planes.tif": tiff(wide(COLOUR.transpose(2, 0, 1)), planarconfig="separate"),
    "packed.tif": tiff(twelve(COLOUR.transpose(2, 0, 1)), planarconfig="separate", compression="deflate"),
    "fourth.tif": tiff(
        CLEAR.transpose(2, 0, 1), planarconfig="separate", compression="deflate", extrasamples=["unspecified"]
    ),
    "nameless.tif": untold(tiff(CLEAR, extrasamples=["unassalpha"])),
}


@pytest.mark.parametrize("name", UNDECIDED)
@pytest.mark.fault(
    group="data",
    fault="Images whose depth or channels cannot be decided",
    injected="12 in 16 bits unsaid, floats, 32 bits, signed, a nameless channel, a plane for each colour",
    promise="refused by name, in the index and in decoding",
)
def test_what_cannot_be_decided_is_refused_by_name(tmp_path, name):
    (tmp_path / "all").mkdir()
    (tmp_path / "all/good.png").write_bytes(png(COLOUR, 8))
    (tmp_path / "all" / name).write_bytes(UNDECIDED[name])
    problems = cohort.index_cohort(tmp_path, subject_pattern="(good|[a-z]+)[.]").problems
    refused = problems[problems.refused].set_index("path").reason
    assert any(path.endswith(name) and ("save" in why) for path, why in refused.items())
    with pytest.raises(Refusal, match=name):
        pixels.decode_file(tmp_path, f"all/{name}", pixels.hashlib.sha256(UNDECIDED[name]).hexdigest(), 8)


def test_an_audit_lists_depths_and_says_what_was_laid_on_black(tmp_path):
    for folder, name, data in (
        ("all", "P1_a.png", WAYS["PNG, 12 in 16"][0]),
        ("all", "P1_b.png", png(CLEAR, 8)),
        ("hem", "P2_a.tif", tiff(wide(COLOUR))),
        ("hem", "P2_b.tif", tiff(COLOUR)),
    ):
        (tmp_path / "cells" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cells" / folder / name).write_bytes(data)
    found = cohort.index_cohort(tmp_path / "cells", subject_pattern="(P[0-9])_")
    lines = "\n".join(audit.list_findings(audit.audit_cohort(found)))
    assert "grey, 12 of 16 bits (1); RGB with alpha, 8 bits (1); RGB, 16 bits (1); RGB, 8 bits (1)" in lines
    assert "1 of 4 images have transparent pixels, which are laid on black" in lines
    saved = cohort.load_cohort(cohort.save_cohort(found, tmp_path / "saved"))
    assert saved.kinds == found.kinds
    thumbnail = decode_thumbnails(
        tmp_path / "cells", ["all/P1_a.png"], [digest_file(tmp_path / "cells/all/P1_a.png")], 2
    )[0]
    assert thumbnail.max() < 255 and thumbnail.min() > 0


def test_a_store_of_another_way_of_decoding_is_made_anew(tmp_path, monkeypatch, capfd):
    for name in ("all/P1_a.png", "hem/P2_a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(COLOUR if name[0] == "a" else COLOUR[::-1], 8))
    found = cohort.index_cohort(tmp_path, subject_pattern="(P[0-9])_")
    with monkeypatch.context() as earlier:
        earlier.setattr(pixels, "_READING", 1)
        pixels.decode_cohort(found, 8, tmp_path / "store", progress=False)
    pixels.decode_cohort(found, 8, tmp_path / "store", progress=False)
    assert "by another version" in capfd.readouterr().err
