"""Places of patches, and the picture of them."""

import pytest
from PIL import Image

from safe_exp.inference.patches import FAKE, REAL, draw_images, draw_patches, locate_patch, save_picture

LEVELS = [(2, 2), (1, 1)]  # rows and columns


def test_patches_are_counted_level_by_level_and_row_by_row():
    assert locate_patch([(4, 4), (2, 2)], 0) == {"grid": 4, "row": 0, "column": 0}
    assert locate_patch([(4, 4), (2, 2)], 7) == {"grid": 4, "row": 1, "column": 3}
    assert locate_patch([(4, 4), (2, 2)], 18) == {"grid": 2, "row": 1, "column": 0}
    with pytest.raises(ValueError, match="no patch"):
        locate_patch([(4, 4), (2, 2)], 20)


def test_a_grid_that_is_no_square_is_named_by_rows_and_columns():
    assert locate_patch([(2, 3)], 5) == {"grid": [2, 3], "row": 1, "column": 2}
    picture = draw_patches(Image.new("RGB", (40, 30), "white"), [(1, 2)], [1.0, -1.0])
    assert picture.getpixel((2, 440)) == FAKE
    assert picture.getpixel((446, 440)) == REAL


def test_the_picture_outlines_each_patch_in_the_colour_of_its_side():
    picture = draw_patches(Image.new("RGB", (40, 30), "white"), [(2, 2), (1, 1)], [1.0, -0.5, 0.0, 0.0, 0.2])
    half = 448 // 2
    assert picture.size == (448 + 12 + 448, 448 + 48)
    assert picture.getpixel((2, 2)) == FAKE
    assert picture.getpixel((half + 1, 1)) == REAL
    white = (255, 255, 255)
    assert picture.getpixel((half // 2, half + half // 2)) == white  # a patch that adds nothing stays as it was


@pytest.mark.parametrize("article_id", ["../../etc/x", "", "a/b", "\udcff", "x" * 500, "."])
def test_no_id_leads_a_picture_out_of_its_folder(article_id, tmp_path):
    path = save_picture(Image.new("RGB", (9, 9)), tmp_path / "out", article_id)
    assert path.parent == tmp_path / "out"
    assert path.resolve().is_relative_to(tmp_path / "out")
    assert Image.open(path).format == "PNG"


def test_several_images_stand_below_one_another_each_with_its_own_patches():
    worth = [0.5, 0, 0, 0, 0, 0, 0, 0, 0, -1.0]  # the first patch of the first, the last of the second
    images = [Image.new("RGB", (40, 30), "white"), Image.new("RGB", (30, 40), "black")]
    picture = draw_images(images, [LEVELS, LEVELS], worth)
    height = 448 + 48
    assert picture.size == (448 + 12 + 448, 2 * height)
    assert picture.getpixel((2, 2)) == FAKE
    assert picture.getpixel((448 + 12 + 2, 2)) == (255, 255, 255)
    assert picture.getpixel((2, height + 2)) == (0, 0, 0)
    assert picture.getpixel((448 + 12 + 2, height + 2)) == REAL
    assert picture.getpixel((6, 20)) != FAKE  # half as thick as the strongest, which is in the other image
    (alone,) = images[:1]
    assert draw_images([alone], [LEVELS], worth[:5]).tobytes() == draw_patches(alone, LEVELS, worth[:5]).tobytes()
