"""Articles that a program gives: their pictures are seen as a file with the same picture is."""

import io
import math
from collections import OrderedDict

import numpy as np
import pytest
from PIL import Image

from safe_exp.data.reading.articles import Article, LeftOut, StoredPicture
from safe_exp.data.reading.given_articles import GivenReader
from safe_exp.data.reading.images import decode_image, store_image

NUMBERS = np.random.default_rng(0).integers(0, 256, (600, 700, 4), dtype=np.uint8)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def picture(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(NUMBERS.astype(np.uint16)[:, :, 0] * 257)
    return Image.fromarray(NUMBERS).convert(mode)


def as_file(image: Image.Image, **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **settings)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_of_each_mode_is_seen_as_its_file_is(mode):
    image = picture(mode)
    expected = decode_image(as_file(image), "file")
    assert max(expected.size) == 512
    seen = decode_image(store_image(image, "image").content, "image")
    assert np.array_equal(np.asarray(seen), np.asarray(expected))
    assert (image.mode, image.size) == (mode, (700, 600))


def test_a_photograph_that_its_camera_turned_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # by a quarter
    content = as_file(picture("RGB"), exif=exif)
    with Image.open(io.BytesIO(content)) as opened:
        seen = decode_image(store_image(opened, "image").content, "image")
    assert seen.size == (439, 512)
    assert np.array_equal(np.asarray(seen), np.asarray(decode_image(content, "file")))


def test_values_of_numpy_and_missing_ones_are_read_as_json_has_them():
    item = OrderedDict(id=np.int64(7), title=np.str_("a"), text=math.nan, caption=None, image=np.array([]))
    assert GivenReader(None).read_item(1, item) == Article("7", None, "a", "", "", ())
    assert GivenReader(None).read_item(3, {"text": np.float32(2)}).id == "article 3"
    images = GivenReader(None).read_item(1, {"title": "a", "image": [b"x", memoryview(b"y"), b"x"]}).images
    assert images == (StoredPicture("image", b"x"), StoredPicture("image", b"y"))


WRONG = [None, 3, "text", [1], {}, {"body": "x"}, {3: "x"}, {"title": {"a": 1}}]


@pytest.mark.parametrize(
    "item", [*WRONG, *({"title": "a", "image": image} for image in (np.zeros((9, 9, 3)), {"b": 1}))]
)
def test_whatever_is_no_article_is_refused_with_a_reason(item):
    found = GivenReader(None).read_item(2, item)
    assert isinstance(found, LeftOut)
    assert found.path == "article 2"
