"""Images from anywhere: their pixels once decoded, and every kind of damage that is refused."""

import contextlib
import io
import logging
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from safe_exp.data.reading import images
from safe_exp.data.reading.images import (
    MAX_PIXELS,
    WORKING_SIDE,
    UnusableImage,
    content_hash,
    decode_image,
    perceptual_hash,
    read_image_file,
)
from safe_exp.data.reading.untrusted import UnusableArticle
from tests.data.folders import REAL_DATA

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def left_and_right(left, right, mode="RGB", size=(40, 20)) -> Image.Image:
    image = Image.new(mode, size, right)
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    return image


def colours(content: bytes) -> tuple[tuple, tuple]:
    """Read the pixels near the upper left and the lower right corner."""
    image = decode_image(content, "image.jpg")
    assert image.mode == "RGB"
    return image.getpixel((2, 2)), image.getpixel((image.width - 3, image.height - 3))


def noise(side=64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def lzw_tiff_with_a_hole() -> bytes:
    """Make a TIFF whose directory, at the end, is whole, and whose packed pixels are not."""
    content = bytearray(encoded(noise(), "TIFF", compression="tiff_lzw"))
    content[100:9000] = b"\xff" * 8900
    return bytes(content)


def tiff_of_255_samples() -> bytes:
    content = encoded(noise(), "TIFF")
    tag = struct.pack("<HHI", 277, 3, 1)  # SamplesPerPixel, one 16-bit number
    assert content.count(tag) == 1
    return content.replace(tag + b"\x03", tag + b"\xff")


def png_header(width: int, height: int) -> bytes:
    """Make a PNG that claims so many pixels and holds hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(autouse=True)
def _no_warning_and_no_log_leaks(caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        yield
    assert caplog.text == ""


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_each_accepted_format_gives_its_pixels_whatever_the_file_is_called(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert colours(encoded(left_and_right(RED, BLUE), file_format, **options)) == (RED, BLUE)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_gives_its_pixels_as_far_as_the_format_keeps_them(progressive):
    left, right = colours(encoded(left_and_right(RED, BLUE), "JPEG", quality=95, progressive=progressive))
    assert np.abs(np.subtract(left, RED)).max() <= 4
    assert np.abs(np.subtract(right, BLUE)).max() <= 4


def test_cmyk_becomes_rgb():
    content = encoded(left_and_right((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG", quality=98)
    left, right = colours(content)  # no cyan: red; no yellow: blue
    assert np.abs(np.subtract(left, RED)).max() <= 8
    assert np.abs(np.subtract(right, BLUE)).max() <= 8


def test_a_palette_and_its_transparent_entry_become_rgb_over_white():
    image = Image.new("P", (40, 20), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.paste(2, (20, 0, 40, 20))
    assert colours(encoded(image)) == (GREEN, BLUE)
    for file_format in ("PNG", "GIF"):
        assert colours(encoded(image, file_format, transparency=1)) == (WHITE, BLUE)


def test_transparent_pixels_lie_over_white_in_proportion():
    assert colours(encoded(left_and_right((255, 0, 0, 0), (0, 0, 255, 255), "RGBA"))) == (WHITE, BLUE)
    assert colours(encoded(left_and_right((0, 0, 0, 51), (0, 0, 0, 255), "RGBA")))[0] == (204, 204, 204)  # 255 * 4/5
    assert colours(encoded(left_and_right((7, 0), (7, 255), "LA"))) == (WHITE, (7, 7, 7))
    assert colours(encoded(left_and_right(RED, BLUE), transparency=RED)) == (WHITE, BLUE)


def test_sixteen_bits_are_scaled_and_not_clipped():
    pixels = np.full((20, 40), 0x8000, dtype=np.uint16)
    pixels[:, 20:] = 0xFFFF
    for file_format in ("PNG", "TIFF"):
        assert colours(encoded(Image.fromarray(pixels), file_format)) == ((128, 128, 128), WHITE)
    pixels[:, :20] = 0x0100
    assert colours(encoded(Image.fromarray(pixels)))[0] == (1, 1, 1)
    assert colours(encoded(Image.fromarray(pixels), transparency=0x0100))[0] == WHITE


def test_grey_and_black_and_white_become_rgb():
    assert colours(encoded(left_and_right(10, 200, "L"))) == ((10, 10, 10), (200, 200, 200))
    assert colours(encoded(left_and_right(0, 1, "1"))) == ((0, 0, 0), WHITE)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(file_format):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert colours(content) == (RED, RED)


def test_of_a_phone_s_double_jpeg_the_first_picture_counts():
    first, second = Image.new("RGB", (32, 32), RED), Image.new("RGB", (32, 32), BLUE)
    content = encoded(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert np.abs(np.subtract(colours(content)[0], RED)).max() <= 4


@pytest.mark.parametrize(
    ("orientation", "corners"), [(1, (RED, BLUE)), (3, (BLUE, RED)), (6, (RED, BLUE)), (8, (BLUE, RED))]
)
def test_a_picture_that_the_camera_took_turned_stands_upright(orientation, corners):
    exif = Image.Exif()
    exif[0x0112] = orientation  # 6: turn clockwise, which takes the left side to the top
    content = encoded(left_and_right(RED, BLUE), "TIFF", exif=exif)
    assert colours(content) == corners
    assert decode_image(content, "x").size == ((20, 40) if orientation in (6, 8) else (40, 20))
    for file_format in ("JPEG", "PNG", "WEBP"):
        content = encoded(left_and_right(RED, BLUE), file_format, exif=exif)
        assert np.argmax(colours(content), axis=1).tolist() == np.argmax(corners, axis=1).tolist()


def test_a_damaged_exif_block_is_no_reason_to_lose_the_picture():
    content = encoded(left_and_right(RED, BLUE), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff rubbish")
    assert colours(content) == (RED, BLUE)


def test_a_large_picture_is_decoded_to_the_working_size():
    wide = left_and_right(RED, BLUE, size=(3000, 1500))
    for file_format in ("JPEG", "PNG"):
        assert decode_image(encoded(wide, file_format), "x").size == (WORKING_SIDE, WORKING_SIDE // 2)
    assert decode_image(encoded(noise(64)), "x").size == (64, 64)  # small ones are not blown up


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"", "image file is empty", r"a\.jpg"),
        (b"<!DOCTYPE html><html>404</html>", "not an image", "web page, SVG or XML"),
        (b"\xef\xbb\xbf\n <svg xmlns='http://www.w3.org/2000/svg'/>", "not an image", "web page, SVG or XML"),
        (b"just some text", "not an image", "starts with b'just"),
        (b"\xff\xd8\xff", "image is damaged|not an image", "."),
        (encoded(noise(), "JPEG")[:1500], "image is damaged", "truncated"),
        (encoded(noise(), "JPEG", progressive=True)[:1500], "image is damaged", "truncated"),
        (encoded(noise(), "PNG")[:5000], "image is damaged", "."),
        (encoded(noise(), "GIF")[:2000], "image is damaged", "."),
        (encoded(noise(), "WEBP")[:1000], "image is damaged|not an image", "."),
        (encoded(noise(), "BMP")[:5000], "image is damaged", "."),
        (encoded(noise(), "TIFF")[:5000], "image is damaged", "."),
        (tiff_of_255_samples(), "image is damaged", "."),
        (lzw_tiff_with_a_hole(), "image is damaged", "."),
        (encoded(Image.new("RGB", (1, 1))), "image is too small or too narrow", "1 x 1"),
        (encoded(Image.new("RGB", (5000, 20))), "image is too small or too narrow", "5000 x 20"),
        (png_header(8193, 8192), "image has too many pixels", "8193 x 8192, at most 67,108,864"),
        (png_header(10_000, 10_000), "image has too many pixels", "10000 x 10000"),
        (png_header(2**31 - 1, 2**31 - 1), "image has too many pixels", "a.jpg"),
        (encoded(Image.new("F", (20, 20)), "TIFF"), "image has pixels of an unknown range", "mode F"),
        (encoded(noise(), "EPS"), "image format is not accepted", "EPS; expected one of JPEG"),
        (b"8BPS\x00\x01", "image format is not accepted", "PSD"),
        (b"\x00\x00\x00\x20ftypavif", "image format is not accepted", "AVIF"),
        (encoded(noise(), "ICO"), "image format is not accepted", "ICO"),
        (encoded(noise(), "PPM"), "not an image", "P6"),
        (encoded(noise(), "TGA"), "not an image", "."),
    ],
)  # fmt: skip
def test_what_is_no_usable_image_is_refused_with_its_reason(content, reason, detail):
    with pytest.raises(UnusableImage, match=detail) as refused:
        decode_image(content, "a.jpg")
    assert refused.value.reason in reason.split("|")
    assert "a.jpg" in refused.value.detail
    assert isinstance(refused.value, UnusableArticle)  # so that whoever counts articles left out counts it


def test_too_many_pixels_are_refused_before_any_is_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UnusableImage, match="too many pixels"):
        decode_image(png_header(MAX_PIXELS // 8, 9), "x")


def test_only_the_accepted_formats_are_ever_tried(monkeypatch):
    opened = []
    Image.init()
    for name, (_, accept) in list(Image.OPEN.items()):
        factory = lambda *_, name=name: opened.append(name)  # noqa: E731
        monkeypatch.setitem(Image.OPEN, name, (factory, accept))
    for other in ("EPS", "PPM", "TGA", "ICO"):
        with pytest.raises(UnusableImage):
            decode_image(encoded(noise(), other), "x")
    assert set(opened) <= set(images.FORMATS)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_random_damage_gives_a_picture_or_a_reason_and_nothing_else(file_format):
    generator = np.random.default_rng(1)
    whole = np.frombuffer(encoded(noise(24), file_format), dtype=np.uint8)
    for _ in range(60):
        damaged = whole.copy()
        places = generator.integers(0, min(len(whole), 300), size=4)  # headers are where readers trip
        damaged[places] = generator.integers(0, 256, size=4)
        with contextlib.suppress(UnusableImage):
            assert decode_image(damaged.tobytes(), "x").mode == "RGB"


def test_a_damaged_file_prints_nothing_past_python(tmp_path):
    """libtiff itself writes to standard error."""
    (tmp_path / "x.tif").write_bytes(lzw_tiff_with_a_hole())
    code = (
        "from pathlib import Path\nfrom safe_exp.data.reading.images import UnusableImage, decode_image\n"
        "try:\n    decode_image(Path('x.tif').read_bytes(), 'x')\n"
        "except UnusableImage as error:\n    print(error.reason)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("image is damaged\n", "")


def test_a_file_is_read_whole_and_only_below_the_root(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    secret = tmp_path / "secret.png"
    for path in (secret, root / "a" / "image.png"):
        path.write_bytes(b"12345678")
    (root / "link.png").symlink_to(secret)
    (root / "inside.png").symlink_to(root / "a" / "image.png")
    (root / "out").symlink_to(tmp_path)
    (root / "circle.png").symlink_to(root / "circle.png")
    assert read_image_file(root / "a" / "image.png", root) == b"12345678"
    assert read_image_file(root / "inside.png", root) == b"12345678"
    for path in (root / "link.png", root / "out" / "secret.png", root / ".." / "secret.png", secret,
                 root / "circle.png"):  # fmt: skip
        with pytest.raises(UnusableImage, match=r"image file lies outside data\.root"):
            read_image_file(path, root)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 8)
    assert len(read_image_file(root / "a" / "image.png", root)) == 8
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 7)
    with pytest.raises(UnusableImage, match="image file is too large"):
        read_image_file(root / "a" / "image.png", root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder").mkdir()
    for name, reason in (("pipe.jpg", "cannot be read"), ("folder", "cannot be read"), ("gone.jpg", "no image file")):
        with pytest.raises(UnusableImage, match=reason):
            read_image_file(tmp_path / name, tmp_path.resolve())


def test_the_content_hash_is_sha256():
    assert content_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real articles in {REAL_DATA}")
def test_real_pictures_decode_and_their_copies_are_near_and_others_far():
    paths = sorted((REAL_DATA / "recovery").glob("*/*/image.jpg"))[::30]
    pictures = [decode_image(path.read_bytes(), path.name) for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(Image.open(path).convert("RGB")))  # none exceeds 512
    hashes = [perceptual_hash(picture) for picture in pictures]
    copies = [
        perceptual_hash(decode_image(encoded(p.resize((p.width * 3 // 5, p.height * 3 // 5)), "JPEG", quality=40), "x"))
        for p in pictures
    ]
    assert len(hashes) > 25
    assert all(0 <= value < 2**64 for value in hashes)
    assert max((a ^ b).bit_count() for a, b in zip(hashes, copies, strict=True)) <= 6
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert np.median(apart) > 24


def test_the_hash_survives_scaling_and_tells_pictures_apart():
    picture = noise(8).resize((256, 256), Image.Resampling.BICUBIC)  # large soft blots
    assert (perceptual_hash(picture) ^ perceptual_hash(picture.resize((90, 120)))).bit_count() <= 2
    assert (perceptual_hash(picture) ^ perceptual_hash(picture.transpose(Image.Transpose.ROTATE_90))).bit_count() > 16


def test_names_of_files_appear_in_messages_only():
    assert decode_image(encoded(noise()), "../../etc/passwd").size == (64, 64)
    assert not Path("passwd").exists()
