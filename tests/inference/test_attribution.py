"""Contributions of windows against the network run again, and against words taken away."""

import pytest
import torch

from safe_exp.equations.released import released_forward
from safe_exp.equations.safe import safe_forward
from safe_exp.inference import attribution
from safe_exp.inference.attribution import list_phrases
from safe_exp.network import SafeNetwork
from safe_exp.network.released_network import ReleasedNetwork
from safe_exp.network.safe_network import VARIANTS
from safe_exp.network.variants import variants

LENGTHS = torch.tensor([9, 1, 0, 5])  # with sentences shorter than a window


def draw_network(variant="safe", dtype=torch.float64, seed=0):
    """Draw a small network and four articles; return them with the forward pass."""
    torch.manual_seed(seed)
    network = SafeNetwork(5, 3, [2, 4], num_filters=6, feature_dim=7, variant=variant).to(dtype)
    text, visual = torch.randn(4, 9, 5, dtype=dtype), torch.randn(4, 6, 3, dtype=dtype)
    return network, text, visual, run(network, text, visual)


def run(network, text, visual):
    with torch.no_grad():
        return safe_forward(network.weights(), text, visual, LENGTHS, LENGTHS.clamp(max=6))


def logit_parts(cache, variant="safe"):
    return attribution.logit_parts(cache, variants[variant].encoders(cache))


def cosine_parts(cache, variant="safe"):
    return attribution.cosine_parts(cache, variants[variant].encoders(cache))


def sum_parts(parts):
    return parts.constant + sum(side.filters.sum(dim=1) for side in parts.sides.values())


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "similarity_only"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_parts_add_up_to_the_logit_of_the_network(variant, dtype, tolerance):
    _, _, _, (output, cache) = draw_network(variant, dtype)
    logit = output.logits[:, 0] - output.logits[:, 1]
    torch.testing.assert_close(sum_parts(logit_parts(cache)), logit, rtol=0, atol=tolerance)
    torch.testing.assert_close(torch.sigmoid(logit_parts(cache).total), output.probability, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_each_side_s_parts_add_up_to_the_cosine(dtype, tolerance):
    _, _, _, (output, cache) = draw_network("similarity_only", dtype)
    for parts in cosine_parts(cache).values():
        torch.testing.assert_close(sum_parts(parts), 2 * output.similarity - 1, rtol=0, atol=tolerance)
    assert logit_parts(cache) is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_released_architecture_s_three_channels_add_up_too(dtype, tolerance):
    torch.manual_seed(0)
    network = ReleasedNetwork(5, 3, [2, 4], num_filters=6, feature_dim=7).to(dtype)
    channels = [torch.randn(4, length, 5, dtype=dtype) for length in (3, 9, 6)]
    lengths = [LENGTHS.clamp(max=channel.shape[1]) for channel in channels]
    with torch.no_grad():
        output, cache = released_forward(network.weights(), *channels, *lengths)
    logit, cosines = logit_parts(cache, "released"), cosine_parts(cache, "released")
    assert list(logit.sides) == ["headline", "body", "image"]
    torch.testing.assert_close(sum_parts(logit), output.logits[:, 0] - output.logits[:, 1], rtol=0, atol=tolerance)
    for parts in cosines.values():
        torch.testing.assert_close(sum_parts(parts), 2 * output.similarity - 1, rtol=0, atol=tolerance)
    for side in [*logit.sides.values(), *cosines["text"].sides.values(), *cosines["image"].sides.values()]:
        shared = side.words.sum(dim=1) + side.filter_biases
        torch.testing.assert_close(shared, side.filters.sum(dim=1), rtol=0, atol=tolerance)


def find_windows(network, words):
    """Find each filter's best window by loops over one text (L, E); yield its value after ReLU, start and width."""
    for bank in network.text_encoder.filters:
        width = bank.weight.shape[1]
        padded = torch.zeros(max(len(words), width), 5, dtype=torch.float64)
        padded[: len(words)] = words
        for weight, bias in zip(bank.weight, bank.bias, strict=True):
            starts = range(len(padded) - width + 1)
            values = [((padded[i : i + width] * weight).sum() + bias).item() for i in starts]
            best = max(starts, key=lambda i: values[i])
            yield max(values[best], 0.0), best, width


def filter_slopes(network):
    """Compute the slope of the logit in each filter of the text, (g·K,)."""
    direction = (network.predictor.weight[0] - network.predictor.weight[1])[:7]
    return (direction @ network.text_encoder.project.weight).tolist()


def test_a_window_s_part_is_recomputed_from_the_words_themselves():
    """Filter by filter, in plain loops: the best window is searched here, not read from the cache."""
    network, text, _, (_, cache) = draw_network()
    side = logit_parts(cache).sides["text"]
    for article, length in enumerate(LENGTHS.tolist()):
        found = list(find_windows(network, text[article, :length]))
        assert side.starts[article].tolist() == [start for _, start, _ in found]
        assert side.ends[article].tolist() == [start + width for _, start, width in found]
        expected = [slope * value for slope, (value, *_) in zip(filter_slopes(network), found, strict=True)]
        assert side.filters[article].tolist() == pytest.approx(expected, abs=1e-12)


def test_taking_a_window_away_moves_the_logit_by_what_its_filters_next_best_windows_say_less():
    network, text, visual, (output, cache) = draw_network()
    side, logit = logit_parts(cache).sides["text"], output.logits[0, 0] - output.logits[0, 1]
    changed = 0
    for column in range(12):
        start, end = side.starts[0, column].item(), side.ends[0, column].item()
        occluded = text.clone()
        occluded[0, start:end] = 0
        again, cache_again = run(network, occluded, visual)
        found = find_windows(network, occluded[0])
        left = [slope * value for slope, (value, *_) in zip(filter_slopes(network), found, strict=True)]
        moved = again.logits[0, 0] - again.logits[0, 1] - logit
        assert moved.item() == pytest.approx(sum(left) - side.filters[0].sum().item(), abs=1e-12)
        assert logit_parts(cache_again).sides["text"].filters[0].tolist() == pytest.approx(left, abs=1e-12)
        changed += left[column] != pytest.approx(side.filters[0, column].item())
    assert changed > 6  # filters below zero have nothing to lose


def test_words_share_out_what_their_windows_add():
    _, _, _, (_, cache) = draw_network()
    parts = logit_parts(cache)
    for side in parts.sides.values():
        shared = side.words.sum(dim=1) + side.filter_biases
        torch.testing.assert_close(shared, side.filters.sum(dim=1), rtol=0, atol=1e-12)


def test_words_that_no_window_reads_have_no_part_and_can_be_taken_away():
    network, _, visual, _ = draw_network()
    text = torch.randn(4, 80, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output, cache = safe_forward(network.weights(), text, visual)
    side = logit_parts(cache).sides["text"]
    for article in range(4):
        windows = zip(side.starts[article].tolist(), side.ends[article].tolist(), strict=True)
        read = {place for start, end in windows for place in range(start, end)}
        unread = [word for word in range(80) if word not in read]
        assert len(unread) > 20
        assert (side.words[article, unread] == 0).all()
        taken = 0
        for word in unread:  # one at a time: zeros in its place may open a better window, which is then another verdict
            occluded = text[article : article + 1].clone()
            occluded[0, word] = 0
            with torch.no_grad():
                again, cache_again = safe_forward(network.weights(), occluded, visual[article : article + 1])
            if all(torch.equal(a[0], b[article]) for a, b in
                   zip(cache_again.text.positions, cache.text.positions, strict=True)):  # fmt: skip
                taken += 1
                torch.testing.assert_close(again.logits[0], output.logits[article], rtol=0, atol=1e-12)
        assert taken > 20


def test_removing_what_a_word_adds_moves_the_logit_by_that_much_while_the_windows_stay():
    """Occlusion by a little: a word's vector is shortened so that every filter keeps its window and its sign."""
    network, text, visual, (output, cache) = draw_network()
    side, logit, step = logit_parts(cache).sides["text"], output.logits[:, 0] - output.logits[:, 1], 1e-6
    for word in range(9):
        smaller = text.clone()
        smaller[:, word] *= 1 - step
        again, _ = run(network, smaller, visual)
        moved = (logit - again.logits[:, 0] + again.logits[:, 1]) / step
        torch.testing.assert_close(moved, side.words[:, word], rtol=1e-5, atol=1e-8)


def test_phrases_are_whole_windows_within_the_article_the_strongest_first():
    _, _, _, (_, cache) = draw_network()
    side = logit_parts(cache).sides["text"]
    for article, length in enumerate(LENGTHS.tolist()):
        phrases = list_phrases(side, article, length)
        assert sum(p.contribution for p in phrases) == pytest.approx(side.filters[article].sum().item(), abs=1e-12)
        assert all(0 <= p.start <= p.end <= length and p.end - p.start <= 4 for p in phrases)
        strengths = [abs(p.contribution) for p in phrases]
        assert strengths == sorted(strengths, reverse=True)
        assert len({(p.start, p.end) for p in phrases}) == len(phrases)
