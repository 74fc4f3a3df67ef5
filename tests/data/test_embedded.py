import numpy as np
import torch

from safe_exp.data.embedded import EmbeddedSentences, fit_standardiser
from safe_exp.data.encoded import EncodedArticles, NewsLoader, Sentences
from safe_exp.data.sampler import ArticleOrder, GlobalBatches

VECTORS = torch.arange(24, dtype=torch.float16).view(8, 3)


def sentences(standardiser=None):
    """Two blocks, of sentences of 2, 3, 0 and 3 vectors."""
    blocks, starts = (VECTORS[:5], VECTORS[5:]), np.array([0, 2, 0, 0])
    found = EmbeddedSentences.from_places(blocks, np.array([0, 0, 1, 1]), starts, np.array([2, 3, 0, 3]), 3)
    return found if standardiser is None else EmbeddedSentences(**{**vars(found), "standardiser": standardiser})


def articles():
    visual = Sentences.from_matrix(np.tile(np.array([[4, 9]], np.int32), (4, 1)))
    return EncodedArticles(sentences(), visual, torch.tensor([0, 1, 0, 1]), torch.tensor([1, 0, 0, 2]))


def test_a_batch_of_vectors_is_trimmed_and_padded_with_zeros():
    batch = articles().__getitems__([3, 0])
    expected = torch.zeros(2, 3, 3)
    expected[0], expected[1, :2] = VECTORS[5:].float(), VECTORS[:2].float()
    assert torch.equal(batch.text_tokens, expected)
    assert batch.text_lengths.tolist() == [3, 2]
    assert batch.visual_tokens.tolist() == [[4, 9]] * 2


def test_sentences_gathered_on_a_device_are_those_copied_on_the_host():
    flat = sentences().to(torch.device("cpu"))  # one block
    rows = np.array([1, 2, 3])
    copied = sentences().rows(rows, torch.from_numpy(rows), 4)[0]
    padding = torch.arange(4) >= flat.lengths[rows][:, None]
    assert torch.equal(flat._gather(rows, 4).float().masked_fill(padding[..., None], 0), copied)
    assert copied.count_nonzero() > 0


def test_a_loader_selects_batches_where_the_articles_lie_and_reads_nothing_back():
    batches = GlobalBatches(ArticleOrder(np.arange(4), seed=0), 2)
    for batch in NewsLoader(articles().to(torch.device("meta")), batches):
        assert batch.text_tokens.shape == (2, 3, 3)
        assert all(part.device.type == "meta" for part in batch if part is not None)


def test_standardised_vectors_have_mean_0_and_deviation_1_and_padding_stays_zero():
    fitted = fit_standardiser(sentences(), np.array([0, 3]))
    used = torch.cat([VECTORS[:2], VECTORS[5:]]).double()
    torch.testing.assert_close(fitted.mean, used.mean(0).float())
    torch.testing.assert_close(fitted.scale, used.std(0, unbiased=False).float())
    rows = np.array([0, 3])
    vectors, lengths = sentences(fitted).rows(rows, torch.from_numpy(rows), 5)
    padding = torch.arange(5) >= lengths[:, None]
    assert (vectors[padding] == 0).all()
    torch.testing.assert_close(vectors[~padding].mean(0), torch.zeros(3))


def test_sentences_that_are_all_empty_need_no_block():
    nothing = EmbeddedSentences.from_places([], np.zeros(2, int), np.zeros(2, int), np.zeros(2, int), 3)
    for found in (nothing, nothing.to(torch.device("cpu"))):
        vectors, lengths = found.rows(np.array([0, 1]), torch.tensor([0, 1]), 0)
        assert vectors.shape == (2, 0, 3)
        assert lengths.tolist() == [0, 0]
    assert nothing.to(torch.device("cpu"))._gather(np.array([1]), 2).tolist() == [[[0, 0, 0]] * 2]


def test_a_dimension_that_never_changes_is_centred_alone():
    blocks = (torch.ones(4, 2, dtype=torch.float16),)
    constant = EmbeddedSentences.from_places(blocks, np.zeros(1, int), np.zeros(1, int), np.array([4]), 2)
    assert fit_standardiser(constant, np.array([0])).scale.tolist() == [1, 1]
