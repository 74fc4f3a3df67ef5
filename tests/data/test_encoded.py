import numpy as np
import torch

from safe_exp.data.encoded import encode_articles, news_loader
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.data.text import build_tokenizer
from tests.data.folders import article

TEXTS = ["red", "red boat sea", "", "boat red", "sea sea sea sea sea"]


def encoded(max_text_tokens=4):
    tokenizer = build_tokenizer([*TEXTS, "a caption"], 1)
    articles = [article(number, number % 2, text=text) for number, text in enumerate(TEXTS)]
    return tokenizer, encode_articles(articles, tokenizer, max_text_tokens, 9)


def test_a_batch_is_trimmed_to_its_longest_article():
    tokenizer, data = encoded()
    batch = data.__getitems__([3, 0])
    number = tokenizer.token_to_id
    assert batch.text_tokens.tolist() == [[number("boat"), number("red")], [number("red"), 0]]
    assert batch.visual_tokens.tolist() == [[number("a"), number("caption")]] * 2
    assert batch.text_lengths.tolist() == [2, 1]
    assert batch.label.tolist() == [1, 0]
    assert batch.index.tolist() == [3, 0]
    assert all(part.dtype == torch.int64 for part in batch)


def test_a_batch_of_empty_texts_has_no_columns():
    _, data = encoded()
    assert data[2].text_tokens.shape == (1, 0)
    assert data[2].text_lengths.tolist() == [0]


def test_title_comes_before_body_and_long_texts_are_cut():
    _, data = encoded(max_text_tokens=4)
    assert data.text.tokens.shape == (5, 4)
    assert data.text.cut == 1


def test_a_loader_yields_every_row_once_and_leaves_the_global_generator_alone():
    _, data = encoded()
    loader = news_loader(data, GlobalBatches(ArticleOrder(np.arange(5), seed=0), 2))
    state = torch.get_rng_state()
    rows = [row for batch in loader for row in batch.index.tolist()]
    assert sorted(rows) == list(range(5))
    assert torch.equal(torch.get_rng_state(), state)
