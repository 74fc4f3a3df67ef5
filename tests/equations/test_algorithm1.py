"""Algorithm 1 against SGD with batch size 1, and its printed order against assignments written out one by one."""

import copy

import pytest
import torch

from safe_exp.equations import algorithm1_epoch
from safe_exp.network.safe_network import VARIANTS
from tests.equations.reference import (
    assert_same_gradients,
    draw_articles,
    draw_lengths,
    draw_network,
    draw_regularisers,
    gradients_by_autograd,
)
from tests.equations.test_closed_form import WEIGHTS


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_simultaneous_order_equals_sgd_with_batch_size_one(variant, similarity_loss, with_lengths):
    """Ten articles in turn, against torch.optim.SGD on autograd's gradients."""
    alpha, beta = WEIGHTS[variant]
    loss = dict(alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    text, visual, label = draw_articles(11, batch=10)
    lengths = draw_lengths(11, batch=10) if with_lengths else (None, None)
    ours, twin = draw_network(11, variant), draw_network(11, variant)
    algorithm1_epoch(
        ours, text, visual, label, gamma=0.05, order="simultaneous",
        text_lengths=lengths[0], visual_lengths=lengths[1], **loss,
    )  # fmt: skip
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
    for j in range(10):
        one = slice(j, j + 1)
        gradients = gradients_by_autograd(
            twin, text[one], visual[one], label[one],
            text_lengths=None if lengths[0] is None else lengths[0][one],
            visual_lengths=None if lengths[1] is None else lengths[1][one], **loss,
        )  # fmt: skip
        for name, parameter in twin.named_parameters():
            parameter.grad = gradients[name]
        optimizer.step()
    assert_same_gradients(dict(ours.named_parameters()), dict(twin.named_parameters()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_and_smoothed_labels_mean_the_same_as_in_a_mini_batch(variant):
    net, twin = draw_network(13, variant), draw_network(13, variant)
    chosen = {name: value for name, value in draw_regularisers(net).items() if name != "masks"}
    loss = dict(alpha=0.6, beta=0.4, similarity_loss="both_classes")
    text, visual, label = draw_articles(13)
    algorithm1_epoch(net, text, visual, label, gamma=0.05, order="simultaneous", **loss, **chosen)
    for j in range(len(label)):
        one = slice(j, j + 1)
        weight = {"weight": chosen["weight"][one], "label_smoothing": chosen["label_smoothing"]}
        gradients = gradients_by_autograd(twin, text[one], visual[one], label[one], **loss, **weight)
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                parameter -= 0.05 * gradients[name]
    assert_same_gradients(dict(net.named_parameters()), dict(twin.named_parameters()))


def test_sequential_order_takes_effect_as_printed():
    """One real article, each assignment written out; each reads what the one before has moved."""
    alpha, beta, gamma = 0.6, 0.4, 0.5
    net = draw_network(12, filter_sizes=(2, 3), num_filters=2)
    text, visual, _ = draw_articles(12, batch=1)
    label = torch.tensor([0])
    expected = copy.deepcopy(net)

    out = net(text, visual)
    t, v = out.text_features[0].detach(), out.visual_features[0].detach()
    y_hat = out.probability[0].detach()
    delta_y = torch.stack([y_hat - 0, 0 - y_hat])
    with torch.no_grad():
        expected.predictor.weight -= gamma * alpha * torch.outer(delta_y, torch.cat([t, v]))  # Eq. (12)
        expected.predictor.bias -= gamma * alpha * delta_y
    t_leaf, v_leaf = t.clone().requires_grad_(), v.clone().requires_grad_()
    similarity = (1 + torch.nn.functional.cosine_similarity(t_leaf, v_leaf, dim=0)) / 2
    pull = torch.autograd.grad(-torch.log(similarity), (t_leaf, v_leaf))  # ∇L_s(t), ∇L_s(v)
    d = len(t)
    with torch.no_grad():
        moved = expected.predictor.weight  # Eqs. (14), (18) read the W_p that Eq. (12) has moved
        b_t = alpha * moved[:, :d].T @ delta_y + beta * pull[0]
        b_v = alpha * moved[:, d:].T @ delta_y + beta * pull[1]
        for encoder, words, b in ((expected.text_encoder, text[0], b_t), (expected.visual_encoder, visual[0], b_v)):
            column = 0
            for bank in encoder.filters:
                width = bank.weight.shape[1]
                for k in range(2):
                    scores = [float((bank.weight[k] * words[i : i + width]).sum() + bank.bias[k])
                              for i in range(len(words) - width + 1)]  # fmt: skip
                    c_hat = max(max(scores), 0.0)
                    if c_hat > 0:
                        i_hat = scores.index(c_hat)
                        encoder.project.weight[:, column] -= gamma * c_hat * b  # Eq. (16)
                        step = gamma * (encoder.project.weight[:, column] @ b)  # Eq. (17) reads the moved column
                        bank.weight[k] -= step * words[i_hat : i_hat + width]
                        bank.bias[k] -= step
                    column += 1
            encoder.project.bias -= gamma * b

    algorithm1_epoch(net, text, visual, label, alpha=alpha, beta=beta, gamma=gamma, order="sequential")
    assert_same_gradients(dict(net.named_parameters()), dict(expected.named_parameters()), rtol=1e-12, atol=1e-13)


def test_the_two_orders_part_ways_by_a_second_order_term_in_gamma():
    def distance(gamma):
        nets = {}
        for order in ("sequential", "simultaneous"):
            nets[order] = draw_network(13)
            algorithm1_epoch(nets[order], *draw_articles(13, batch=1), alpha=0.6, beta=0.4, gamma=gamma, order=order)
        pairs = zip(nets["sequential"].parameters(), nets["simultaneous"].parameters(), strict=True)
        return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5

    assert distance(1e-3) > 0
    assert distance(1e-3) / distance(1e-4) == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"order": "random"}, "order='random': expected one of sequential, simultaneous"),
        ({"similarity_loss": "fake_only"}, "expected one of real_only, both_classes"),
        ({"alpha": -1.0}, "must be >= 0"),
        ({"visual": None}, "visual is None; this network reads it"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_moves(wrong, message):
    net = draw_network(14)
    before = copy.deepcopy(net.state_dict())
    chosen = dict(zip(("text", "visual", "label"), draw_articles(14), strict=True))
    chosen |= {"alpha": 1.0, "beta": 1.0, "gamma": 0.1}
    with pytest.raises(ValueError, match=message):
        algorithm1_epoch(net, **chosen | wrong)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
