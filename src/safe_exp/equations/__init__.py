"""The paper and nothing else: pure functions, tensors in, tensors out.

Zhou, Wu & Zafarani, "SAFE: Similarity-Aware Multi-Modal Fake News Detection", PAKDD 2020 (arXiv 2003.04981), section
"Optimization of SAFE". An article is A = (T, V) with label y, 1 = fake. B articles, L words, E numbers in a word
vector, g window widths, K filters for each, D features.

| paper        | ours                                    | shape           | where it is computed or moved          |
|--------------|-----------------------------------------|-----------------|----------------------------------------|
| H = {h_k}    | filter_sizes                            | g               |                                        |
| w, b (small) | {text,visual}_encoder.filters.<i>       | (K, h, E), (K)  | text_cnn.filters_backward      Eq. (17) |
| c^i          | scores, before bias and ReLU            | (B, n-h+1, K)   | windows.convolve, convolve_words       |
| î, ĉ         | positions, pooled                       | (B, K), (B, gK) | windows.best_windows                   |
| W_t, b_t     | text_encoder.project; visual_encoder    | (D, gK), (D)    | text_cnn.projection_backward   Eq. (16) |
| t, v         | text_features, visual_features          | (B, D)          | text_cnn.text_cnn_forward              |
| W_p, b_p     | predictor                               | (2, 2D), (2)    | prediction.prediction_backward Eq. (12) |
| ŷ            | probability                             | (B)             | prediction.fake_probability            |
| Δy           | prediction_error                        | (B, 2)          | prediction.prediction_error    Eq. (12) |
| ∇L_p(t)      | d_prediction, first D columns           | (B, D)          | prediction.prediction_backward Eq. (14) |
| s            | similarity                              | (B)             | similarity.similarity_forward          |
| ∇L_s(t)      | d_text of similarity_backward           | (B, D)          | similarity.similarity_backward Eq. (15) |
| B_t          | d_features, first D columns             | (B, D)          | loss.combine_feature_gradients Eq. (18) |
| L_p, L_s, L  | SafeLosses.prediction, .similarity, .total | ()           | loss.safe_loss                         |
| γ            | gamma; the optimiser's lr               |                 | torch.optim; algorithm1  Eqs. (11), (13) |

Not in the paper, off by default, and exact in each of these equations:

| ours                                    | shape           | enters                                                |
|-----------------------------------------|-----------------|-------------------------------------------------------|
| weight w, of each article               | (B)             | loss.batch_mean: L_p and L_s                          |
| label_smoothing ε, ỹ = y (1 - ε) + ε/2  | ()              | prediction.prediction_error: L_p    Eqs. (12), (14)   |
| DropoutMasks.pooled, dropout of ĉ       | (B, gK)         | text_cnn.text_cnn_backward          Eqs. (16), (17)   |
| DropoutMasks.features, of t ⊕ v for M_p | (B, 2D)         | prediction.prediction_backward      Eqs. (12), (14)   |

`closed_form.closed_form_gradients` is all of it over a mini-batch; `algorithm1.algorithm1_epoch` is the printed loop;
`released` is the architecture of the authors' released code, made of the same parts.
"""

from .algorithm1 import algorithm1_epoch
from .closed_form import closed_form_gradients, closed_form_step
from .dropout import DropoutMasks
from .loss import SafeLosses, safe_loss
from .released import released_step
from .safe import SafeOutput, SafeWeights
from .windows import Words

__all__ = [
    "DropoutMasks",
    "SafeLosses",
    "SafeOutput",
    "SafeWeights",
    "Words",
    "algorithm1_epoch",
    "closed_form_gradients",
    "closed_form_step",
    "released_step",
    "safe_loss",
]
