"""Algorithm 1 as printed: one pass over the articles, filter by filter. The readable reference, not the fast path.

Line numbers in comments are those of the printed algorithm; `closed_form_gradients` computes the same, vectorised.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .closed_form import Network
from .loss import SIMILARITY_FLOOR, check_loss_settings
from .safe import SafeWeights, map_tensors, require
from .similarity import unit_vectors
from .text_cnn import TextCnnWeights


@torch.no_grad()
def algorithm1_epoch(
    net: Network,
    text: Tensor | None,
    visual: Tensor | None,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    gamma: float,
    order: str = "sequential",
    similarity_loss: str = "real_only",
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> None:
    """Update `net` in place for each article in turn: lines 3 to 9 of Algorithm 1.

    The printed assignments can be read in two ways. `sequential`: they take effect in the printed order, so the
    encoders read the W_p that line 4 has moved, and Eq. (17) the column that Eq. (16) has moved. `simultaneous`:
    every right-hand side is evaluated at the parameters before the article, which is SGD with batch size 1.

    Args:
        net: a `SafeNetwork`; any variant.
        text, visual: word vectors (B, L, E) and (B, Lv, Ev); None where the variant has no such encoder.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta, gamma: α, β >= 0 and the learning rate γ.
        order: `sequential` or `simultaneous`.
        similarity_loss: `real_only` (Eq. 15 as printed) or `both_classes`.
        text_lengths, visual_lengths: words in each article (B,), or None for all of L.
        weight: w, (B,): an article's update is that of w α and w β; None: all are 1.
        label_smoothing: ε, 0 <= ε < 1: Δy is that of ỹ = y (1 - ε) + ε/2. L_s keeps y.
    Raises:
        ValueError: the order or the similarity loss is unknown, α or β is negative, ε is not in [0, 1), or sentences
            that an encoder reads are None. Nothing has moved then.
    Example:
        >>> import torch
        >>> from safe_exp.network import SafeNetwork
        >>> net = SafeNetwork(1, 1, filter_sizes=[1], num_filters=1, feature_dim=1, variant="text_only")
        >>> parameters = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, -1.0, -2.0, 2.0])  # w, b, W_t, b_t, W_p, b_p
        >>> text, label = torch.tensor([[[2.0]]]), torch.tensor([1])  # ĉ = t = 2; logits 0, 0; Δy = [-1/2, 1/2]
        >>> for order in ("simultaneous", "sequential"):
        ...     torch.nn.utils.vector_to_parameters(parameters.clone(), net.parameters())
        ...     algorithm1_epoch(net, text, None, label, alpha=1.0, beta=0.0, gamma=1.0, order=order)
        ...     print(net.predictor.weight.tolist(), net.text_encoder.project.bias.tolist())  # W_p - γ Δy t, and -γ B
        [[2.0], [-2.0]] [1.0]
        [[2.0], [-2.0]] [2.0]
    """
    if order not in ("sequential", "simultaneous"):
        raise ValueError(f"order={order!r}: expected one of sequential, simultaneous.")
    check_loss_settings(alpha, beta, similarity_loss, label_smoothing)
    weights = net.weights()
    articles = {"text": (text, text_lengths), "visual": (visual, visual_lengths)}
    read = {name: (require(articles[name][0], name), articles[name][1]) for name in _encoders(weights)}
    for j in range(len(label)):  # line 3
        sentences = {name: _sentence(embedded, lengths, j) for name, (embedded, lengths) in read.items()}
        before = map_tensors(torch.clone, weights) if order == "simultaneous" else weights
        w = 1.0 if weight is None else float(weight[j])
        settings = _Settings(w * alpha, w * beta, gamma, similarity_loss, label_smoothing)
        _update(weights, before, sentences, int(label[j]), settings)


class _Settings(NamedTuple):
    """α and β, γ, the kind of L_s, and ε."""

    alpha: float  # times the article's weight
    beta: float  # times the article's weight
    gamma: float
    similarity_loss: str
    label_smoothing: float


class _Encoded(NamedTuple):
    """One article's forward pass through one encoder."""

    features: Tensor  # t or v, (D,)
    c_hat: Tensor  # ĉ of every filter, (g·K,)
    windows: list[Tensor]  # for each filter x^{î:î+h-1}, the window (h, E) at which ĉ is reached


def _update(theta: SafeWeights, before: SafeWeights, sentences: dict[str, Tensor], y: int, settings: _Settings) -> None:
    """Carry out lines 4 to 8 for one article: right-hand sides read `before`, assignments move `theta`.

    Args:
        theta, before: the parameters; in the sequential order the same ones.
        sentences: for each encoder the article's word vectors (n, E), without padding.
        y: 1 = fake, 0 = real.
        settings: of this article.
    """
    alpha, beta, gamma, similarity_loss, epsilon = settings
    y_smoothed = y * (1 - epsilon) + epsilon / 2
    moved_encoders, read_encoders = _encoders(theta), _encoders(before)
    # One forward pass gives t, v, ŷ, s, ĉ and î.
    encoded = {name: _encode(sentence, read_encoders[name]) for name, sentence in sentences.items()}
    features = torch.cat([encoder.features for encoder in encoded.values()])  # t ⊕ v, (2D,)
    both = len(encoded) == 2

    if theta.predictor is not None and before.predictor is not None:
        logits = before.predictor.weight @ features + before.predictor.bias  # (2,)
        y_hat = logits.softmax(dim=0)[0]
        delta_y = torch.stack([y_hat - y_smoothed, y_smoothed - y_hat])  # (2,)
        # Line 4, Eq. (12)
        theta.predictor.weight.sub_(gamma * alpha * torch.outer(delta_y, features))
        theta.predictor.bias.sub_(gamma * alpha * delta_y)
        gradient_p = before.predictor.weight.T @ delta_y  # Eq. (14) for t ⊕ v, (2D,)
    else:
        t, v = (encoder.features for encoder in encoded.values())
        gradient_p = _similarity_gradient(t, v, y_smoothed, "both_classes")  # SAFE\W: ŷ = 1 - s
    b = alpha * gradient_p  # Eq. (18), first term, (2D,)
    if both:
        t, v = (encoder.features for encoder in encoded.values())
        b = b + beta * _similarity_gradient(t, v, y, similarity_loss)  # Eq. (18), second term
    d_features = dict(zip(encoded, b.chunk(len(encoded)), strict=True))  # B_t and B_v, (D,) each

    banks = len(next(iter(moved_encoders.values())).filters)
    for h in range(banks):  # line 5
        for name, (_, c_hat, windows) in encoded.items():  # lines 6 and 7: text first, then visual
            moved, read = moved_encoders[name], read_encoders[name]
            num_filters = len(moved.filters[h].bias)
            for k in range(num_filters):
                column = h * num_filters + k
                if c_hat[column] == 0:
                    continue  # ReLU is off: Eq. (16) moves the column by 0, and so does Eq. (17) with ReLU's derivative
                moved.project_weight[:, column].sub_(gamma * c_hat[column] * d_features[name])  # Eq. (16)
                step = gamma * (read.project_weight[:, column] @ d_features[name])
                moved.filters[h].weight[k].sub_(step * windows[column])  # Eq. (17)
                moved.filters[h].bias[k].sub_(step)
    for name, encoder in moved_encoders.items():
        encoder.project_bias.sub_(gamma * d_features[name])  # Eq. (16), once per article, last


def _encoders(weights: SafeWeights) -> dict[str, TextCnnWeights]:
    """The encoders that a variant has, text first."""
    found = {"text": weights.text, "visual": weights.visual}
    return {name: encoder for name, encoder in found.items() if encoder is not None}


def _encode(sentence: Tensor, encoder: TextCnnWeights) -> _Encoded:
    """Encode one sentence (n, E), filter by filter and window by window."""
    c_hat, best = [], []
    for bank in encoder.filters:
        h = bank.weight.shape[1]
        x = sentence
        if len(x) < h:  # a sentence shorter than the window is padded with zero vectors
            x = torch.cat([x, x.new_zeros(h - len(x), x.shape[1])])  # (h, E)
        windows = torch.stack([x[i : i + h] for i in range(len(x) - h + 1)])  # (n - h + 1, h, E)
        for w, bias in zip(bank.weight, bank.bias, strict=True):
            c = ((w * windows).sum(dim=(1, 2)) + bias).relu()  # (n - h + 1,)
            i_hat = int(c.argmax())
            c_hat.append(c[i_hat])
            best.append(windows[i_hat])
    pooled = torch.stack(c_hat)  # (g·K,)
    return _Encoded(encoder.project_weight @ pooled + encoder.project_bias, pooled, best)


def _similarity_gradient(t: Tensor, v: Tensor, y: float, similarity_loss: str) -> Tensor:
    """Compute ∇L_s(t) ⊕ ∇L_s(v), (2D,), from t and v, (D,): Eq. (15), with its second half under `both_classes`."""
    (t_0, t_norm), (v_0, v_norm) = unit_vectors(t), unit_vectors(v)
    s = (1 + (t_0 @ v_0).clamp(-1, 1)) / 2
    factor = (1 - y) / s if s >= SIMILARITY_FLOOR else 0.0
    if similarity_loss == "both_classes" and 1 - s >= SIMILARITY_FLOOR:
        factor = factor - y / (1 - s)
    toward_t = factor / (2 * t_norm) * ((2 * s - 1) * t_0 - v_0)  # Eq. (15)
    toward_v = factor / (2 * v_norm) * ((2 * s - 1) * v_0 - t_0)
    return torch.cat([toward_t, toward_v]).to(t.dtype)


def _sentence(embedded: Tensor, lengths: Tensor | None, j: int) -> Tensor:
    """Cut article j out of word vectors (B, L, E): its n words (n, E), without padding."""
    return embedded[j] if lengths is None else embedded[j, : int(lengths[j])]
