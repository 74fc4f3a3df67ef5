"""Articles of a table, encoded one by one for a stored run as the run encoded its own."""

import numpy as np
import pytest

from safe_exp.data.article_encoder import ArticleEncoder, make_batch
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.encoded import encode_prepared
from safe_exp.data.prepared import prepare
from safe_exp.data.reading.articles import Article, LeftOut, StoredPicture
from safe_exp.data.reading.readers import build_reader
from tests.data.picture_tables import GALLERIES, PATCHES, picture_bytes, single_pictures, table_config, write_table
from tests.data.tiny_transformers import bert, vectors_config


@pytest.fixture
def singles():
    return single_pictures()


def encoder(singles, max_visual_tokens):
    stored = singles._stored
    settings = stored.manifest["settings"] | {"max_visual_tokens": max_visual_tokens}
    stored = type(stored)(stored.tokenizer, stored.text_vectors, stored.visual_vectors, stored.codebook,
                          {**stored.manifest, "settings": settings})  # fmt: skip
    return ArticleEncoder(stored, ("text", "visual"))


@pytest.mark.parametrize("bound", [1, 10, 100])
def test_several_pictures_give_the_words_on_which_a_run_was_trained(bound, singles, tmp_path):
    """Read without labels, as predict reads them, a few at a time."""
    path = write_table(tmp_path / "t.parquet", GALLERIES)
    data, captioner = table_config(path, f"data.max_visual_tokens={bound}")
    prepared = prepare(data, captioner)
    trained = encode_prepared(prepared, singles._stored.tokenizer, singles._stored.codebook)
    reader = build_reader(data, captioner, labelled=False)
    articles = [reader.read(item) for item in reader.items()]
    assert {article.label for article in articles} == {None}
    asked = encoder(singles, bound)
    found = asked.encode(articles[:3], reader.image_root) + asked.encode(articles[3:], reader.image_root)
    for row, item in enumerate(found):
        if prepared.no_visual[row]:
            assert (type(item), item.reason) == (LeftOut, prepared.no_visual[row])
            continue
        np.testing.assert_array_equal(item.visual_tokens, trained[row].visual_tokens[0])
        np.testing.assert_array_equal(item.text_tokens, trained[row].text_tokens[0])
        assert len(item.images) * PATCHES == len(item.visual_words) == len(item.visual_tokens)


def test_visual_words_are_numbers_where_texts_are_hidden_states(tmp_path):
    """An article that lacks a picture stands in one batch with one that has it."""
    galleries = [[number] if number % 4 else [] for number in range(24)]
    data, captioner = table_config(write_table(tmp_path / "t.parquet", galleries), "data.require=[text]")
    module = FakeNewsNetDataModule(data, captioner, vectors_config(bert(), -1), seed=0)
    module.setup()
    picture = StoredPicture("p", picture_bytes(3))
    asked = [Article("a", None, "", "words"), Article("b", None, "", "words", images=(picture,))]
    batch = make_batch(ArticleEncoder(module._stored, ("text", "visual")).encode(asked))
    assert batch.text_tokens.is_floating_point()
    assert not batch.visual_tokens.is_floating_point()
    assert batch.visual_lengths.tolist() == [0, PATCHES]


def test_pictures_for_which_there_is_no_room_are_not_read(singles):
    good, bad = StoredPicture("good", picture_bytes(1)), StoredPicture("bad", b"no image")
    (item,) = encoder(singles, 1).encode([Article("a", None, "", "words", images=(bad, good, bad))])
    assert len(item.images) == 1
    (refused,) = encoder(singles, 1).encode([Article("a", None, "", "words", images=(bad, bad))])
    assert refused == LeftOut("a", "not an image", "bad: starts with b'no image'")
