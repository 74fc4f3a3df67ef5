"""Images from elsewhere: read within bounds, decoded to a small RGB picture, or refused with a reason to count by."""

import contextlib
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from safe_exp.data.reading.articles import ImageRoot, Picture, StoredPicture
from safe_exp.data.reading.untrusted import UnusableArticle, leads_outside, read_plain_file
from safe_exp.system.errors import first_line

# Pillow tries no other format: its decoders of rarer formats are less tested, and that of EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
MAX_FILE_BYTES = 32 * 2**20  # far above a press photograph; a larger file was not made for a web page
MAX_PIXELS = 2**26  # 67 million, as of large cameras; such a PNG takes up to 0.8 GB while it is scaled down
WORKING_SIDE = 512  # pixels of the longer side after decoding; the captioners look at 384 and fewer
MIN_SIDE = 8  # pixels of the shorter side after that; smaller ones are tracking pixels, spacers and rules
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*")  # how FORMATS start
OTHER_FORMATS = {b"%!PS": "EPS", b"%PDF": "PDF", b"8BPS": "PSD", b"SIMPLE": "FITS", b"\x00\x00\x01\x00": "ICO"}
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it logs the errors that it raises, which UnusableImage tells


class UnusableImage(UnusableArticle):
    """An image that cannot be used; `reason` is a short fixed phrase to count by, `detail` tells what was found."""


def read_image_file(path: Path, root: ImageRoot) -> bytes:
    """Read the bytes of an image file below `root`, or below one of several; they are resolved already.

    A data set from elsewhere must not pull in other files of this machine by a link, `..` or a path from /.

    Raises:
        UnusableImage: the file is missing, no plain file, larger than MAX_FILE_BYTES, unreadable, or outside the root.
    """
    if isinstance(root, tuple):
        root = next((each for each in root if path.is_relative_to(each)), root[0])
    if leads_outside(path, root) or not Path(os.path.normpath(path)).is_relative_to(root) or _parent_leaves(path, root):
        raise UnusableImage("image file lies outside data.root", path.name)
    try:
        content = read_plain_file(path, MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise UnusableImage("no image file", f"expected {path.name}") from None
    except OSError as error:
        raise UnusableImage("image file cannot be read", f"{path.name}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise UnusableImage("image file is too large", f"{path.name}: more than {MAX_FILE_BYTES / 2**20:.0f} MiB")
    return content


def read_picture(picture: Picture, root: ImageRoot) -> bytes:
    """Read the bytes of a picture, from its file below `root` or from the table that holds it.

    Raises:
        UnusableImage: as `read_image_file` does, or the bytes in a table are more than MAX_FILE_BYTES.
    """
    if isinstance(picture, Path):
        return read_image_file(picture, root)
    if len(picture.content) > MAX_FILE_BYTES:
        raise UnusableImage("image file is too large", f"{picture.name}: more than {MAX_FILE_BYTES / 2**20:.0f} MiB")
    return picture.content


def decode_image(content: bytes, name: str) -> Image.Image:
    """Decode a picture to RGB, upright, its longer side at most WORKING_SIDE pixels; transparent parts become white.

    The content alone decides the format; `name` only appears in messages. Of an animation the first frame is taken. 16
    bits become the upper 8, as libpng does it. CMYK is converted without its colour profile.

    Raises:
        UnusableImage: it is empty, not an image, of a format that is not accepted, truncated or damaged, has too many
            pixels, or is too small to show anything.
    """
    if not content:
        raise UnusableImage("image file is empty", name)
    with warnings.catch_warnings():
        # Users cannot act on Pillow's warnings about metadata, and MAX_PIXELS is below the bound that it warns of.
        warnings.simplefilter("ignore")
        image = _open(content, name)
        _check_size(*image.size, name)
        try:
            return _decode(image, name)
        except UnusableImage:
            raise
        except Exception as error:  # damaged files make Pillow raise struct.error, IndexError and many more
            raise UnusableImage("image is damaged", f"{name}: {first_line(error)}") from error


def store_image(image: Image.Image, name: str) -> StoredPicture:
    """Store a picture that a program holds; `decode_image` gives what it would give of the same picture in a PNG file.

    Raises:
        UnusableImage: its data are damaged, it has too many pixels, or it is too small to show anything.
    """
    _check_size(*image.size, name)
    try:
        small = _decode(image.copy(), name)  # a copy: the caller's picture stays as it is
    except UnusableImage:
        raise
    except Exception as error:  # a file that is opened and not read yet may be damaged
        raise UnusableImage("image is damaged", f"{name}: {first_line(error)}") from error
    buffer = io.BytesIO()
    small.save(buffer, "PNG", compress_level=1)
    return StoredPicture(name, buffer.getvalue())


def content_hash(content: bytes) -> str:
    """SHA-256 of a file's bytes, in hexadecimal: equal for copies of a file under any name."""
    return hashlib.sha256(content).hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """Perceptual hash of a picture: 64 bits, of which few change when it is scaled, compressed again or made lighter.

    ImageHash's pHash: the signs of the 8 x 8 lowest frequencies of the picture's cosine transform about their median.
    Measured on 400 news pictures: copies scaled to 3/5 and stored at JPEG quality 40 were 0.4 bits from the original
    on average and 4 at most (difference hash: 0.8 and 5), and of the 79,800 pairs of different pictures 29 were within
    6 bits (average hash: 279). Pictures of a single colour share one hash.
    """
    return int(str(imagehash.phash(image)), 16)


def _parent_leaves(path: Path, root: Path) -> bool:
    """Tell if a folder on the way to `path` is a link out of the root."""
    try:
        return not path.parent.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links
        return True


def _open(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _not_accepted(content, name) from error
    except Image.DecompressionBombError as error:
        raise UnusableImage("image has too many pixels", f"{name}: {first_line(error)}") from error
    except Exception as error:  # see decode_image
        raise UnusableImage("image is damaged", f"{name}: {first_line(error)}") from error


def _not_accepted(content: bytes, name: str) -> UnusableImage:
    """Find the reason why Pillow recognised none of FORMATS; web sites often serve AVIF under the name .jpg."""
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        return UnusableImage("not an image", f"{name}: a web page, SVG or XML")
    found = next((other for sign, other in OTHER_FORMATS.items() if content.startswith(sign)), None)
    if content[4:8] == b"ftyp":  # the ISO container; its brand follows
        found = content[8:12].decode("ascii", "replace").strip().upper()
    if content.startswith(SIGNATURES):
        return UnusableImage("image is damaged", f"{name}: its first part is there, but not all that describes it")
    if found:
        return UnusableImage("image format is not accepted", f"{name}: {found}; expected one of {', '.join(FORMATS)}")
    return UnusableImage("not an image", f"{name}: starts with {content[:8]!r}")


def _check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture of more than MAX_PIXELS, or of less than MIN_SIDE after scaling.

    Raises:
        UnusableImage: it is too large, too small or too narrow; the message gives its size.
    """
    if width * height > MAX_PIXELS:
        raise UnusableImage("image has too many pixels", f"{name}: {width} x {height}, at most {MAX_PIXELS:,} are read")
    if min(width, height) * min(1, WORKING_SIDE / max(width, height)) < MIN_SIDE:
        raise UnusableImage("image is too small or too narrow", f"{name}: {width} x {height} pixels")


def _decode(image: Image.Image, name: str) -> Image.Image:
    image.draft(None, (2 * WORKING_SIDE, 2 * WORKING_SIDE))  # JPEG is decoded at an 8th, 4th or half of its size
    with _silent_stderr() if image.format == "TIFF" else contextlib.nullcontext():
        image.load()
    with contextlib.suppress(Exception):  # a picture whose EXIF block is damaged is taken as it lies
        image = ImageOps.exif_transpose(image)
    image = _plain_mode(image, name)
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BICUBIC)
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard file descriptor 2, to which libtiff writes, past Python's warnings and logging."""
    try:
        kept = os.dup(2)
    except OSError:  # closed already
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _plain_mode(image: Image.Image, name: str) -> Image.Image:
    """Convert a picture to mode L, RGB or RGBA, which can be scaled.

    Raises:
        UnusableImage: its pixels are measurements of an unknown range.
    """
    if image.mode in SIXTEEN_BITS:
        pixels = np.asarray(image).astype(np.uint16)
        grey = Image.fromarray((pixels >> 8).astype(np.uint8))  # convert("L") would clip everything above 255 to white
        if isinstance(clear := image.info.get("transparency"), int):
            grey = grey.convert("RGBA")
            grey.putalpha(Image.fromarray(np.where(pixels == clear, 0, 255).astype(np.uint8)))
        return grey
    if image.mode in ("I", "F"):  # measurements; the file does not tell which value is white
        raise UnusableImage("image has pixels of an unknown range", f"{name}: mode {image.mode}")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode == "L" else image.convert("RGB")
