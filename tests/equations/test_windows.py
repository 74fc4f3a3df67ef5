"""Word numbers and a table give what the word vectors themselves give: the same scores, verdicts and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.equations import Words, closed_form_gradients
from safe_exp.equations.released import released_step
from safe_exp.equations.windows import (
    LARGE_PRODUCT,
    FilterBank,
    best_windows,
    distinct_words,
    fastest_form,
    multiply_rows,
)
from safe_exp.network import SafeNetwork
from safe_exp.network.released_network import ReleasedNetwork
from safe_exp.network.safe_network import VARIANTS
from tests.equations.reference import assert_same_gradients, draw_network, gradients_by_autograd


def draw_sentences(seed=0, batch=6, length=9, visual_length=7, vocabulary=12):
    """Word numbers up to `vocabulary`, of which some occur often, and two tables whose row 0 is zero."""
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randn(vocabulary, dim, generator=generator, dtype=torch.float64) for dim in (5, 6)]
    sentences = []
    for table, size in zip(tables, (length, visual_length), strict=True):
        table[0] = 0
        sentences.append(Words(table, torch.randint(1, vocabulary, (batch, size), generator=generator)))
    return (*sentences, torch.arange(batch) % 2)


def embed(words):
    return words.vectors[words.tokens]


@pytest.mark.parametrize("vocabulary", [8, 500])  # taken as it is, or made smaller
@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_from_word_numbers_match_autograd_on_word_vectors(variant, similarity_loss, with_lengths, vocabulary):
    net = draw_network(1, variant)
    text, visual, label = draw_sentences(1, vocabulary=vocabulary)
    chosen = dict(label=label, alpha=0.6, beta=0.4, similarity_loss=similarity_loss)
    if with_lengths:
        chosen |= dict(text_lengths=torch.tensor([9, 0, 2, 3, 8, 5]), visual_lengths=torch.tensor([1, 7, 3, 4, 0, 6]))
    ours = closed_form_gradients(net, text, visual, **chosen)
    assert_same_gradients(ours, gradients_by_autograd(net, embed(text), embed(visual), **chosen))
    assert_same_gradients(gradients_by_autograd(net, text, visual, **chosen), ours)  # this way has a derivative as well


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_word_numbers_match_word_vectors_for_drawn_shapes(data):
    batch, vocabulary = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 30))
    length, visual_length = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    filter_sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True))
    net = draw_network(data.draw(st.integers(0, 99)), "safe", filter_sizes, data.draw(st.integers(1, 4)))
    text, visual, label = draw_sentences(3, batch, length, visual_length, vocabulary)
    chosen = dict(
        label=label, alpha=0.6, beta=0.4,
        text_lengths=torch.tensor(data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))),
    )  # fmt: skip
    ours = closed_form_gradients(net, text, visual, **chosen)
    assert_same_gradients(ours, closed_form_gradients(net, embed(text), embed(visual), **chosen), rtol=1e-8, atol=1e-10)


def test_what_stands_past_a_length_is_never_read_from_the_table():
    net = draw_network(2)
    text, visual, label = draw_sentences(2)
    chosen = dict(label=label, alpha=0.6, beta=0.4, text_lengths=torch.tensor([9, 0, 2, 3, 8, 5]))
    clean = closed_form_gradients(net, text, visual, **chosen)
    for row, n in zip(text.tokens, chosen["text_lengths"], strict=True):
        row[n:] = 11
    assert_same_gradients(closed_form_gradients(net, text, visual, **chosen), clean, rtol=0, atol=0)


def test_only_the_words_that_occur_are_kept_of_a_large_table():
    vectors = torch.arange(20.0)[:, None]
    words = distinct_words(Words(vectors, torch.tensor([[7, 0, 7], [3, 19, 3]])))
    assert words.vectors.flatten().tolist() == [0, 3, 7, 19]
    assert embed(words).squeeze(2).tolist() == [[7, 0, 7], [3, 19, 3]]
    few = Words(vectors[:5], torch.arange(20).view(2, 10) % 5)
    assert distinct_words(few) is few  # a small table is taken as it is


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_filters", [1, 5, 64])
def test_the_best_window_is_the_first_of_equals_among_those_that_exist(num_filters, dtype):
    scores = torch.randint(0, 4, (3, 11, num_filters), generator=torch.Generator().manual_seed(0)).to(dtype)
    lengths = torch.tensor([12, 5, 0])  # with h = 2: 11, 4 and, of a sentence shorter than h, 1 window
    values, positions = best_windows(scores.clone(), lengths, width=2)
    for b, windows in enumerate((11, 4, 1)):
        for k in range(num_filters):
            column = scores[b, :windows, k].tolist()
            assert values[b, k] == max(column)
            assert positions[b, k] == column.index(max(column))


def test_a_table_whose_vectors_do_not_fit_the_filters_is_refused():
    text, visual, label = draw_sentences()
    with pytest.raises(ValueError, match=r"shape \(6, 7, 6\); the filters expect \(B, L, 5\)"):
        closed_form_gradients(draw_network(), visual, text, label, alpha=1.0, beta=1.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.06)])
def test_lower_precision_lies_within_rounding_of_float64(dtype, tolerance):
    net = draw_network(22)
    text, visual, label = (
        Words(part.vectors.to(dtype).double(), part.tokens) if isinstance(part, Words) else part
        for part in draw_sentences(22)
    )
    for parameter in net.parameters():
        parameter.data = parameter.data.to(dtype).double()
    chosen = dict(label=label, alpha=0.6, beta=0.4)
    exact = closed_form_gradients(net, text, visual, **chosen)
    text, visual = (Words(words.vectors.to(dtype), words.tokens) for words in (text, visual))
    rounded = closed_form_gradients(net.to(dtype), text, visual, **chosen)
    ours = torch.cat([gradient.double().flatten() for gradient in rounded.values()])
    reference = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert (ours - reference).norm() / reference.norm() < tolerance


@pytest.mark.parametrize("rows", [1, 15, 16, 1000, 3001])
@pytest.mark.parametrize(("dim", "others"), [(32, 900), (300, 33)])
def test_products_of_rows_are_those_of_float64_whichever_library_computes_them(rows, dim, others):
    generator = torch.Generator().manual_seed(rows)
    left, right = torch.randn(rows, dim, generator=generator), torch.randn(dim, others, generator=generator).T
    assert (rows * dim * others >= LARGE_PRODUCT) == (rows >= 1000)  # both ways are tried
    found = multiply_rows(left, right)
    torch.testing.assert_close(found.double(), left.double() @ right.double().T, rtol=1e-5, atol=1e-4)
    assert found.is_contiguous()


def draw_rarely_repeated(vocabulary, dim, batch=40, length=100):
    """Float32 sentences, and their table, in which about 6 of 10 words of a batch are distinct ones."""
    generator = torch.Generator().manual_seed(7)
    table = torch.randn(vocabulary, dim, generator=generator)
    table[0] = 0
    return Words(table, torch.randint(1, vocabulary, (batch, length), generator=generator))


def test_words_that_rarely_repeat_are_looked_up_and_give_the_gradients_of_float64():
    net = SafeNetwork(32, 32, [3, 4], 64, 8)
    text, visual, label = draw_rarely_repeated(5000, 32), draw_rarely_repeated(300, 32), torch.arange(40) % 2
    filters = net.weights().text.filters
    assert not isinstance(fastest_form(text, filters), Words)
    assert isinstance(fastest_form(visual, filters), Words)  # its words repeat
    lengths = torch.arange(40) * 2 % 101
    chosen = dict(label=label, alpha=0.6, beta=0.4, text_lengths=lengths)
    found = closed_form_gradients(net, text, visual, **chosen)
    exact = closed_form_gradients(
        net.double(), *(Words(w.vectors.double(), w.tokens) for w in (text, visual)), **chosen
    )
    for name, gradient in found.items():
        torch.testing.assert_close(gradient.double(), exact[name], rtol=1e-3, atol=1e-6)


def test_the_form_is_chosen_by_the_words_that_occur_and_not_by_the_table():
    filters = [FilterBank(torch.zeros(64, 3, 32), torch.zeros(64))]
    rare, table = draw_rarely_repeated(5000, 32), torch.zeros(90_000, 32)
    assert not isinstance(fastest_form(Words(table, rare.tokens), filters), Words)
    assert isinstance(fastest_form(Words(table, rare.tokens % 500), filters), Words)
    assert isinstance(fastest_form(Words(table, rare.tokens[:1]), filters), Words)  # too few to gain anything
    assert isinstance(fastest_form(Words(table.double(), rare.tokens), filters), Words)


def test_the_released_network_chooses_by_the_mapped_words():
    net = ReleasedNetwork(vector_dim=60, word_dim=32, filter_sizes=[3, 4], num_filters=64, feature_dim=8)
    words = draw_rarely_repeated(5000, 60)
    arguments = dict(label=torch.arange(40) % 2, alpha=0.6, beta=0.4)
    _, _, found = released_step(net, **arguments, headline=words, body=words, visual=words)
    words = Words(words.vectors.double(), words.tokens)
    _, _, exact = released_step(net.double(), **arguments, headline=words, body=words, visual=words)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient.double(), exact[name], rtol=1e-3, atol=1e-6)
