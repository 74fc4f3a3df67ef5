"""Descriptors of patches, against values known by construction."""

import numpy as np
import pytest
from PIL import Image

from safe_exp.data.captioners import build_image_captioner
from safe_exp.data.captioners.visual_words import COLOURS, FEATURES, TEXTURES
from safe_exp.data.codebook import fit_codebook
from tests.data.captioners.pictures import noise, stripes, two_colours, visual_words_config


def describe(*pictures, **changes) -> list[np.ndarray]:
    return build_image_captioner(visual_words_config(**changes)).describe(pictures)


def test_a_picture_of_two_colours_is_a_sentence_of_two_words_in_the_right_places():
    config = visual_words_config(grids=[4], words=2)
    descriptors = np.stack(build_image_captioner(config).describe([two_colours("red", "blue")]))
    words = fit_codebook(descriptors, np.array([0]), config, seed=0).encode(descriptors)[0].reshape(4, 4)
    assert (words[:, :2] == words[0, 0]).all()
    assert (words[:, 2:] == words[0, 3]).all()
    assert words[0, 0] != words[0, 3]


def test_colours_are_those_of_cielab():
    (patch,) = describe(Image.new("RGB", (64, 48), (255, 0, 0)), grids=[1])[0]
    # sRGB red in CIE L*a*b* under D65, as colour tables give it; a plain patch has no spread.
    assert patch[:COLOURS] == pytest.approx([53.24, 80.09, 67.20, 0, 0, 0], abs=0.02)


def test_turned_edges_turn_the_gradients_by_ninety_degrees():
    def strongest(picture):
        (patch,) = describe(picture, grids=[1])[0]
        return patch[COLOURS:-TEXTURES].reshape(4, 8).argmax(1)  # cells, orientations of 22.5 degrees

    assert ((strongest(stripes()) - strongest(stripes().transpose(Image.Transpose.TRANSPOSE))) % 8 == 4).all()


def test_texture_shares_sum_to_one_and_tell_noise_from_a_plain_patch():
    plain, rough = describe(Image.new("RGB", (64, 64), "grey"), noise(0), grids=[1])
    for patch in (plain[0], rough[0]):
        assert patch[-TEXTURES:].sum() == pytest.approx(1.0, abs=1e-6)
    assert plain[0, -2] > 0.8  # all eight neighbours alike; the rest lies at the border
    assert rough[0, -2] < 0.3
    assert rough[0, -1] > 10 * plain[0, -1]  # no uniform pattern


def test_levels_follow_each_other_and_patches_go_row_by_row():
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste("white", (32, 0, 64, 32))  # upper right
    descriptors = describe(picture, grids=[4, 2])[0]
    assert descriptors.shape == (20, FEATURES)
    assert descriptors.dtype == np.float32
    assert (descriptors[:, 0] > 50).nonzero()[0].tolist() == [2, 3, 6, 7, 17]


def test_a_descriptor_depends_on_its_picture_alone():
    first, second = noise(1), noise(2)
    alone, together = describe(first)[0], describe(second, first, second)
    assert np.array_equal(alone, together[1])
    assert not np.array_equal(alone, together[0])
    assert np.array_equal(alone, describe(first.copy())[0])


def test_settings_hold_what_shapes_the_descriptors_and_nothing_else():
    settings = build_image_captioner(visual_words_config()).settings
    assert build_image_captioner(visual_words_config(words=9, batch_size=3, n_init=1)).settings == settings
    assert build_image_captioner(visual_words_config(grids=[3])).settings != settings
    assert build_image_captioner(visual_words_config(patch_pixels=16)).settings != settings
