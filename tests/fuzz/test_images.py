"""Image files of any bytes: a small RGB picture or a reason comes of each."""

import contextlib
import io
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from safe_exp.data.reading.images import SIGNATURES, WORKING_SIDE, UnusableImage, decode_image, perceptual_hash
from tests.fuzz.cases import broken, fuzz

HEADER = 200  # bytes at the start in which readers trip


def pictures() -> list[bytes]:
    """Make small pictures of every accepted format, in several modes."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 4), dtype=np.uint8)
    colours = Image.fromarray(pixels)
    kinds = [("PNG", mode, {}) for mode in ("RGB", "RGBA", "P", "L", "LA", "1", "I;16")]
    kinds += [("JPEG", mode, {}) for mode in ("RGB", "L", "CMYK")] + [("JPEG", "RGB", {"progressive": True})]
    kinds += [("GIF", "P", {}), ("WEBP", "RGBA", {}), ("WEBP", "RGB", {"lossless": True}), ("BMP", "RGB", {})]
    kinds += [
        ("TIFF", "RGB", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")
    ]
    kinds += [("TIFF", mode, {}) for mode in ("1", "RGBA", "CMYK", "I;16")]
    made = []
    for form, mode, options in kinds:
        buffer = io.BytesIO()
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) << 8) if mode == "I;16" else colours.convert(mode)
        image.save(buffer, form, **options)
        made.append(buffer.getvalue())
    return made


PICTURES = st.sampled_from(pictures())
BYTES = st.one_of(
    broken(PICTURES, HEADER),
    broken(PICTURES, HEADER),
    broken(PICTURES),
    st.builds(bytes.__add__, st.sampled_from(SIGNATURES), st.binary(max_size=80)),
    st.binary(max_size=80),
)


@fuzz(BYTES)
def test_any_bytes_become_a_picture_or_a_reason(cases, folder):
    for content in cases:
        with contextlib.suppress(UnusableImage):
            image = decode_image(content, "a.jpg")
            assert (image.mode, max(image.size) <= WORKING_SIDE) == ("RGB", True)
            assert 0 <= perceptual_hash(image) < 2**64


def test_the_undamaged_pictures_are_read():
    for content in pictures():
        assert decode_image(content, "a.jpg").size == (16, 12)


def test_a_working_folder_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decode_image(pictures()[0], "../a.jpg")
    assert not list(Path(tmp_path).iterdir())
