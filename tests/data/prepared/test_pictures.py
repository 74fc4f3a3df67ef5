"""No image outside the reader's folder is read, whatever a reader of somebody's own names."""

import pytest

from safe_exp.data.prepared.pictures import describe_pictures
from tests.data.damage import encoded, picture
from tests.made import compose_config


@pytest.fixture
def described(tmp_path):
    """The facts of one image file, by its place relative to the folder `articles`."""
    (tmp_path / "articles").mkdir()
    config = compose_config("captioner=visual_words").captioner

    def describe(file, downloaded=()):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(encoded(picture(), "PNG"))
        path = tmp_path / file
        facts = describe_pictures([path], tmp_path / "articles", downloaded, config, tmp_path / "cache", lambda _: None)
        return facts[path]

    return describe


def test_an_image_in_the_folder_is_read(described):
    assert "image_hash" in described("articles/a.png")


def test_an_image_elsewhere_is_left_out(described):
    assert described("elsewhere/a.png")["unusable"].reason == "image file lies outside data.root"


def test_a_downloaded_image_lies_elsewhere_and_is_read(described, tmp_path):
    assert "image_hash" in described("elsewhere/a.png", {tmp_path / "elsewhere" / "a.png"})
