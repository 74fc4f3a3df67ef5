"""The pictures of an article: the order, the bound, and what cannot be used."""

from pathlib import Path

import numpy as np
import pytest

from safe_exp.data.gallery import Gallery, fill
from safe_exp.data.reading.images import UnusableImage


def filled(names, found, max_words):
    """Fill a gallery of pictures with these names; return it and the names that were described, in their order."""
    asked = []

    def describe(pictures):
        asked.append([picture.name for picture in pictures])
        return {picture: found[picture.name] for picture in pictures}

    gallery = Gallery([Path(name) for name in names], max_words, lambda sentence: min(len(sentence.split()), max_words))
    fill([gallery], describe)
    return gallery, asked


PATCHES = {name: np.full((4, 2), number, np.float32) for number, name in enumerate("abcde")}
BAD = UnusableImage("image is damaged", "x")


@pytest.mark.parametrize(
    ("max_words", "taken"),
    [(1, "a"), (4, "a"), (7, "a"), (8, "ab"), (11, "ab"), (12, "abc"), (1000, "abcde")],
)
def test_patches_of_a_picture_are_used_whole_or_not_at_all_and_the_first_always(max_words, taken):
    gallery, asked = filled("abcde", PATCHES, max_words)
    assert "".join(item.picture.name for item in gallery.taken) == taken
    assert asked == [[name] for name in taken]  # pictures beyond the bound are not described
    assert [picture.name for picture in gallery.beyond] == list("abcde"[len(taken) :])


def test_sentences_are_joined_until_the_bound_and_cut_within_one():
    found = {"a": "a red boat", "b": "", "c": "two men on a horse", "d": "a dog"}
    gallery, asked = filled("abcd", found, 5)
    assert gallery.sentence == "a red boat two men on a horse"  # the cut is split_words's
    assert (asked, gallery.words) == ([["a"], ["b"], ["c"]], 8)
    assert [item.words for item in gallery.taken] == [3, 0, 5]
    gallery, _ = filled("abcd", found, 9)
    assert gallery.sentence == "a red boat two men on a horse a dog"


def test_a_picture_that_cannot_be_used_gives_its_place_to_the_next():
    gallery, _ = filled("abc", {"a": BAD, "b": PATCHES["b"], "c": PATCHES["c"]}, 4)
    assert [item.picture.name for item in gallery.taken] == ["b"]
    assert (gallery.refused, [picture.name for picture in gallery.beyond]) == ([BAD], ["c"])
    gallery, _ = filled("ab", {"a": BAD, "b": BAD}, 4)
    assert (gallery.taken, len(gallery.refused)) == ([], 2)


def test_the_first_pictures_of_all_articles_are_described_together():
    asked = []

    def describe(pictures):
        asked.append("".join(picture.name for picture in pictures))
        return {picture: PATCHES[picture.name] for picture in pictures}

    galleries = [Gallery([Path(name) for name in names], 8, len) for names in ("ab", "a", "", "ca")]
    fill(galleries, describe)
    assert asked == ["ac", "ba"]
    assert [[item.picture.name for item in gallery.taken] for gallery in galleries] == [
        ["a", "b"], ["a"], [], ["c", "a"]
    ]  # fmt: skip
