"""The codebook: fitted to training pictures alone, the same for the same seed, and exact in the nearest word."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from safe_exp.data import codebook as module
from safe_exp.data.codebook import Codebook, fit_codebook
from safe_exp.system.errors import UserError
from tests.data.captioners.pictures import visual_words_config

CONFIG = visual_words_config(words=8, sample_patches=400, n_init=2)


def made(pictures=40, patches=6, features=5, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (pictures, patches, features)).astype(np.float32)


def fitted(descriptors=None, rows=None, config=CONFIG, seed=0) -> Codebook:
    descriptors = made() if descriptors is None else descriptors
    return fit_codebook(descriptors, np.arange(len(descriptors)) if rows is None else rows, config, seed)


def same(left: Codebook, right: Codebook) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in module.STORED)


def test_pictures_outside_the_training_split_change_nothing():
    descriptors, rows = made(), np.arange(0, 40, 2)
    book = fitted(descriptors, rows)
    changed = descriptors.copy()
    changed[1::2] = 1e6
    assert same(book, fitted(changed, rows))
    changed[0] = 0
    assert not same(book, fitted(changed, rows))


def test_a_seed_gives_one_codebook_whatever_the_order_of_the_rows():
    descriptors, rows = made(200), np.arange(200)  # 1200 patches, of which 400 are drawn
    book = fitted(descriptors, rows)
    assert same(book, fitted(descriptors, rows[::-1]))
    assert same(book, fitted(descriptors, np.concatenate([rows, rows])))
    assert not same(book, fitted(descriptors, rows, seed=1))


def test_a_memory_map_gives_the_same_codebook_and_words_as_an_array(tmp_path):
    np.save(tmp_path / "d.npy", made())
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    assert same(fitted(), fitted(mapped))
    assert np.array_equal(fitted().encode(made()), fitted().encode(mapped))


def test_features_are_standardised_by_the_training_patches():
    patches = made()[::2].reshape(-1, 5)
    book = fitted(made(), np.arange(0, 40, 2))
    assert book.mean == pytest.approx(patches.mean(0), rel=1e-5)
    assert book.scale == pytest.approx(patches.std(0), rel=1e-5)


def test_each_patch_gets_its_nearest_word_as_counted_out_one_by_one(monkeypatch):
    monkeypatch.setattr(module, "ENCODE_CHUNK", 7)  # 40 pictures: five whole chunks and one of 5
    descriptors, book = made(seed=9), fitted()
    words = book.encode(descriptors)
    assert (words.shape, words.dtype) == ((40, 6), np.int32)
    for picture in range(40):
        for patch in range(6):
            scaled = (descriptors[picture, patch].astype(float) - book.mean) / book.scale
            nearest = min(range(8), key=lambda word: sum((scaled - book.centroids[word]) ** 2))
            assert words[picture, patch] == nearest + 1
    assert set(words.ravel()) == set(range(1, 9))


def test_a_picture_s_words_do_not_depend_on_the_others():
    descriptors, book = made(seed=9), fitted()
    together = book.encode(descriptors)
    assert np.array_equal(together, np.concatenate([book.encode(descriptors[i : i + 1]) for i in range(40)]))
    assert book.encode(descriptors[:0]).shape == (0, 6)


def test_well_separated_clusters_are_found():
    centres = np.array([[0, 0], [100, 0], [0, 100]], dtype=np.float32)
    truth = np.random.default_rng(0).integers(0, 3, (50, 4))
    descriptors = centres[truth] + made(50, 4, 2) * 0.1
    words = fitted(descriptors, config=visual_words_config(words=3)).encode(descriptors)
    assert len({(a, b) for a, b in zip(truth.ravel(), words.ravel(), strict=True)}) == 3


def test_vectors_are_the_centroids_at_a_length_of_one_with_padding_first():
    book = fitted()
    vectors = book.vectors()
    assert (vectors.shape, vectors.dtype) == ((9, 5), np.float32)
    assert not vectors[0].any()
    assert np.square(vectors[1:]).sum(1).mean() == pytest.approx(1.0, rel=1e-5)
    ratio = vectors[1:] / book.centroids
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-5)


@pytest.mark.parametrize(("distinct", "words"), [(1, 1), (3, 3), (8, 8), (50, 8)])
def test_fewer_distinct_patches_than_words_give_fewer_words(distinct, words, recwarn):
    descriptors = (np.arange(60).reshape(20, 3, 1) % distinct * np.ones(4)).astype(np.float32)
    book = fitted(descriptors)
    assert len(book.centroids) == words
    assert set(book.encode(descriptors).ravel()) == set(range(1, words + 1))  # no word without a patch
    assert np.isfinite(book.vectors()).all()
    assert not recwarn.list


def test_without_training_pictures_there_are_no_words():
    with pytest.raises(UserError, match="no training picture"):
        fitted(rows=np.array([], dtype=int))


def test_descriptors_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, P, 5\)"):
        fitted().encode(made(features=4))


def test_what_is_saved_comes_back_and_the_same_codebook_is_the_same_file(tmp_path):
    book = fitted()
    book.save(tmp_path / "a.safetensors")
    fitted().save(tmp_path / "b.safetensors")
    loaded = Codebook.load(tmp_path / "a.safetensors")
    assert same(book, loaded)
    assert loaded.settings == book.settings
    assert loaded.settings["seed"] == 0
    assert np.array_equal(loaded.encode(made()), book.encode(made()))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(b"nonsense"),
        lambda path: path.write_bytes(b""),
        lambda path: save_file(load_file(path), path),  # without its settings
        lambda path: save_file(load_file(path) | {"mean": np.zeros(4, np.float32)}, path, {"settings": "{}"}),
        lambda path: save_file(load_file(path) | {"scale": np.zeros(5, np.float32)}, path, {"settings": "{}"}),
        lambda path: save_file(load_file(path) | {"mean": np.full(5, np.nan, np.float32)}, path, {"settings": "{}"}),
        lambda path: save_file({"mean": np.zeros(5, np.float32)}, path, {"settings": "{}"}),
    ],
)
def test_a_damaged_codebook_is_refused(tmp_path, damage):
    path = tmp_path / "codebook.safetensors"
    fitted().save(path)
    damage(path)
    with pytest.raises(UserError, match=r"codebook\.safetensors: the codebook cannot be read"):
        Codebook.load(path)


def test_a_missing_codebook_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is missing\. Expected the codebook of a run"):
        Codebook.load(tmp_path / "none.safetensors")
