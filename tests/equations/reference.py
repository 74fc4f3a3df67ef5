"""Independent twins for the tests: a forward pass in plain loops, gradients by autograd and by central differences."""

import torch
from torch import Tensor

from safe_exp.equations import safe_loss
from safe_exp.network import SafeNetwork


def draw_network(seed=0, variant="safe", filter_sizes=(3, 4), num_filters=3, feature_dim=4, text_dim=5, visual_dim=6):
    torch.manual_seed(seed)
    return SafeNetwork(text_dim, visual_dim, filter_sizes, num_filters, feature_dim, variant=variant).double()


def draw_articles(seed=0, batch=6, length=9, visual_length=7, text_dim=5, visual_dim=6):
    """Random word vectors and labels of both classes, in float64."""
    generator = torch.Generator().manual_seed(seed + 1000)
    text = torch.randn(batch, length, text_dim, generator=generator, dtype=torch.float64)
    visual = torch.randn(batch, visual_length, visual_dim, generator=generator, dtype=torch.float64)
    label = torch.arange(batch) % 2
    return text, visual, label


def draw_lengths(seed=0, batch=6, length=9, visual_length=7):
    """From empty to full, so that some articles are shorter than every window."""
    generator = torch.Generator().manual_seed(seed + 2000)
    text_lengths = torch.randint(0, length + 1, (batch,), generator=generator)
    visual_lengths = torch.randint(0, visual_length + 1, (batch,), generator=generator)
    text_lengths[0], visual_lengths[-1] = 1, 2
    return text_lengths, visual_lengths


def loss_by_loops(net, text, visual, label, *, alpha, beta, similarity_loss, text_lengths=None, visual_lengths=None):
    """L, article by article and window by window, from the definitions; no code shared with safe_exp.equations."""
    total = 0.0
    for j in range(len(label)):
        features = []
        for encoder, words, lengths in (
            (net.text_encoder, text, text_lengths),
            (net.visual_encoder, visual, visual_lengths),
        ):
            if encoder is None:
                continue
            n = words.shape[1] if lengths is None else int(lengths[j])
            c_hat = []
            for bank in encoder.filters:
                h = bank.weight.shape[1]
                x = torch.zeros(max(n, h), words.shape[2], dtype=words.dtype)
                x[:n] = words[j, :n]
                for w, b in zip(bank.weight, bank.bias, strict=True):
                    c_hat.append(max(torch.relu((w * x[i : i + h]).sum() + b) for i in range(len(x) - h + 1)))
            features.append(encoder.project.weight @ torch.stack(c_hat) + encoder.project.bias)
        y = int(label[j])
        s = None
        if len(features) == 2:
            t, v = features
            s = (1 + t @ v / (t.norm() * v.norm())) / 2
        if net.predictor is not None:
            z = net.predictor.weight @ torch.cat(features) + net.predictor.bias
            y_hat = torch.exp(z[0]) / (torch.exp(z[0]) + torch.exp(z[1]))
        else:
            y_hat = 1 - s
        total = total - alpha * (torch.log(y_hat) if y == 1 else torch.log(1 - y_hat))
        if s is not None and y == 0:
            total = total - beta * torch.log(s)
        if s is not None and y == 1 and similarity_loss == "both_classes":
            total = total - beta * torch.log(1 - s)
    return total / len(label)


def gradients_by_autograd(net, text, visual, label, *, text_lengths=None, visual_lengths=None, **loss):
    """Through `safe_loss`, by PyTorch; a parameter that the loss does not reach gets zeros."""
    total = safe_loss(net(text, visual, text_lengths, visual_lengths), label, **loss).total
    names, parameters = zip(*net.named_parameters(), strict=True)
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for name, parameter, gradient in zip(names, parameters, gradients, strict=True)
    }


@torch.no_grad()
def gradients_by_central_differences(net, step=1e-4, **articles_and_loss):
    """Through `loss_by_loops`: four-point differences, error of order step⁴."""
    result = {}
    for name, parameter in net.named_parameters():
        gradient = torch.zeros_like(parameter)
        flat, flat_gradient = parameter.view(-1), gradient.view(-1)
        for i in range(len(flat)):
            value = flat[i].item()
            losses = {}
            for k in (-2, -1, 1, 2):
                flat[i] = value + k * step
                losses[k] = float(loss_by_loops(net, **articles_and_loss))
            flat[i] = value
            flat_gradient[i] = (8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / (12 * step)
        result[name] = gradient
    return result


def assert_same_gradients(ours: dict[str, Tensor], reference: dict[str, Tensor], rtol=1e-9, atol=1e-12):
    assert ours.keys() == reference.keys()  # a forgotten parameter fails here, by name
    for name in reference:
        torch.testing.assert_close(ours[name], reference[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
        assert torch.isfinite(ours[name]).all(), name
