"""Calibration: the temperature, the thresholds and the combination of both scorers, fitted on validation articles.

Test figures that use them stay honest; validation's own are then a little flattered.

- The temperature T of Guo et al. 2017: σ(logit / T) is the calibrated probability. No verdict at 0.5 changes with it.
- For each scorer the threshold with the highest macro F1. A run uses it only where it is asked to (`threshold=best`).
- The combination of M_p's logit and M_s by logistic regression, a third scorer beside `prediction` and `similarity`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from safe_exp.config.threshold import THRESHOLD
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json, write_sealed_json

CALIBRATION_FILE = "calibration.json"  # in artifacts/
VALIDATION, FOLDS = "validation", "out-of-fold predictions"  # the articles that a calibration was fitted on
TEMPERATURE_BOUNDS = 0.05, 20.0  # of classes that are separated without an error the likeliest temperature would be 0


@dataclass(frozen=True)
class Combination:
    """The probability of fake from logit and similarity: σ(a · logit + b · s + c).

    Example:
        >>> import numpy as np
        >>> combination = Combination(logit=1.0, similarity=-2.0, constant=1.0)
        >>> combination.score(logit=np.array([0.0]), similarity=np.array([0.5])).tolist()  # σ(0 - 1 + 1)
        [0.5]
    """

    logit: float  # a
    similarity: float  # b; below 0 where unlike text and image speak for fake
    constant: float  # c

    def score(self, logit: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        """Compute the probability of fake, (N,), from logits and similarities, (N,)."""
        probability: np.ndarray = expit(self.logit * logit + self.similarity * similarity + self.constant)
        return probability


@dataclass(frozen=True)
class Calibration:
    """The three things fitted on validation."""

    temperature: float  # T
    thresholds: dict[str, float]  # by scorer; a score above it is the verdict "fake"
    combination: Combination | None  # None for a variant with one scorer
    articles: int  # number of articles that it was fitted on

    def probability(self, logit: np.ndarray) -> np.ndarray:
        """Compute the calibrated probability of fake, (N,) float64, from logits (N,)."""
        probability: np.ndarray = expit(np.asarray(logit, np.float64) / self.temperature)
        return probability

    def plain(self) -> dict[str, Any]:
        """The calibration as JSON holds it."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Write CALIBRATION_FILE into `folder`."""
        write_sealed_json(Path(folder) / CALIBRATION_FILE, self.plain())

    @classmethod
    def load(cls, folder: Path) -> Calibration | None:
        """Read CALIBRATION_FILE; None where a run has none: an older version made it, or validation lacked a class.

        Raises:
            UserError: the file is damaged.
        """
        path = Path(folder) / CALIBRATION_FILE
        if not path.exists():
            return None
        try:
            return cls.from_plain(read_sealed_json(path)[0])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{path}: the calibration cannot be read ({error}). Was the copy complete?") from error

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Calibration:
        """Build a calibration from the result of `plain`.

        Raises:
            ValueError, TypeError, KeyError: a part is missing, of another kind, or out of its bounds.
        """
        combination = plain["combination"]
        found = cls(
            float(plain["temperature"]),
            {str(name): float(value) for name, value in plain["thresholds"].items()},
            None if combination is None else Combination(**{name: float(v) for name, v in combination.items()}),
            int(plain["articles"]),
        )
        numbers = [found.temperature, *found.thresholds.values()]
        numbers += [] if found.combination is None else asdict(found.combination).values()
        if not all(map(math.isfinite, numbers)) or found.temperature <= 0:
            raise ValueError("expected finite numbers, and a temperature above 0")
        scorers = {"prediction", "similarity", "combined"}
        if not set(found.thresholds) <= scorers or "prediction" not in found.thresholds:
            raise ValueError(f"expected thresholds of {', '.join(sorted(scorers))}")
        if not all(0 <= threshold <= 1 for threshold in found.thresholds.values()):
            raise ValueError("expected thresholds from 0 to 1")
        return found


def fit_calibration(
    logit: np.ndarray, similarity: np.ndarray | None, label: np.ndarray, combines: bool
) -> Calibration | None:
    """Fit temperature, thresholds and combination on the validation articles.

    Args:
        logit: ln ŷ/(1-ŷ), (N,).
        similarity: s, (N,); None for a variant that compares nothing.
        label: 1 = fake, (N,).
        combines: M_p and M_s are two scorers, which can be joined; in SAFE\\W they are one.
    Returns:
        The calibration; None where a class is missing or a score is not finite, so that nothing can be fitted.
    """
    scores = [logit] if similarity is None else [logit, similarity]
    if len(np.unique(label)) < 2 or not all(np.isfinite(score).all() for score in scores):
        return None
    thresholds = {"prediction": best_threshold(expit(logit), label)}
    combination = None
    if similarity is not None:
        thresholds["similarity"] = best_threshold(1 - similarity, label)
        if combines:
            combination = fit_combination(logit, similarity, label)
            thresholds["combined"] = best_threshold(combination.score(logit, similarity), label)
    return Calibration(fit_temperature(logit, label), thresholds, combination, len(label))


def fit_temperature(logit: np.ndarray, label: np.ndarray) -> float:
    """Find the T that makes the labels likeliest under σ(logit / T), within TEMPERATURE_BOUNDS.

    The loss is convex in 1/T, so there is one minimum.

    Args:
        logit: (N,) finite.
        label: 1 = fake, (N,), of both classes.
    Example:
        >>> import numpy as np
        >>> temperature = fit_temperature(logit=np.full(4, 2.0), label=np.array([1, 1, 1, 0]))
        >>> print(f"{temperature:.4f}")  # σ(2 / T) = 3/4, T = 2 / ln 3
        1.8205
    """
    from scipy.optimize import minimize_scalar  # slow to import, and only needed here

    sign = np.where(label == 1, 1.0, -1.0)

    def loss(inverse: float) -> float:
        """Compute the mean log loss at T = 1 / `inverse`."""
        return float(np.logaddexp(0, -sign * logit * inverse).mean())

    low, high = TEMPERATURE_BOUNDS
    found = minimize_scalar(loss, bounds=(1 / high, 1 / low), method="bounded", options={"xatol": 1e-9})
    return float(1 / found.x)


def best_threshold(score: np.ndarray, label: np.ndarray) -> float:
    """Find the threshold with the highest macro F1; of equally good ones the nearest to THRESHOLD.

    Candidates lie half-way between neighbouring scores. THRESHOLD is one too, and stays where none is better.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, (N,).
    Example:
        >>> import numpy as np
        >>> round(best_threshold(score=np.array([0.6, 0.7, 0.9]), label=np.array([0, 0, 1])), 4)
        0.8
    """
    order = np.argsort(score, kind="stable")
    ascending, fake = score[order].astype(np.float64), (label[order] == 1).astype(np.int64)
    distinct = np.flatnonzero(np.diff(ascending) > 0)  # the last place of each score but the highest
    candidates = np.concatenate([[THRESHOLD], (ascending[distinct] + ascending[distinct + 1]) / 2])  # (C,)
    below = np.searchsorted(ascending, candidates, side="right")  # a score above the threshold is called fake
    missed = np.concatenate([[0], fake.cumsum()])[below]  # fakes called real
    fakes, count = fake.sum(), len(fake)
    found, called = fakes - missed, count - below
    right_real = below - missed
    f1_fake = 2 * found / np.maximum(fakes + called, 1)
    f1_real = 2 * right_real / np.maximum(count - fakes + below, 1)
    quality = f1_fake + f1_real  # (C,)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    return float(candidates[best[np.abs(candidates[best] - THRESHOLD).argmin()]])


def fit_combination(logit: np.ndarray, similarity: np.ndarray, label: np.ndarray) -> Combination:
    """Fit a logistic regression on both scorers, each brought to mean 0 and variance 1.

    The penalty is half the sum of the squared weights, scikit-learn's default. Without one separable classes have no
    solution, and validation splits are small.

    Args:
        logit: ln ŷ/(1-ŷ), (N,) finite.
        similarity: s, (N,) finite.
        label: 1 = fake, (N,), of both classes.
    """
    from scipy.optimize import minimize  # fit_temperature loads it too; scikit-learn would take half a second more

    features = np.stack([logit, similarity], axis=1).astype(np.float64)  # (N, 2)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0  # a scorer with the same score for every article
    design = np.column_stack([(features - mean) / scale, np.ones(len(label))])  # (N, 3), the intercept last
    sign, penalty = np.where(label == 1, 1.0, -1.0), np.array([1.0, 1.0, 0.0])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the penalised log loss and its gradient (3,)."""
        margin = sign * (design @ weights)
        gradient = penalty * weights - design.T @ (sign * expit(-margin))
        return float(np.logaddexp(0, -margin).sum() + penalty @ weights**2 / 2), gradient

    def curvature(weights: np.ndarray) -> np.ndarray:
        """Compute the second derivatives, (3, 3)."""
        share = expit(design @ weights)
        second: np.ndarray = np.diag(penalty) + design.T @ (design * (share * (1 - share))[:, None])
        return second

    # A method that uses the curvature reaches the minimum; others stop at a point that depends on their path.
    found = minimize(loss, np.zeros(3), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9})
    weights = found.x[:2] / scale  # (2,)
    return Combination(float(weights[0]), float(weights[1]), float(found.x[2] - weights @ mean))
