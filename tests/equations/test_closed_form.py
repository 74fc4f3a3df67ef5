"""The closed form against autograd, against central differences, and against numbers worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.equations import SafeOutput, algorithm1_epoch, closed_form_gradients, closed_form_step, safe_loss
from safe_exp.network import SafeNetwork
from safe_exp.network.safe_network import VARIANTS
from tests.equations.reference import (
    assert_same_gradients,
    draw_articles,
    draw_lengths,
    draw_network,
    draw_regularisers,
    gradients_by_autograd,
    gradients_by_central_differences,
    loss_by_loops,
)

WEIGHTS = {
    "safe": (0.6, 0.4),
    "text_only": (1.0, 0.0),
    "visual_only": (1.0, 0.0),
    "no_similarity": (1.0, 0.0),
    "similarity_only": (0.0, 1.0),
}


def arguments(seed, variant="safe", similarity_loss="real_only", with_lengths=True, **shapes):
    text, visual, label = draw_articles(seed, **shapes)
    alpha, beta = WEIGHTS[variant]
    chosen = dict(text=text, visual=visual, label=label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    if with_lengths:
        chosen["text_lengths"], chosen["visual_lengths"] = draw_lengths(seed, len(label))
    return chosen


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_matches_the_definitions_in_plain_loops(variant, similarity_loss, with_lengths):
    net = draw_network(variant=variant)
    chosen = arguments(0, variant, similarity_loss, with_lengths)
    lengths = chosen.get("text_lengths"), chosen.get("visual_lengths")
    out = net(chosen["text"], chosen["visual"], *lengths)
    loss = {k: chosen[k] for k in ("alpha", "beta", "similarity_loss")}
    total = safe_loss(out, chosen["label"], **loss).total
    torch.testing.assert_close(total, loss_by_loops(net, **chosen), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("num_filters", [1, 3])
@pytest.mark.parametrize("filter_sizes", [(3,), (3, 4), (1, 2, 5)])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gradient_matches_autograd(variant, similarity_loss, filter_sizes, num_filters, with_lengths):
    net = draw_network(1, variant, filter_sizes, num_filters)
    chosen = arguments(1, variant, similarity_loss, with_lengths)
    assert_same_gradients(closed_form_gradients(net, **chosen), gradients_by_autograd(net, **chosen))


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("filter_sizes", [(2,), (2, 3), (1, 2, 3)])
def test_every_parameter_gradient_matches_central_differences(filter_sizes, similarity_loss, with_lengths):
    net = draw_network(2, "safe", filter_sizes, num_filters=1, feature_dim=2)
    chosen = arguments(2, "safe", similarity_loss, with_lengths, batch=4)
    reference = gradients_by_central_differences(net, **chosen)
    assert_same_gradients(closed_form_gradients(net, **chosen), reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_matches_central_differences(variant):
    net = draw_network(3, variant, (2, 3), num_filters=2, feature_dim=2)
    chosen = arguments(3, variant, "both_classes", batch=4)
    reference = gradients_by_central_differences(net, **chosen)
    assert_same_gradients(closed_form_gradients(net, **chosen), reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("only", ["weight", "label_smoothing", "masks", "all"])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_with_weights_smoothed_labels_and_dropout_match_autograd(variant, similarity_loss, only):
    net = draw_network(1, variant)
    chosen = arguments(1, variant, similarity_loss) | {"alpha": 0.6, "beta": 0.4}
    plain = closed_form_gradients(net, **chosen)
    drawn = draw_regularisers(net)
    chosen |= drawn if only == "all" else {only: drawn[only]}
    ours = closed_form_gradients(net, **chosen)
    assert_same_gradients(ours, gradients_by_autograd(net, **chosen))
    assert any(not torch.allclose(ours[name], plain[name]) for name in plain)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_with_weights_smoothed_labels_and_dropout_match_central_differences(variant):
    net = draw_network(3, variant, (2, 3), num_filters=2, feature_dim=2)
    chosen = arguments(3, variant, "both_classes", batch=4) | draw_regularisers(net, batch=4)
    reference = gradients_by_central_differences(net, **chosen)
    assert_same_gradients(closed_form_gradients(net, **chosen), reference, rtol=1e-9, atol=1e-9)
    _, losses, _ = closed_form_step(net, **chosen)
    torch.testing.assert_close(losses.total, loss_by_loops(net, **chosen), rtol=1e-12, atol=1e-12)


def test_weights_and_smoothed_labels_are_those_of_pytorch_s_cross_entropy():
    """Class weights and `label_smoothing` of torch.nn.CrossEntropyLoss, whose sum is of w_y L."""
    torch.manual_seed(0)
    logits, label = torch.randn(8, 2, dtype=torch.float64), torch.tensor([1, 0, 0, 1, 0, 0, 0, 1])
    by_class = torch.tensor([1.6, 0.7], dtype=torch.float64)  # of fake, entry 0, and of real
    out = SafeOutput(None, None, logits, logits.softmax(1)[:, 0], similarity=None)
    smoothed = torch.nn.CrossEntropyLoss(label_smoothing=0.3)(logits, 1 - label)
    torch.testing.assert_close(safe_loss(out, label, alpha=1.0, beta=0.0, label_smoothing=0.3).prediction, smoothed)
    weighted = torch.nn.CrossEntropyLoss(weight=by_class, reduction="sum")(logits, 1 - label) / 8
    losses = safe_loss(out, label, alpha=1.0, beta=0.0, weight=by_class[1 - label])
    torch.testing.assert_close(losses.prediction, weighted)


def test_a_weight_of_two_is_the_article_read_twice():
    net, chosen = draw_network(9), arguments(9)
    twice = {
        name: torch.cat([value, value[:1]]) if isinstance(value, torch.Tensor) else value
        for name, value in chosen.items()
    }
    weight = torch.ones(6, dtype=torch.float64)
    weight[0] = 2
    ours = closed_form_gradients(net, **chosen, weight=weight)
    reference = {name: gradient * 7 / 6 for name, gradient in closed_form_gradients(net, **twice).items()}
    assert_same_gradients(ours, reference)


def test_an_article_of_weight_zero_is_not_learned_from():
    net, chosen = draw_network(10), arguments(10)
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    without = {name: value[:5] if isinstance(value, torch.Tensor) else value for name, value in chosen.items()}
    reference = {name: gradient * 5 / 6 for name, gradient in closed_form_gradients(net, **without).items()}
    assert_same_gradients(closed_form_gradients(net, **chosen, weight=weight), reference)


def test_the_similarity_is_that_of_features_without_their_mask():
    net, chosen = draw_network(11), arguments(11)
    masks = draw_regularisers(net)["masks"]._replace(pooled=())
    plain, _, _ = closed_form_step(net, **chosen)
    output, _, _ = closed_form_step(net, **chosen, masks=masks)
    assert torch.equal(output.similarity, plain.similarity)
    assert not torch.allclose(output.probability, plain.probability)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing=1\.0: expected 0 <= ε < 1"),
        ({"label_smoothing": -0.1}, r"label_smoothing=-0\.1"),
        ({"weight": torch.ones(5)}, r"weight has shape \(5,\); expected \(6,\), one per article"),
    ],
)
def test_weights_and_smoothing_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        closed_form_gradients(draw_network(), **arguments(0), **wrong)


def test_prediction_weight_on_a_network_without_predictor_descends_the_log_loss_of_its_verdict():
    net = draw_network(4, "similarity_only")
    chosen = arguments(4, "similarity_only") | {"alpha": 0.7, "beta": 0.2}
    assert_same_gradients(closed_form_gradients(net, **chosen), gradients_by_autograd(net, **chosen))


def test_two_filters_and_three_words_worked_out_by_hand():
    """One fake article of three one-number words, H = {1, 2}, K = 1, D = 1; every figure below was computed on paper.

    Text 1, 3, -2. Width 1: w = 2, b = -1: scores 1, 5, -5, so ĉ = 5 at î = 1. Width 2: w = (1, -1), b = 0: scores
    -2, 5, so ĉ = 5 at î = 1. t = 0.1·5 + 0.2·5 - 0.5 = 1. The picture's sentence is the one word 4. Width 1: w = 1,
    b = -2, ĉ = 2. Width 2: the word is padded with a zero; w = (-1, 1), b = 1: score -3, ReLU gives 0.
    v = 0.5·2 + 7·0 = 1. t and v point the same way: s = 1. Logits: W_p = ((1, 1), (-1, 3)), so 2 and 2, ŷ = 1/2.
    With y = 1: Δy = (-1/2, 1/2); ∇L_p(t) = -1/2 - 1/2 = -1, ∇L_p(v) = -1/2 + 3/2 = 1; a fake has no L_s here.
    With α = 2: B_t = -2, B_v = 2.
    """
    net = SafeNetwork(1, 1, [1, 2], num_filters=1, feature_dim=1).double()
    values = {
        "text_encoder.filters.0.weight": [[[2.0]]],
        "text_encoder.filters.0.bias": [-1.0],
        "text_encoder.filters.1.weight": [[[1.0], [-1.0]]],
        "text_encoder.filters.1.bias": [0.0],
        "text_encoder.project.weight": [[0.1, 0.2]],
        "text_encoder.project.bias": [-0.5],
        "visual_encoder.filters.0.weight": [[[1.0]]],
        "visual_encoder.filters.0.bias": [-2.0],
        "visual_encoder.filters.1.weight": [[[-1.0], [1.0]]],
        "visual_encoder.filters.1.bias": [1.0],
        "visual_encoder.project.weight": [[0.5, 7.0]],
        "visual_encoder.project.bias": [0.0],
        "predictor.weight": [[1.0, 1.0], [-1.0, 3.0]],
        "predictor.bias": [0.0, 0.0],
    }
    net.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
    text = torch.tensor([[[1.0], [3.0], [-2.0]]], dtype=torch.float64)
    visual = torch.tensor([[[4.0]]], dtype=torch.float64)

    gradients = closed_form_gradients(net, text, visual, torch.tensor([1]), alpha=2.0, beta=3.0)

    worked_out = {
        "text_encoder.filters.0.weight": [[[-0.6]]],  # x = 3, W B = 0.1 · -2
        "text_encoder.filters.0.bias": [-0.2],
        "text_encoder.filters.1.weight": [[[-1.2], [0.8]]],  # x = (3, -2), W B = 0.2 · -2
        "text_encoder.filters.1.bias": [-0.4],
        "text_encoder.project.weight": [[-10.0, -10.0]],  # ĉ B = 5 · -2
        "text_encoder.project.bias": [-2.0],
        "visual_encoder.filters.0.weight": [[[4.0]]],  # x = 4, W B = 0.5 · 2
        "visual_encoder.filters.0.bias": [1.0],
        "visual_encoder.filters.1.weight": [[[0.0], [0.0]]],  # ReLU is off
        "visual_encoder.filters.1.bias": [0.0],
        "visual_encoder.project.weight": [[4.0, 0.0]],  # ĉ B = 2 · 2, 0 · 2
        "visual_encoder.project.bias": [2.0],
        "predictor.weight": [[-1.0, -1.0], [1.0, 1.0]],  # α Δy (t ⊕ v)
        "predictor.bias": [-1.0, 1.0],
    }
    reference = {name: torch.tensor(value, dtype=torch.float64) for name, value in worked_out.items()}
    assert_same_gradients({name: gradients[name] for name in reference}, reference, rtol=1e-14, atol=1e-14)
    assert gradients.keys() == reference.keys()


@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
def test_ten_steps_by_closed_form_by_autograd_and_by_algorithm1_give_the_same_losses(similarity_loss):
    """A stale cache or a gradient left uncleared can hide in one step and shows after ten."""
    gamma, steps = 0.1, 10
    loss = dict(alpha=0.6, beta=0.4, similarity_loss=similarity_loss)
    articles = [draw_articles(seed, batch=1) for seed in range(steps)]
    for j, (_, _, label) in enumerate(articles):
        label.fill_(j % 2)

    def by(update):
        net, losses = draw_network(7), []
        for text, visual, label in articles:
            losses.append(safe_loss(net(text, visual), label, **loss).total.item())
            if update == "algorithm1":
                algorithm1_epoch(net, text, visual, label, gamma=gamma, order="simultaneous", **loss)
                continue
            gradients_by = closed_form_gradients if update == "closed_form" else gradients_by_autograd
            gradients = gradients_by(net, text=text, visual=visual, label=label, **loss)
            with torch.no_grad():
                for name, parameter in net.named_parameters():
                    parameter -= gamma * gradients[name]
        return losses

    closed_form, autograd, algorithm1 = by("closed_form"), by("autograd"), by("algorithm1")
    assert len(set(closed_form)) == steps
    assert closed_form == pytest.approx(autograd, rel=1e-11)
    assert closed_form == pytest.approx(algorithm1, rel=1e-11)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_gradients_match_autograd_for_drawn_shapes_lengths_and_labels(data):
    batch = data.draw(st.integers(1, 5), label="batch")
    length, visual_length = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    filter_sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True), label="H")
    num_filters, feature_dim = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 10_000), label="seed")
    variant = data.draw(st.sampled_from(VARIANTS))
    net = draw_network(seed, variant, filter_sizes, num_filters, feature_dim)
    text, visual, _ = draw_articles(seed, batch, length, visual_length)
    chosen = dict(
        text=text,
        visual=visual,
        label=torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=batch, max_size=batch), label="labels")),
        alpha=data.draw(st.floats(0, 2)),
        beta=data.draw(st.floats(0, 2)),
        similarity_loss=data.draw(st.sampled_from(["real_only", "both_classes"])),
        text_lengths=torch.tensor(data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))),
        visual_lengths=torch.tensor(data.draw(st.lists(st.integers(0, visual_length), min_size=batch, max_size=batch))),
    )
    # With D = 1 the cosine is ±1 and its gradient a rounding error of size ‖·‖⁻¹ · 1e-16 on both sides.
    assert_same_gradients(
        closed_form_gradients(net, **chosen), gradients_by_autograd(net, **chosen), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_batch_order_and_batch_mates_never_change_an_article(variant):
    net = draw_network(5, variant)
    text, visual, label = draw_articles(5)
    text_lengths, visual_lengths = draw_lengths(5)
    together = net(text, visual, text_lengths, visual_lengths)
    reordered = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = net(text[reordered], visual[reordered], text_lengths[reordered], visual_lengths[reordered])
    torch.testing.assert_close(shuffled.probability, together.probability[reordered], rtol=1e-12, atol=1e-12)
    for j in range(len(label)):
        n, m = int(text_lengths[j]), int(visual_lengths[j])
        alone = net(text[j : j + 1, :n], visual[j : j + 1, :m])  # cut to its own length, no padding at all
        torch.testing.assert_close(alone.probability[0], together.probability[j], rtol=1e-12, atol=1e-12)
        if alone.similarity is not None:
            torch.testing.assert_close(alone.similarity[0], together.similarity[j], rtol=1e-12, atol=1e-12)


def test_what_stands_in_the_padding_is_never_read():
    net = draw_network(6)
    chosen = arguments(6)
    clean = closed_form_gradients(net, **chosen)
    for words, lengths in (("text", "text_lengths"), ("visual", "visual_lengths")):
        for row, n in zip(chosen[words], chosen[lengths], strict=True):
            row[n:] = torch.nan
    assert_same_gradients(closed_form_gradients(net, **chosen), clean, rtol=0, atol=0)


def test_closed_form_records_no_graph_and_leaves_the_network_alone():
    net = draw_network(8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = closed_form_gradients(net, **arguments(8))
    assert not any(gradient.requires_grad for gradient in gradients.values())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert list(gradients) == [name for name, _ in net.named_parameters()]
