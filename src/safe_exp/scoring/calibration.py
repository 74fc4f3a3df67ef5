"""What validation teaches about a run's scores: how far to trust them, where to cut, how to join both scorers.

Everything is fitted on validation articles alone, so test figures that use it stay honest; validation's own are then a
little flattered. Three things, each small enough to be said in a line of JSON:

- the temperature T of Guo et al. 2017: σ(logit / T) is the calibrated probability. No verdict at 0.5 changes with it;
- for each scorer the threshold with the highest macro F1. The run uses it only when it is asked to (`threshold=best`);
- the combination of M_p's logit and M_s by logistic regression, a third scorer beside `prediction` and `similarity`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from safe_exp.config.figure_names import THRESHOLD
from safe_exp.system.errors import UserError
from safe_exp.system.files import write_json

FILE = "calibration.json"  # in artifacts/
TEMPERATURES = 0.05, 20.0  # where the classes are told apart without a fault, the likeliest temperature would be 0


@dataclass(frozen=True)
class Combination:
    """The probability of fake from logit and similarity: σ(a · logit + b · s + c)."""

    logit: float  # a
    similarity: float  # b; below 0 where unlike text and image speak for fake
    constant: float  # c

    def score(self, logit: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        return expit(self.logit * logit + self.similarity * similarity + self.constant)  # (N,)


@dataclass(frozen=True)
class Calibration:
    temperature: float
    thresholds: dict[str, float]  # by scorer; a score above it is the verdict "fake"
    combination: Combination | None  # None for a variant with one scorer
    articles: int  # that it was fitted on

    def probability(self, logit: np.ndarray) -> np.ndarray:
        """The calibrated probability of fake, (N,)."""
        return expit(np.asarray(logit, np.float64) / self.temperature)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def save(self, folder: Path) -> None:
        write_json(Path(folder) / FILE, self.plain())

    @classmethod
    def load(cls, folder: Path) -> Calibration | None:
        """What `save` wrote; None where a run has none, as one of an older version or one without both classes.

        Raises:
            UserError: the file is damaged.
        """
        path = Path(folder) / FILE
        if not path.exists():
            return None
        try:
            return cls.of(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{path}: the calibration cannot be read ({error}). Was the copy complete?") from error

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Calibration:
        """From what `plain` gave; raises ValueError, TypeError or KeyError for anything else."""
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
    """Everything above, from the validation articles.

    Args:
        logit: ln ŷ/(1-ŷ), (N,).
        similarity: s, (N,), or None.
        label: 1 = fake, (N,).
        combines: whether M_p and M_s are two scorers; in SAFE\\W they are one.
    Returns:
        None when a class is missing or a score is not finite: nothing can be learned then.
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
    """T that makes the labels likeliest under σ(logit / T), within TEMPERATURES.

    The loss is convex in 1/T, so there is one minimum.

    Args:
        logit: (N,) finite.
        label: 1 = fake, (N,), of both classes.
    """
    from scipy.optimize import minimize_scalar  # who only asks a run waits for no import of it

    sign = np.where(label == 1, 1.0, -1.0)

    def loss(inverse: float) -> float:
        return float(np.logaddexp(0, -sign * logit * inverse).mean())

    low, high = TEMPERATURES
    found = minimize_scalar(loss, bounds=(1 / high, 1 / low), method="bounded", options={"xatol": 1e-9})
    return float(1 / found.x)


def best_threshold(score: np.ndarray, label: np.ndarray) -> float:
    """The threshold with the highest macro F1; of equally good ones the nearest to THRESHOLD.

    Thresholds lie half-way between neighbouring scores; THRESHOLD is one of the candidates, so that where nothing is
    better nothing is changed.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, (N,).
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
    """Logistic regression on both scorers, each brought to mean 0 and variance 1, with scikit-learn's default penalty.

    Without a penalty separable classes would have no solution, and validation splits are small.
    """
    from sklearn.linear_model import LogisticRegression

    features = np.stack([logit, similarity], axis=1).astype(np.float64)  # (N, 2)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0  # a scorer that says the same of everything tells nothing
    # Newton's method goes on to the minimum; the default stops where the path to it has led.
    fitted = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit((features - mean) / scale, label)
    weights = fitted.coef_[0] / scale  # (2,)
    return Combination(float(weights[0]), float(weights[1]), float(fitted.intercept_[0] - weights @ mean))
