"""The released code's architecture: its closed form against plain loops, autograd and central differences."""

import pytest
import torch

from safe_exp.equations import DropoutMasks, SafeOutput, Words, released_step, safe_loss
from safe_exp.equations.released import released_forward
from safe_exp.network.released_network import ReleasedNetwork, split_title
from tests.equations.reference import assert_same_gradients

LENGTHS = {"headline": 5, "body": 9, "visual": 7}


def draw_released(seed=0, filter_sizes=(2, 3), num_filters=3, feature_dim=4, vector_dim=6, word_dim=3):
    torch.manual_seed(seed)
    return ReleasedNetwork(vector_dim, word_dim, filter_sizes, num_filters, feature_dim).double()


def draw_articles(seed=0, batch=6, with_lengths=True, vector_dim=6):
    generator = torch.Generator().manual_seed(seed + 1000)
    articles = {
        name: torch.randn(batch, length, vector_dim, generator=generator, dtype=torch.float64)
        for name, length in LENGTHS.items()
    }
    if with_lengths:  # from empty to full
        for name, length in LENGTHS.items():
            articles[f"{name}_lengths"] = torch.randint(0, length + 1, (batch,), generator=generator)
        articles["headline_lengths"][0] = 0
    return articles, torch.arange(batch) % 2


def draw_regularisers(net, batch, seed=0):
    """Weights of articles, smoothed labels, and masks of dropout with p = 1/4 and 1/2."""
    generator = torch.Generator().manual_seed(seed + 3000)

    def mask(width, kept):
        return (torch.rand(batch, width, generator=generator) < kept).double() / kept

    pooled = tuple(mask(net.visual_encoder.project.in_features, 0.75) for _ in range(3))
    weight = 2 * torch.rand(batch, generator=generator, dtype=torch.float64)
    masks = DropoutMasks(pooled, mask(net.predictor.in_features, 0.5))
    return {"weight": weight, "label_smoothing": 0.2}, masks


def loss_by_loops(net, label, articles, *, alpha, beta, similarity_loss, weight=None, label_smoothing=0.0, masks=None):
    """L from the definitions, window by window; no code shared with safe_exp.equations."""
    encoders = {
        "headline": net.text_encoder["headline"], "body": net.text_encoder["body"], "visual": net.visual_encoder
    }  # fmt: skip
    total = 0.0
    for j, y in enumerate(label.tolist()):
        features = []
        for name, encoder in encoders.items():
            lengths = articles.get(f"{name}_lengths")
            n = articles[name].shape[1] if lengths is None else int(lengths[j])
            c_hat = []
            for bank in encoder.filters:
                h = bank.weight.shape[1]
                x = torch.zeros(max(n, h), net.word_map.weight.shape[0], dtype=torch.float64)
                for i in range(n):
                    x[i] = net.word_map.weight @ articles[name][j, i]
                for w, b in zip(bank.weight, bank.bias, strict=True):
                    c_hat.append(max(torch.relu((w * x[i : i + h]).sum() + b) for i in range(len(x) - h + 1)))
            pooled = torch.stack(c_hat)
            if masks is not None:
                pooled = pooled * masks.pooled[len(features)][j]
            features.append(encoder.project.weight @ pooled + encoder.project.bias)
        t, v = torch.cat(features[:2]), torch.cat([features[2], features[2]])
        s = (1 + t @ v / (t.norm() * v.norm())) / 2
        read = torch.cat(features) * (1 if masks is None else masks.features[j])
        z = net.predictor.weight @ read + net.predictor.bias
        said, w = 1 - label_smoothing / 2, 1.0 if weight is None else float(weight[j])
        log_probability = torch.log_softmax(z, dim=0)
        total = total - w * alpha * (said * log_probability[1 - y] + (1 - said) * log_probability[y])
        if y == 0:
            total = total - w * beta * torch.log(s)
        elif similarity_loss == "both_classes":
            total = total - w * beta * torch.log(1 - s)
    return total / len(label)


def by_autograd(net, label, articles, masks=None, **loss):
    total = safe_loss(net(**articles, masks=masks), label, **loss).total
    names, parameters = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(total, parameters), strict=True))


@torch.no_grad()
def by_central_differences(net, label, articles, step=1e-4, **loss):
    result = {}
    for name, parameter in net.named_parameters():
        gradient = torch.zeros_like(parameter)
        flat, flat_gradient = parameter.view(-1), gradient.view(-1)
        for i in range(len(flat)):
            value, losses = flat[i].item(), {}
            for k in (-2, -1, 1, 2):
                flat[i] = value + k * step
                losses[k] = float(loss_by_loops(net, label, articles, **loss))
            flat[i] = value
            flat_gradient[i] = (8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / (12 * step)
        result[name] = gradient
    return result


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
def test_loss_matches_the_definitions_in_plain_loops(similarity_loss, with_lengths):
    net, (articles, label) = draw_released(), draw_articles(with_lengths=with_lengths)
    loss = dict(alpha=0.6, beta=0.4, similarity_loss=similarity_loss)
    total = safe_loss(net(**articles), label, **loss).total
    torch.testing.assert_close(total, loss_by_loops(net, label, articles, **loss), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("filter_sizes", [(3,), (3, 4), (1, 2, 6)])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
def test_every_gradient_matches_autograd(similarity_loss, filter_sizes, with_lengths):
    net, (articles, label) = draw_released(1, filter_sizes), draw_articles(1, with_lengths=with_lengths)
    loss = dict(alpha=0.6, beta=0.4, similarity_loss=similarity_loss)
    _, _, ours = released_step(net, label, **loss, **articles)
    assert list(ours) == [name for name, _ in net.named_parameters()]
    assert_same_gradients(ours, by_autograd(net, label, articles, **loss))


@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
def test_every_gradient_matches_central_differences(similarity_loss):
    net = draw_released(2, num_filters=1, feature_dim=2, vector_dim=4, word_dim=2)
    articles, label = draw_articles(2, batch=3, vector_dim=4)
    loss = dict(alpha=0.6, beta=0.4, similarity_loss=similarity_loss)
    _, _, ours = released_step(net, label, **loss, **articles)
    assert_same_gradients(ours, by_central_differences(net, label, articles, **loss), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
def test_gradients_with_weights_smoothed_labels_and_dropout_match_both_references(similarity_loss):
    net = draw_released(2, num_filters=1, feature_dim=2, vector_dim=4, word_dim=2)
    articles, label = draw_articles(2, batch=3, vector_dim=4)
    in_loss, masks = draw_regularisers(net, batch=3)
    loss = dict(alpha=0.6, beta=0.4, similarity_loss=similarity_loss, **in_loss)
    _, losses, ours = released_step(net, label, **loss, **articles, masks=masks)
    by_loops = loss_by_loops(net, label, articles, masks=masks, **loss)
    torch.testing.assert_close(losses.total, by_loops, rtol=1e-12, atol=1e-12)
    assert_same_gradients(ours, by_autograd(net, label, articles, masks, **loss))
    differences = by_central_differences(net, label, articles, masks=masks, **loss)
    assert_same_gradients(ours, differences, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("vocabulary", [7, 400])  # taken as it is, or made smaller
def test_word_numbers_give_the_gradients_of_word_vectors(vocabulary):
    net = draw_released(3)
    vectors = torch.randn(vocabulary, 6, dtype=torch.float64)
    vectors[0] = 0
    _, label = draw_articles(3)
    words, embedded = {}, {}
    for name, length in LENGTHS.items():
        tokens = torch.randint(1, vocabulary, (6, length))
        words[name], embedded[name] = Words(vectors, tokens), vectors[tokens]
        words[f"{name}_lengths"] = embedded[f"{name}_lengths"] = torch.tensor([0, 1, 2, 3, length - 1, length])
    loss = dict(alpha=0.6, beta=0.4, similarity_loss="both_classes")
    _, _, ours = released_step(net, label, **loss, **words)
    assert_same_gradients(ours, by_autograd(net, label, embedded, **loss))


def test_ten_steps_by_closed_form_and_by_autograd_give_the_same_losses():
    ours, twin, curves = draw_released(4), draw_released(4), ([], [])
    loss = dict(alpha=0.6, beta=0.4, similarity_loss="both_classes")
    for step in range(10):
        articles, label = draw_articles(step)
        for net, losses in ((ours, curves[0]), (twin, curves[1])):
            losses.append(safe_loss(net(**articles), label, **loss).total.item())
        _, _, gradients = released_step(ours, label, **loss, **articles)
        for net, moved in ((ours, gradients), (twin, by_autograd(twin, label, articles, **loss))):
            with torch.no_grad():
                for name, parameter in net.named_parameters():
                    parameter -= 0.1 * moved[name]
    assert len(set(curves[0])) == 10
    assert curves[0] == pytest.approx(curves[1], rel=1e-11)


def test_padding_and_batch_mates_never_change_an_article():
    net, (articles, label) = draw_released(5), draw_articles(5)
    together = net(**articles)
    for j in range(len(label)):
        alone = {name: articles[name][j : j + 1, : int(articles[f"{name}_lengths"][j])] for name in LENGTHS}
        out = net(**alone)  # cut to its own lengths, no padding at all
        torch.testing.assert_close(out.probability[0], together.probability[j], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(out.similarity[0], together.similarity[j], rtol=1e-12, atol=1e-12)


def test_what_stands_in_the_padding_is_never_read():
    net, (articles, label) = draw_released(6), draw_articles(6)
    loss = dict(alpha=0.6, beta=0.4, similarity_loss="both_classes")
    _, _, clean = released_step(net, label, **loss, **articles)
    for name in LENGTHS:
        for row, n in zip(articles[name], articles[f"{name}_lengths"], strict=True):
            row[n:] = torch.nan
    _, _, gradients = released_step(net, label, **loss, **articles)
    assert_same_gradients(gradients, clean, rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.06)])
def test_lower_precision_gradients_lie_within_rounding_of_float64(dtype, tolerance):
    net, (articles, label) = draw_released(22), draw_articles(22, with_lengths=False)
    articles = {name: value.to(dtype).double() for name, value in articles.items()}  # the same words for both
    for parameter in net.parameters():
        parameter.data = parameter.data.to(dtype).double()
    loss = dict(alpha=0.6, beta=0.4, similarity_loss="real_only")
    _, _, exact = released_step(net, label, **loss, **articles)
    net, articles = net.to(dtype), {name: value.to(dtype) for name, value in articles.items()}
    _, _, rounded = released_step(net, label, **loss, **articles)
    ours = torch.cat([gradient.double().flatten() for gradient in rounded.values()])
    reference = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert (ours - reference).norm() / reference.norm() < tolerance


def test_state_dict_has_the_promised_keys_and_shapes():
    expected = {"word_map.weight": (3, 6), "predictor.weight": (2, 12), "predictor.bias": (2,)}
    for name in ("text_encoder.headline", "text_encoder.body", "visual_encoder"):
        for i, width in enumerate((2, 3)):
            expected |= {f"{name}.filters.{i}.weight": (3, width, 3), f"{name}.filters.{i}.bias": (3,)}
        expected |= {f"{name}.project.weight": (4, 6), f"{name}.project.bias": (4,)}
    assert {name: tuple(value.shape) for name, value in draw_released().state_dict().items()} == expected


def test_similarity_compares_headline_and_body_with_the_image_twice():
    net, (articles, _) = draw_released(7), draw_articles(7)
    output, _ = released_forward(net.weights(), **articles)
    assert isinstance(output, SafeOutput)
    image_twice = torch.cat([output.visual_features] * 2, dim=1)
    cosine = torch.nn.functional.cosine_similarity(output.text_features, image_twice, dim=1)
    torch.testing.assert_close(output.similarity, (1 + cosine) / 2, rtol=1e-12, atol=1e-12)


def test_a_text_is_split_where_its_title_ends():
    text = torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, 3, 0, 0, 0], [1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 0, 0]])
    split = split_title(
        text, torch.tensor([6, 3, 5, 4]), title_lengths=torch.tensor([2, 0, 4, 9]), headline_words=3, body_words=4
    )
    sentences = {
        name: [row[:n].tolist() for row, n in zip(split[name], split[f"{name}_lengths"], strict=True)]
        for name in ("headline", "body")
    }
    assert sentences["headline"] == [[1, 2], [], [1, 2, 3], [1, 2, 3]]  # the third and fourth are cut
    assert sentences["body"] == [[3, 4, 5, 6], [1, 2, 3], [5], []]  # a title may fill a text alone
