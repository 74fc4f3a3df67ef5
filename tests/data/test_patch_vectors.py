"""Vectors of patches as the sentence V: stored, batched, kept in a run, and computed again for a single article."""

import io
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from safe_exp.config import StoredCaptioner, VectorsConfig
from safe_exp.data.article_encoder import ArticleEncoder, make_batch
from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners import build_image_captioner
from safe_exp.data.captioners.patches import PatchesCaptioner
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.embedded import EmbeddedSentences
from safe_exp.data.labelled_folder import encode_folder
from safe_exp.data.patch_vectors import JoinedSentences, fit_patch_standardiser, join_patches
from safe_exp.data.prepared import pictures, prepare
from safe_exp.data.prepared.patch_store import _open_once, open_patch_store
from safe_exp.data.reading.articles import Article, StoredPicture
from safe_exp.data.reading.readers import build_reader
from safe_exp.equations import safe_loss
from safe_exp.network.variants import embed_batch, variants
from safe_exp.system.errors import UserError
from tests.data.picture_tables import GALLERIES, picture_bytes, write_table
from tests.made import compose_config

PATCHES, DIM = 4, 6
MODULE = "patches_of_a_test"
SOURCE = """
import numpy as np

def describe(images, side=2):
    '''Mean and spread of the colours of side x side parts of each picture.'''
    found = []
    for image in images:
        pixels = np.asarray(image.resize((8 * side, 8 * side)), np.float64) / 255
        parts = pixels.reshape(side, 8, side, 8, 3).swapaxes(1, 2).reshape(side * side, 64, 3)
        found.append(np.concatenate([parts.mean(1), parts.std(1)], axis=1))
    return np.stack(found)
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A module with a callable, which leaves no trace."""
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    pictures._open_captioner.cache_clear()
    yield
    sys.modules.pop(MODULE, None)


def config(tmp_path, galleries=GALLERIES, *overrides):
    path = write_table(tmp_path / "t.parquet", galleries)
    chosen = ["captioner=patches", f"captioner._target_={MODULE}.describe", "data.workers=1", *overrides]
    composed = compose_config("data=table", f"data.root={path}", f"data.prepared={tmp_path / 'prepared'}", *chosen)
    return composed.data, composed.captioner


def expected_vectors(captioner, numbers):
    """The vectors of pictures by a direct call, as they are stored."""
    images = [Image.open(io.BytesIO(picture_bytes(number))).convert("RGB") for number in numbers]
    found = build_image_captioner(captioner).describe(images)
    return np.concatenate([grid.sequence for grid in found]).astype(np.float16).astype(np.float32)


def test_the_sentence_is_the_vectors_of_an_article_s_pictures_one_after_the_other(tmp_path):
    data, captioner = config(tmp_path, GALLERIES, "data.max_visual_tokens=8")
    prepared = prepare(data, captioner)
    taken = [[3, 1], [4], [], [5], [6, 7], [], [9]]  # two pictures of four patches have room; a broken one has none
    sentences = join_patches(prepared)
    assert sentences.dim == DIM
    for row, numbers in enumerate(taken):
        found = sentences.sentence(row).float().numpy()
        if numbers:
            np.testing.assert_array_equal(found, expected_vectors(captioner, numbers))
        assert len(found) == PATCHES * len(numbers) == sentences.widths[row]
    assert [reason is None for reason in prepared.no_visual] == [bool(numbers) for numbers in taken]
    assert prepared.manifest["images"]["used"] == 7
    assert prepared.manifest["images"]["beyond_max_visual_tokens"] == 2


def test_a_picture_is_described_once_whatever_the_number_of_data_sets(tmp_path, monkeypatch):
    data, captioner = config(tmp_path)
    prepare(data, captioner)
    monkeypatch.setattr(PatchesCaptioner, "describe", None)
    again = prepare(replace(data, max_text_tokens=5), captioner)
    assert len(join_patches(again).widths) == len(GALLERIES)


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_vectors_that_the_store_has_lost_are_computed_again(tmp_path, damage):
    data, captioner = config(tmp_path)
    before = join_patches(prepare(data, captioner))
    expected = [before.sentence(row).clone() for row in range(len(GALLERIES))]
    folder = open_patch_store(tmp_path / "prepared", build_image_captioner(captioner).settings).folder
    if damage == "lost":
        shutil.rmtree(folder)
    else:
        file = next(folder.glob("*.npy"))
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(bytes(content))
    _open_once.cache_clear()  # as in another process
    pictures._open_captioner.cache_clear()
    again = join_patches(prepare(data, captioner))
    assert all(torch.equal(again.sentence(row), expected[row]) for row in range(len(GALLERIES)))


def test_another_callable_makes_another_data_set(tmp_path):
    data, captioner = config(tmp_path)
    first = prepare(data, captioner)
    second = prepare(data, replace(captioner, arguments={"side": 3}))
    assert first.folder != second.folder
    assert join_patches(second).widths[3] == 9


# Joined sentences.


def joined():
    blocks = (torch.arange(24, dtype=torch.float16).view(8, 3), torch.ones(2, 3, dtype=torch.float16))
    places = np.array([0, 1, 0]), np.array([0, 0, 5]), np.array([3, 2, 3])
    return JoinedSentences.join(EmbeddedSentences.from_places(blocks, *places, 3), np.array([2, 0, 1])), blocks


def test_joined_sentences_are_selected_as_others_are():
    sentences, (first, second) = joined()
    assert sentences.widths.tolist() == [5, 0, 3]
    rows = np.array([2, 0, 1])
    vectors, lengths = sentences.rows(rows, torch.from_numpy(rows), 5)
    assert lengths.tolist() == [3, 5, 0]
    expected = torch.zeros(3, 5, 3)
    expected[0, :3] = first[5:].float()
    expected[1] = torch.cat([first[:3], second]).float()
    assert torch.equal(vectors, expected)


def test_joined_sentences_are_one_sequence_each_on_a_device():
    sentences, _ = joined()
    moved = sentences.to(torch.device("cpu"))
    assert type(moved) is EmbeddedSentences
    rows = np.arange(3)
    assert torch.equal(
        moved.rows(rows, torch.from_numpy(rows), 5)[0], sentences.rows(rows, torch.from_numpy(rows), 5)[0]
    )


def test_standardised_patches_have_mean_0_and_a_mean_squared_length_of_1():
    sentences, _ = joined()
    fitted = fit_patch_standardiser(sentences, np.array([0, 2]))
    vectors = fitted.apply(torch.cat([sentences.sentence(0), sentences.sentence(2)]).float())
    torch.testing.assert_close(vectors.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(vectors.square().sum(1).mean(), torch.tensor(1.0))


# A run.


@pytest.fixture
def trained(tmp_path):
    """Data module of 24 articles, the n-th with the pictures n and n + 100."""
    galleries = [[number, number + 100] for number in range(24)]
    data, captioner = config(tmp_path, galleries, "data.max_visual_tokens=8")
    module = FakeNewsNetDataModule(data, captioner, VectorsConfig(path=None, dim=5, seed=0), seed=0)
    module.prepare_data()
    module.setup()
    return module


def test_batches_hold_standardised_vectors_and_a_run_keeps_what_scores_others(trained, tmp_path):
    rows = trained.split.train
    batch = trained.encoded.__getitems__(rows.tolist())
    assert batch.visual_tokens.shape == (len(rows), 2 * PATCHES, DIM)
    torch.testing.assert_close(batch.visual_tokens.mean(dim=(0, 1)), torch.zeros(DIM), atol=1e-5, rtol=0)
    assert batch.visual_tokens.square().sum(2).mean().item() == pytest.approx(1, rel=1e-4)
    assert trained.visual_vectors.shape == (1, DIM)
    trained.save_artifacts(tmp_path / "artifacts")
    stored = Artifacts.load(tmp_path / "artifacts")
    assert stored.manifest["patches"]["dim"] == DIM
    assert "patches" in dict(trained.summary())
    assert "captions" not in dict(trained.summary())["cut"]
    raw = replace(trained.captioner, standardise=False)
    plain = FakeNewsNetDataModule(trained.data, raw, trained.vectors, seed=0)
    plain.setup()
    np.testing.assert_array_equal(plain.encoded[3].visual_tokens[0].numpy(), expected_vectors(raw, [3, 103]))


@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("variant", ["safe", "visual_only", "similarity_only"])
def test_the_closed_form_is_autograd_s_with_patches_as_the_sentence(trained, variant, similarity_loss):
    weights = {"safe": (0.6, 0.4), "visual_only": (1.0, 0.0), "similarity_only": (0.0, 1.0)}[variant]
    model = compose_config(
        f"model={variant}", "model.num_filters=3", "model.feature_dim=4", f"model.alpha={weights[0]}",
        f"model.beta={weights[1]}", f"model.similarity_loss={similarity_loss}",
    ).model  # fmt: skip
    torch.manual_seed(0)
    text, visual = trained.text_vectors.double(), trained.visual_vectors.double()
    network = variants[variant].build(model, text.shape[1], visual.shape[1]).double()
    batch = trained.encoded.__getitems__(trained.split.train.tolist())
    sentences = embed_batch(model, batch, text, visual)
    assert sentences["visual"].dtype == torch.float64
    _, losses, gradients = variants[variant].step(network, batch.label, **sentences, **model.loss_settings)
    total = safe_loss(network(**sentences), batch.label, **model.loss_settings).total
    total.backward()
    torch.testing.assert_close(losses.total, total, rtol=1e-12, atol=1e-12)
    for name, weight in network.named_parameters():
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(gradients[name], expected, rtol=1e-9, atol=1e-12)


def test_a_model_that_reads_no_image_reads_no_vectors(trained):
    module = FakeNewsNetDataModule(trained.data, trained.captioner, trained.vectors, seed=0, reads=("text",))
    module.setup()
    assert module.encoded[3].visual_tokens.shape == (1, 0)
    assert "patches" not in module.manifest()


def given(stored, **named):
    return replace(stored, given=StoredCaptioner(**named))


def test_an_article_is_read_as_the_run_read_its_own(trained):
    stored = given(trained._stored, _target_=f"{MODULE}.describe")
    reader = build_reader(trained.data, trained.captioner, labelled=False)
    articles = [reader.read(item) for item in reader.items()]
    found = ArticleEncoder(stored, ("text", "visual")).encode(articles[:3], reader.image_root)
    for row, item in enumerate(found):
        np.testing.assert_array_equal(item.visual_tokens, trained.encoded[row].visual_tokens[0])
        assert item.visual_words == ["r0c0", "r0c1", "r1c0", "r1c1"] * 2
        assert item.grids == [[(2, 2)]] * 2
        assert len(item.images) == 2
    torch.testing.assert_close(make_batch(found).visual_tokens, trained.encoded.__getitems__([0, 1, 2]).visual_tokens)


def test_a_caption_replaces_no_picture_and_an_article_may_lack_both(trained):
    settings = trained._stored.manifest["settings"] | {"require": ["text"]}
    stored = replace(trained._stored, manifest=trained._stored.manifest | {"settings": settings})
    encoder = ArticleEncoder(given(stored, _target_=f"{MODULE}.describe"), ("text", "visual"))
    picture = StoredPicture("p", picture_bytes(1))
    with_picture, without = encoder.encode(
        [
            Article("a", None, "", "words", caption="a boat", images=(picture,)),
            Article("b", None, "", "words", "a boat"),
        ]
    )
    assert with_picture.visual_tokens.shape == (PATCHES, DIM)
    assert without.visual_tokens.shape == (0, DIM)
    assert make_batch([without, with_picture]).visual_lengths.tolist() == [0, PATCHES]


def test_a_folder_is_scored_with_the_run_s_own_patches(trained, tmp_path):
    stored = given(trained._stored, _target_=f"{MODULE}.describe")
    scored = encode_folder(trained.data, [stored], ("text", "visual"))
    batch = next(iter(scored.loaders[0]))
    own = trained.encoded.__getitems__(batch.index.tolist())
    assert torch.equal(batch.visual_tokens, own.visual_tokens)


def test_nothing_that_a_stored_run_names_is_run(trained, monkeypatch):
    refuse = r"names is run by itself.*captioner\._target_=patches_of_a_test\.describe"
    monkeypatch.setitem(sys.modules, MODULE, None)  # an import would fail in another way
    for read in (
        lambda: ArticleEncoder(trained._stored, ("text", "visual")),
        lambda: encode_folder(trained.data, [trained._stored], ("text", "visual")),
    ):
        with pytest.raises(UserError, match=refuse):
            read()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"_target_": f"{MODULE}.missing"}, r"must be at hand\. .*there is no such callable"),
        ({"_target_": f"{MODULE}.describe", "arguments": {"side": 3}}, r"describe is another one \(digest \w{12}, of"),
    ],
)
def test_a_callable_that_is_not_the_run_s_is_refused(trained, named, message):
    with pytest.raises(UserError, match=message):
        ArticleEncoder(given(trained._stored, **named), ("text", "visual"))


def test_articles_without_a_picture_cannot_be_read_by_patches(tmp_path):
    data, captioner = config(tmp_path, [[], [], [], []])
    prepared = prepare(data, captioner)
    with pytest.raises(UserError, match="no image that could be described, and the run reads vectors of patches"):
        join_patches(prepared)
