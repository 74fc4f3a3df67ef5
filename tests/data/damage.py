"""Sixty and more kinds of damage to an article or its image, each a function that damages a good one."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

USED = None  # the article is read all the same
Damage = tuple[str, Callable[[Path], None], str | None]  # name, what does it, reason for which it is left out


def picture(size=(64, 48), mode="RGB", seed=0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write_good(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    (folder / "news_article.json").write_text(json.dumps({"title": f"title {seed}", "text": f"the body of {folder}"}))
    (folder / "image.jpg").write_bytes(encoded(picture(seed=seed), "JPEG"))


def article(content: bytes | dict | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "news_article.json"
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return damage


def image(content: bytes | None, name: str = "image.jpg") -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "image.jpg").unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    return damage


def png_header(width: int, height: int) -> bytes:
    """Make a PNG that claims to be huge and holds hardly any data."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def link(name: str, target: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return damage


def as_folder(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def pipe(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def text(body: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    return article(json.dumps({"title": "a title", "text": body}, ensure_ascii=False).encode(encoding))


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), "JPEG", exif=exif)


def animated() -> bytes:
    frames = [picture(seed=number).convert("P") for number in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray((np.arange(64 * 48).reshape(48, 64) * 20).astype(np.uint16)), "PNG")


def see_through() -> bytes:
    layered = picture().convert("RGBA")
    layered.putalpha(128)
    return encoded(layered, "PNG")


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
BAD_JSON, NO_OBJECT, NO_ENCODING = (
    "article file is not valid JSON", "article file is not a JSON object", "encoding of the article cannot be told"
)  # fmt: skip
NOTHING, NOT_AN_IMAGE, DAMAGED = "no title and no text", "not an image", "image is damaged"
OUTSIDE = "a link leads outside data.root"

DAMAGES: list[Damage] = [
    # the article's file
    ("json-cut-off", article(b'{"title": "a'), BAD_JSON),
    ("json-empty-file", article(b""), BAD_JSON),
    ("json-only-nulls", article(b"\0" * 500), BAD_JSON),
    ("json-nested-without-end", article(b"[" * 100_000), BAD_JSON),
    ("json-html-instead", article(b"<!DOCTYPE html><html></html>"), BAD_JSON),
    ("json-two-objects", article(b'{"title": "a"}{"title": "b"}'), BAD_JSON),
    ("json-single-quotes", article(b"{'title': 'a'}"), BAD_JSON),
    ("json-list", article(b"[1, 2]"), NO_OBJECT),
    ("json-null", article(b"null"), NO_OBJECT),
    ("json-number", article(b"7"), NO_OBJECT),
    ("json-missing", article(None), "no article file"),
    ("json-is-a-folder", as_folder("news_article.json"), "article file cannot be read"),
    ("json-named-pipe", pipe("news_article.json"), "article file cannot be read"),
    ("json-lists-in-lists", article(b'{"title": "a", "text": ' + b"[" * 600 + b'"b"' + b"]" * 600 + b"}"), USED),
    ("json-link-outside", link("news_article.json", "/etc/hostname"), OUTSIDE),
    ("json-link-to-itself", link("news_article.json", "news_article.json"), OUTSIDE),
    ("json-binary", article(b"\x81\x8d\x00\x8f\x90\xff" * 50), NO_ENCODING),
    ("json-control-characters-in-strings", article(b'{"title": "a\nb\tc", "text": "x"}'), USED),
    ("json-byte-order-mark", text("a body with a mark", "utf-8-sig"), USED),
    ("json-utf-16", text("a body in UTF-16", "utf-16"), USED),
    ("json-utf-32", text("a body in UTF-32", "utf-32"), USED),
    ("json-windows-1252", text("a caf\u00e9 body, \u201cquoted\u201d, in the wrong encoding", "cp1252"), USED),
    ("json-crlf", article(b'{\r\n"title": "windows",\r\n"text": "lines of windows"\r\n}'), USED),
    ("json-duplicate-keys", article(b'{"title": "a", "title": "the later", "text": "x y"}'), USED),
    ("json-numbers-beyond-reason", article(b'{"title": "huge", "publish_date": 1e999}'), USED),
    # what it holds
    ("text-null", article({"title": None, "text": None}), NOTHING),
    ("text-empty", article({"title": "", "text": "  \n"}), NOTHING),
    ("text-absent", article({"url": "http://x"}), NOTHING),
    ("text-word-null", article({"title": "null", "text": "None"}), NOTHING),
    ("text-tags-alone", article({"title": "<br/>", "text": "<p></p>"}), NOTHING),
    ("text-invisible-alone", article({"title": "\u200b\ufeff", "text": "\x00\x01"}), NOTHING),
    ("text-wrong-types", article({"title": {"a": 1}, "text": [1, None, "two"]}), USED),
    ("text-title-alone", article({"title": "only a title", "text": ""}), USED),
    ("text-body-alone", article({"text": "only a body"}), USED),
    ("text-html", article({"title": "t", "text": "<div>a <b>bold</b> &amp; brave<script>x()</script></div>"}), USED),
    ("text-nulls-inside", article({"title": "t", "text": "nul\x00 in\x00side"}), USED),
    ("text-half-surrogate", article(b'{"title": "x \\ud83d y", "text": "half a pair"}'), USED),
    ("text-right-to-left-override", article({"title": "\u202eevil\u202c", "text": "turned around"}), USED),
    ("text-ten-megabytes", article({"title": "long", "text": "word " * 2_000_000}), USED),
    ("text-one-endless-word", article({"title": "w", "text": "x" * 3_000_000}), USED),
    ("text-punctuation-alone", article({"title": "!!!", "text": "???"}), USED),
    ("text-emoji-alone", article({"title": "\U0001f600", "text": "\U0001f600\U0001f600"}), USED),
    ("text-mongo-date", article({"title": "dated", "publish_date": {"$date": 1474702231000}}), USED),
    ("text-odd-date", article({"title": "dated oddly", "publish_date": "the day before yesterday"}), USED),
    ("text-too-large", article(b'{"title": "' + b"x" * 64_000_001 + b'"}'), "article file is too large"),
    # its image
    ("image-missing", image(None), "no image file"),
    ("image-empty", image(b""), "image file is empty"),
    ("image-truncated-jpeg", image(JPEG[: len(JPEG) // 2]), DAMAGED),
    ("image-truncated-png", image(PNG[: len(PNG) // 2], "image.png"), DAMAGED),
    ("image-header-alone", image(JPEG[:20]), DAMAGED),
    ("image-html", image(b"<html>404 Not Found</html>"), NOT_AN_IMAGE),
    ("image-svg", image(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'), NOT_AN_IMAGE),
    ("image-json", image(b'{"error": "forbidden"}'), NOT_AN_IMAGE),
    ("image-noise", image(np.random.default_rng(0).bytes(5000)), NOT_AN_IMAGE),
    ("image-pdf", image(b"%PDF-1.7 and so on"), "image format is not accepted"),
    ("image-postscript", image(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "image format is not accepted"),
    ("image-decompression-bomb", image(png_header(60_000, 60_000), "image.png"), "image has too many pixels"),
    ("image-one-pixel", image(encoded(picture((1, 1)), "PNG"), "image.png"), "image is too small or too narrow"),
    ("image-hair-line", image(encoded(picture((2000, 2)), "PNG"), "image.png"), "image is too small or too narrow"),
    ("image-is-a-folder", as_folder("image.jpg"), "image file cannot be read"),
    ("image-named-pipe", pipe("image.jpg"), "image file cannot be read"),
    ("image-link-outside", link("image.jpg", "/etc/hostname"), OUTSIDE),
    ("image-link-to-nothing", link("image.jpg", "nowhere.jpg"), "no image file"),
    ("image-huge-file", image(JPEG + b"\0" * (33 * 2**20)), "image file is too large"),
    ("image-wrong-extension", image(PNG), USED),
    ("image-no-known-extension", image(JPEG, "image.image"), USED),
    ("image-upper-case", image(JPEG, "IMAGE.JPG"), USED),
    ("image-cmyk", image(encoded(picture(mode="CMYK"), "JPEG")), USED),
    ("image-grey", image(encoded(picture(mode="L"), "JPEG")), USED),
    ("image-palette", image(encoded(picture(mode="P"), "PNG"), "image.png"), USED),
    ("image-sixteen-bit", image(sixteen_bit(), "image.png"), USED),
    ("image-transparent", image(see_through(), "image.png"), USED),
    ("image-animated", image(animated(), "image.gif"), USED),
    ("image-rotated", image(rotated()), USED),
    ("image-webp", image(encoded(picture(), "WEBP"), "image.webp"), USED),
    ("image-bitmap", image(encoded(picture(), "BMP"), "image.bmp"), USED),
    ("image-tiff", image(encoded(picture(), "TIFF"), "image.tiff"), USED),
    ("image-trailing-rubbish", image(JPEG + b"rubbish" * 100), USED),
]


def write_damaged(root: Path) -> dict[str, str | None]:
    """Write a damaged article of each kind and 20 good ones of each class; return reason or USED by article id."""
    expected: dict[str, str | None] = {}
    for number in range(20):
        for label in ("fake", "real"):
            write_good(root / label / f"good{number:02d}", seed=1000 + 2 * number + (label == "fake"))
            expected[f"{label}/good{number:02d}"] = USED
    for number, (name, damage, reason) in enumerate(DAMAGES):
        folder = root / ("fake" if number % 2 else "real") / name
        write_good(folder, seed=number)
        damage(folder)
        expected[folder.relative_to(root).as_posix()] = reason
    return expected
