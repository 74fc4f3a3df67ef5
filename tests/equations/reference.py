"""Independent twins for the tests: a forward pass in plain loops, gradients by autograd and by central differences."""

import torch
from torch import Tensor

from safe_exp.equations import DropoutMasks, safe_loss
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


def draw_regularisers(net, batch=6, seed=0):
    """Weights of articles, smoothed labels and masks of dropout with p = 1/4 and 1/2, all at once."""
    generator = torch.Generator().manual_seed(seed + 3000)

    def mask(width, kept):
        drawn = torch.rand(batch, width, generator=generator) < kept
        return drawn.double() / kept

    encoders = [encoder for encoder in (net.text_encoder, net.visual_encoder) if encoder is not None]
    pooled = tuple(mask(encoder.project.in_features, 0.75) for encoder in encoders)
    features = None if net.predictor is None else mask(net.predictor.in_features, 0.5)
    weight = 2 * torch.rand(batch, generator=generator, dtype=torch.float64)
    return {"weight": weight, "label_smoothing": 0.2, "masks": DropoutMasks(pooled, features)}


def loss_by_loops(
    net, text, visual, label, *, alpha, beta, similarity_loss, text_lengths=None, visual_lengths=None,
    weight=None, label_smoothing=0.0, masks=None,
):  # fmt: skip
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
            pooled = torch.stack(c_hat)
            if masks is not None and masks.pooled:
                pooled = pooled * masks.pooled[len(features)][j]
            features.append(encoder.project.weight @ pooled + encoder.project.bias)
        y = int(label[j])
        alpha_j, beta_j = (value * (1.0 if weight is None else float(weight[j])) for value in (alpha, beta))
        s = None
        if len(features) == 2:
            t, v = features
            s = (1 + t @ v / (t.norm() * v.norm())) / 2
        if net.predictor is not None:
            read = torch.cat(features)
            if masks is not None and masks.features is not None:
                read = read * masks.features[j]
            z = net.predictor.weight @ read + net.predictor.bias
            y_hat = torch.exp(z[0]) / (torch.exp(z[0]) + torch.exp(z[1]))
        else:
            y_hat = 1 - s
        said = 1 - label_smoothing / 2  # the share of L_p that the article's own class has
        l_p = said * torch.log(y_hat if y == 1 else 1 - y_hat) + (1 - said) * torch.log(1 - y_hat if y == 1 else y_hat)
        total = total - alpha_j * l_p
        if s is not None and y == 0:
            total = total - beta_j * torch.log(s)
        if s is not None and y == 1 and similarity_loss == "both_classes":
            total = total - beta_j * torch.log(1 - s)
    return total / len(label)


def gradients_by_autograd(net, text, visual, label, *, text_lengths=None, visual_lengths=None, masks=None, **loss):
    """Through `safe_loss`, by PyTorch; a parameter that the loss does not reach gets zeros."""
    total = safe_loss(net(text, visual, text_lengths, visual_lengths, masks), label, **loss).total
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
