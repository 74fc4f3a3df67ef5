"""Kinds of image that are downloaded, told by their first bytes and never by a name or a header."""

HEAD_BYTES = 18  # read by `image_kind`
BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
KINDS = ("jpg", "png", "gif", "webp", "tif", "bmp")


def image_kind(head: bytes | bytearray) -> str | None:
    """Tell the kind of an image, as a file's suffix, by its first HEAD_BYTES bytes; None if it is not allowed."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tif"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADER_SIZES:  # "BM" alone begins texts
        return "bmp"
    return None
