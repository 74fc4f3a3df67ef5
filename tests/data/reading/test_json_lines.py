"""JSON lines: the images that a line names."""

import json

import pytest

from safe_exp.data.reading.articles import Article
from safe_exp.data.reading.json_lines import LineReader


def read(folder, image):
    return LineReader(folder).read((1, json.dumps({"title": "t", "image": image}).encode()))


@pytest.mark.parametrize(
    ("image", "names"),
    [("a.png", ["a.png"]), (["b.png", None, "a.png", "", "b.png"], ["b.png", "a.png"]), ([], []), (None, []), ("", [])],
)
def test_a_line_names_no_image_one_or_several_in_their_order(image, names, tmp_path):
    article = read(tmp_path, image)
    assert isinstance(article, Article)
    assert [path.relative_to(tmp_path.resolve()).as_posix() for path in article.images] == names


@pytest.mark.parametrize(
    ("image", "reason"),
    [(["a.png", "../b.png"], "image lies outside images=DIR"), ([["a.png"]], "image is not a path")],
)
def test_one_bad_image_of_several_costs_the_line(image, reason, tmp_path):
    assert read(tmp_path, image).reason == reason
