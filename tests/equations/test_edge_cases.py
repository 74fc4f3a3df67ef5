"""The formulas where they divide by zero or saturate: losses and gradients stay finite, as the guards say."""

import math

import pytest
import torch

from safe_exp.equations import algorithm1_epoch, closed_form_gradients, safe_loss
from safe_exp.equations.loss import SIMILARITY_FLOOR, prediction_loss, similarity_loss_backward, similarity_loss_forward
from safe_exp.equations.similarity import NORM_FLOOR, similarity_backward, similarity_forward
from safe_exp.network import SafeNetwork
from safe_exp.network.safe_network import VARIANTS
from tests.equations.reference import draw_articles, draw_lengths, draw_network, gradients_by_autograd

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
LOSSES = ["real_only", "both_classes"]


def features(kind, dtype):
    """Two pairs t and v, each (2, 4), that stand in the relation `kind`."""
    t = torch.tensor([[0.3, -1.2, 0.7, 2.0]], dtype=dtype).repeat(2, 1)
    pairs = {
        "zero t": (torch.zeros_like(t), t),
        "zero v": (t, torch.zeros_like(t)),
        "both zero": (torch.zeros_like(t), torch.zeros_like(t)),
        "t = v": (t, t.clone()),
        "t = 3v": (3 * t, t.clone()),
        "t = -v": (t, -t),
        "huge": (1e18 * t, t),
        "tiny": (1e-30 * t, t),
    }
    return pairs[kind]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("similarity_loss", LOSSES)
@pytest.mark.parametrize("kind", ["zero t", "zero v", "both zero", "t = v", "t = 3v", "t = -v", "huge", "tiny"])
def test_similarity_loss_and_gradient_are_finite_by_hand_and_by_autograd(kind, similarity_loss, dtype):
    t, v = (x.requires_grad_() for x in features(kind, dtype))
    label = torch.tensor([0, 1])
    similarity, cache = similarity_forward(t, v)
    assert ((similarity >= 0) & (similarity <= 1)).all()
    loss = similarity_loss_forward(similarity, label, similarity_loss)
    assert torch.isfinite(loss).all()
    assert (loss <= -math.log(SIMILARITY_FLOOR) + 1e-3).all()
    by_hand = similarity_backward(similarity_loss_backward(similarity, label, similarity_loss), cache)
    by_autograd = torch.autograd.grad(loss.sum(), (t, v))
    for ours, reference in zip(by_hand, by_autograd, strict=True):
        assert torch.isfinite(ours).all()
        assert torch.isfinite(reference).all()


@pytest.mark.parametrize("kind", ["zero t", "zero v", "both zero", "tiny"])
def test_a_feature_vector_without_direction_has_similarity_one_half_and_no_pull(kind):
    t, v = features(kind, torch.float32)
    similarity, cache = similarity_forward(t, v)
    assert similarity.tolist() == [0.5, 0.5]
    d_text, d_visual = similarity_backward(
        similarity_loss_backward(similarity, torch.tensor([0, 0]), "real_only"), cache
    )
    short = d_text if t.norm() < NORM_FLOOR else d_visual
    assert torch.equal(short, torch.zeros_like(short))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distance", [30.0, 1e4, 3e38])
def test_saturated_logits_give_the_exact_log_loss(distance, dtype):
    logits = torch.tensor([[distance, -distance], [-distance, distance]], dtype=dtype) / 2
    right, wrong = prediction_loss(logits, torch.tensor([1, 0])), prediction_loss(logits, torch.tensor([0, 1]))
    assert torch.isfinite(right).all()
    assert torch.isfinite(wrong).all()
    expected = float(logits[0, 0].double() - logits[0, 1].double())
    assert wrong.tolist() == pytest.approx([expected] * 2, rel=1e-6)
    assert right.tolist() == pytest.approx([0.0] * 2, abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("similarity_loss", LOSSES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("state", ["all zero", "dead filters", "saturated"])
def test_gradients_of_a_degenerate_network_are_finite_in_every_type(state, variant, similarity_loss, dtype):
    net = draw_network(21, variant)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if state == "all zero":
                parameter.zero_()
            elif state == "dead filters" and "filters" in name and name.endswith("bias"):
                parameter.fill_(-1e3)
            elif state == "saturated" and name.startswith("predictor"):
                parameter.mul_(1e4)
    net = net.to(dtype)
    text, visual, label = draw_articles(21)
    lengths = draw_lengths(21)
    chosen = dict(label=label, alpha=0.6, beta=0.4, similarity_loss=similarity_loss)
    chosen |= dict(text_lengths=lengths[0], visual_lengths=lengths[1], text=text.to(dtype), visual=visual.to(dtype))
    gradients = closed_form_gradients(net, **chosen)
    for name, gradient in gradients.items():
        assert torch.isfinite(gradient).all(), name
        assert gradient.dtype == dtype, name
    if state == "dead filters":
        moving = [name for name, gradient in gradients.items() if "filters" in name and gradient.abs().max() > 0]
        assert moving == []  # ReLU's derivative, which the printed Eq. (17) leaves out
    algorithm1_epoch(net, gamma=1e-9, **chosen)  # a larger step would rightly diverge from weights of 1e4
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.06)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_lower_precision_gradients_lie_within_rounding_of_float64(variant, dtype, tolerance):
    net = draw_network(22, variant)
    text, visual, label = draw_articles(22)
    text, visual = text.to(dtype).double(), visual.to(dtype).double()  # the same words for both
    for parameter in net.parameters():
        parameter.data = parameter.data.to(dtype).double()
    chosen = dict(label=label, alpha=0.6, beta=0.4, similarity_loss="both_classes")
    exact = closed_form_gradients(net, text, visual, **chosen)
    rounded = closed_form_gradients(net.to(dtype), text.to(dtype), visual.to(dtype), **chosen)
    ours = torch.cat([gradient.double().flatten() for gradient in rounded.values()])
    reference = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert (ours - reference).norm() / reference.norm() < tolerance


def test_an_empty_sequence_is_one_window_of_zeros():
    net = draw_network(23)
    text, visual, label = draw_articles(23, batch=2)
    lengths = torch.tensor([0, 9])
    with_nothing = net(text, visual, text_lengths=lengths)
    zeros = net(torch.zeros(2, 4, 5, dtype=torch.float64), visual)  # width 3 sees two windows of zeros, width 4 one
    torch.testing.assert_close(with_nothing.text_features[0], zeros.text_features[0])
    no_words = net(text[:, :0], visual, text_lengths=torch.tensor([0, 0]))
    torch.testing.assert_close(no_words.text_features, zeros.text_features)
    chosen = dict(label=label, alpha=1.0, beta=1.0, similarity_loss="real_only", text_lengths=lengths)
    gradients = closed_form_gradients(net, text, visual, **chosen)
    reference = gradients_by_autograd(net, text, visual, **chosen)
    torch.testing.assert_close(gradients, reference)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(text=torch.zeros(2, 5, 4)), r"shape \(2, 5, 4\); the filters expect \(B, L, 3\)"),
        (dict(text=torch.zeros(5, 3)), r"the filters expect \(B, L, 3\)"),
        (dict(text=None), "text is None; this network reads it"),
        (dict(visual=None), "visual is None; this network reads it"),
        (dict(text_lengths=torch.tensor([1, 2, 3])), r"lengths have shape \(3,\); expected \(2,\)"),
        (dict(label=torch.tensor([0, 1, 1])), r"label has shape \(3,\); expected \(2,\)"),
        (dict(alpha=-0.1), "must be >= 0"),
        (dict(similarity_loss="cosine"), "expected one of real_only, both_classes"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(change, message):
    net = SafeNetwork(3, 3, [2], num_filters=2, feature_dim=2)
    chosen = dict(text=torch.zeros(2, 5, 3), visual=torch.zeros(2, 4, 3), label=torch.tensor([0, 1]))
    chosen |= dict(alpha=1.0, beta=1.0)
    with pytest.raises(ValueError, match=message):
        closed_form_gradients(net, **chosen | change)


def test_features_of_different_length_cannot_be_compared():
    with pytest.raises(ValueError, match="expected the same"):
        similarity_forward(torch.ones(2, 3), torch.ones(2, 4))


def test_losses_are_batch_means_of_numbers_worked_out_by_hand():
    class Out:
        logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]], dtype=torch.float64)  # ŷ = 1/2, 3/4
        similarity = torch.tensor([0.5, 0.8], dtype=torch.float64)

    label = torch.tensor([0, 1])
    losses = safe_loss(Out, label, alpha=2.0, beta=3.0)
    assert losses.prediction.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert losses.similarity.item() == pytest.approx(math.log(2) / 2)  # the fake article has none
    assert losses.total.item() == pytest.approx(2 * losses.prediction.item() + 3 * losses.similarity.item())
    both = safe_loss(Out, label, alpha=2.0, beta=3.0, similarity_loss="both_classes")
    assert both.similarity.item() == pytest.approx((math.log(2) + math.log(5)) / 2)  # -ln(1 - 0.8) = ln 5
