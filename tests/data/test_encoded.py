from dataclasses import replace

import numpy as np
import torch

from safe_exp.data.encoded import EncodedArticles, NewsLoader, Sentences, count_words
from safe_exp.data.sampler import ArticleOrder, GlobalBatches

TEXT = np.array([[3, 0, 0], [3, 1, 2], [0, 0, 0], [1, 3, 0], [2, 2, 2]], np.int32)  # stored numbers
VOCABULARY = np.array([0, 5, 1, 7])  # 1 is word 5 of the vocabulary, 2 is unknown to it, 3 is word 7


def encoded():
    visual = Sentences.from_matrix(np.tile(np.array([[4, 9]], np.int32), (5, 1)))
    return EncodedArticles(
        Sentences.from_matrix(TEXT, VOCABULARY), visual, torch.tensor([0, 1, 0, 1, 0]), torch.tensor([1, 0, 2, 0, 3])
    )


def test_a_batch_is_trimmed_to_its_longest_article_and_numbered_by_the_vocabulary():
    batch = encoded().__getitems__([3, 0])
    assert batch.text_tokens.tolist() == [[5, 7], [7, 0]]
    assert batch.visual_tokens.tolist() == [[4, 9]] * 2
    assert batch.text_lengths.tolist() == [2, 1]
    assert batch.label.tolist() == [1, 0]
    assert batch.index.tolist() == [3, 0]
    assert batch.title_lengths.tolist() == [0, 1]
    assert batch.weight is None
    assert all(part.dtype == torch.int64 for part in batch[:-1])


def weighed():
    return replace(encoded(), weight=torch.tensor([0.5, 2.0, 1.0, 0.25, 1.25]))


def test_weights_travel_with_their_articles_and_with_the_batch_to_its_device():
    batch = weighed().__getitems__([3, 0])
    assert batch.weight.tolist() == [0.25, 0.5]
    assert weighed().nbytes == encoded().nbytes + 4 * 5
    assert batch.to("meta").weight.device.type == "meta"
    assert encoded()[0].to("meta").weight is None


def test_a_batch_of_empty_texts_has_no_columns():
    batch = encoded()[2]
    assert batch.text_tokens.shape == (1, 0)
    assert batch.text_lengths.tolist() == [0]


def test_words_are_counted_in_the_named_rows_alone():
    assert count_words(TEXT, np.array([1, 3]), 4).tolist() == [2, 1, 2, 0]
    assert count_words(TEXT, np.array([], np.int64), 4).tolist() == [0, 0, 0, 0]
    assert count_words(np.zeros((5, 0), np.int32), np.arange(5), 2).tolist() == [0, 0]


def test_a_loader_yields_every_row_once_and_leaves_the_global_generator_alone():
    loader = NewsLoader(encoded(), GlobalBatches(ArticleOrder(np.arange(5), seed=0), 2))
    state = torch.get_rng_state()
    rows = [row for batch in loader for row in batch.index.tolist()]
    assert sorted(rows) == list(range(5))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loader_selects_batches_where_the_articles_lie_and_reads_nothing_back():
    """Meta tensors hold no numbers: a loader that read one from the device would fail."""
    batches = GlobalBatches(ArticleOrder(np.arange(5), seed=0), 2)
    articles = weighed()
    on_host, on_device = NewsLoader(articles, batches), NewsLoader(articles.to(torch.device("meta")), batches)
    for ours, theirs in zip(on_device, on_host, strict=True):
        assert ours.text_tokens.shape == (len(theirs.label), 3)  # not trimmed: there widths go by WIDTH_STEP
        assert [part.shape for part in ours[1:]] == [part.shape for part in theirs[1:]]
        assert all(part.device.type == "meta" for part in ours)


def test_what_articles_take_on_a_device_grows_with_their_tokens():
    assert encoded().nbytes == 4 * (5 * 3 + 5 * 2) + 8 * (4 * 5 + len(VOCABULARY))
