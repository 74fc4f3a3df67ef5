"""Algorithm 1 to the letter: one pass over the articles, filter by filter. The readable reference, not the fast path.

Line numbers in comments are those of the printed algorithm; `closed_form_gradients` computes the same, vectorised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .gradients import Network
from .loss import SIMILARITY_FLOOR, check_loss_settings
from .safe import SafeWeights, map_tensors
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
) -> None:
    """Lines 3 to 9 of Algorithm 1: update `net` in place for each article in turn.

    The printed assignments can be read in two ways. `sequential`: they take effect in the printed order, so the
    encoders read the W_p that line 4 has moved, and Eq. (17) the column that Eq. (16) has moved. `simultaneous`:
    every right-hand side is evaluated at the parameters before the article, which is SGD with batch size 1.

    Args:
        net: a `SafeNetwork`; any variant.
        text, visual: word vectors (B, L, E) and (B, Lv, Ev).
        label: 1 = fake, 0 = real, (B,).
        alpha, beta, gamma: α, β >= 0 and the learning rate γ.
        order: `sequential` or `simultaneous`.
        similarity_loss: `real_only` (Eq. 15 as printed) or `both_classes`.
        text_lengths, visual_lengths: words in each article (B,), or None for all of L.
    Raises:
        ValueError: the order or the similarity loss is unknown, or α or β is negative.
    """
    if order not in ("sequential", "simultaneous"):
        raise ValueError(f"order={order!r}: expected one of sequential, simultaneous.")
    check_loss_settings(alpha, beta, similarity_loss)
    weights = net.weights()
    for j in range(len(label)):  # line 3
        _update(
            weights,
            before=_copy(weights) if order == "simultaneous" else weights,
            text=None if weights.text is None else _sentence(text, text_lengths, j),
            visual=None if weights.visual is None else _sentence(visual, visual_lengths, j),
            y=int(label[j]),
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            similarity_loss=similarity_loss,
        )


def _update(
    theta: SafeWeights,
    before: SafeWeights,
    text: Tensor | None,
    visual: Tensor | None,
    y: int,
    alpha: float,
    beta: float,
    gamma: float,
    similarity_loss: str,
) -> None:
    """Lines 4 to 8 for one article: right-hand sides read `before`, assignments move `theta`."""
    # One forward pass gives t, v, ŷ, s, ĉ and î.
    encoders = {}
    for name, sentence in (("text", text), ("visual", visual)):
        if sentence is not None:
            best = _best_windows(sentence, getattr(before, name))  # ĉ (g·K), and for each filter its window (h, E)
            features = getattr(before, name).project_weight @ best[0] + getattr(before, name).project_bias  # (D,)
            encoders[name] = (features, *best)
    features = torch.cat([encoder[0] for encoder in encoders.values()])  # t ⊕ v, (2D,)
    both = len(encoders) == 2

    if before.predictor is not None:
        logits = before.predictor.weight @ features + before.predictor.bias  # (2,)
        y_hat = logits.softmax(dim=0)[0]
        delta_y = torch.stack([y_hat - y, y - y_hat])  # (2,)
        # Line 4, Eq. (12)
        theta.predictor.weight.sub_(gamma * alpha * torch.outer(delta_y, features))
        theta.predictor.bias.sub_(gamma * alpha * delta_y)
        gradient_p = before.predictor.weight.T @ delta_y  # Eq. (14) for t ⊕ v, (2D,)
    else:
        gradient_p = _similarity_gradient(*(e[0] for e in encoders.values()), y, "both_classes")  # SAFE\W: ŷ = 1 - s
    b = alpha * gradient_p  # Eq. (18), first term, (2D,)
    if both:
        t, v = (encoder[0] for encoder in encoders.values())
        b = b + beta * _similarity_gradient(t, v, y, similarity_loss)  # Eq. (18), second term
    b = dict(zip(encoders, b.chunk(len(encoders)), strict=True))  # B_t and B_v, (D,) each

    banks = len(next(getattr(theta, name) for name in encoders).filters)
    for h in range(banks):  # line 5
        for name, (_, c_hat, windows) in encoders.items():  # lines 6 and 7: text first, then visual
            moved, read = getattr(theta, name), getattr(before, name)
            num_filters = len(moved.filters[h].bias)
            for k in range(num_filters):
                column = h * num_filters + k
                if c_hat[column] == 0:
                    continue  # ReLU is off: Eq. (16) moves the column by 0, and so does Eq. (17) with ReLU's derivative
                moved.project_weight[:, column].sub_(gamma * c_hat[column] * b[name])  # Eq. (16)
                step = gamma * (read.project_weight[:, column] @ b[name])
                moved.filters[h].weight[k].sub_(step * windows[column])  # Eq. (17)
                moved.filters[h].bias[k].sub_(step)
    for name in encoders:
        getattr(theta, name).project_bias.sub_(gamma * b[name])  # Eq. (16), once per article, last


def _best_windows(sentence: Tensor, encoder: TextCnnWeights) -> tuple[Tensor, list[Tensor]]:
    """ĉ of every filter (g·K,) and x^{î:î+h-1}, the window (h, E) at which it is reached."""
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
    return torch.stack(c_hat), best


def _similarity_gradient(t: Tensor, v: Tensor, y: int, similarity_loss: str) -> Tensor:
    """∇L_s(t) ⊕ ∇L_s(v), (2D,): Eq. (15) for both encoders, and under `both_classes` its second half."""
    (t_0, t_norm), (v_0, v_norm) = unit_vectors(t), unit_vectors(v)
    s = (1 + (t_0 @ v_0).clamp(-1, 1)) / 2
    factor = (1 - y) / s if s >= SIMILARITY_FLOOR else 0.0
    if similarity_loss == "both_classes" and 1 - s >= SIMILARITY_FLOOR:
        factor = factor - y / (1 - s)
    toward_t = factor / (2 * t_norm) * ((2 * s - 1) * t_0 - v_0)  # Eq. (15)
    toward_v = factor / (2 * v_norm) * ((2 * s - 1) * v_0 - t_0)
    return torch.cat([toward_t, toward_v]).to(t.dtype)


def _sentence(embedded: Tensor, lengths: Tensor | None, j: int) -> Tensor:
    """The words of article j (n, E), without padding."""
    return embedded[j] if lengths is None else embedded[j, : int(lengths[j])]


def _copy(weights: SafeWeights) -> SafeWeights:
    """The same structure with the values as they are now."""
    return map_tensors(torch.clone, weights)
