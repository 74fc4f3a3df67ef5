"""Baselines: simple classifiers of scikit-learn, fitted and scored on the split that a training would use."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import embedding_bag

from safe_exp.config import (
    BaselineConfig,
    MeanVectorsConfig,
    MethodConfig,
    RegressionConfig,
    TfidfConfig,
    VectorsConfig,
)
from safe_exp.config.threshold import THRESHOLD
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.encoded import EncodedArticles
from safe_exp.data.scripts import holds_unspaced
from safe_exp.data.text import AT_SPACES, Cutting, split_words
from safe_exp.scoring.intervals import bootstrap_intervals
from safe_exp.scoring.results import Predictions, write_metrics, write_predictions
from safe_exp.scoring.scores import class_balance, scorer_figures
from safe_exp.scoring.table import print_results
from safe_exp.scoring.trust import trust_lines
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path

log = logging.getLogger(__name__)

# Parts of scikit-learn's messages where there is no word, no word in min_df articles, and fewer articles than min_df.
EMPTY_VOCABULARY_MESSAGES = ("empty vocabulary", "no terms remain", "max_df corresponds to < documents than min_df")
SKLEARN_WORD = re.compile(r"\b\w\w+\b")  # the default of TfidfVectorizer
MAX_SOLVER_STEPS = 1000  # scikit-learn's default of 100 does not always suffice
NO_VECTORS = VectorsConfig(path=None, dim=1, seed=0)  # for baselines that read none: a large file takes minutes to read
ROWS_OF_THE_NETWORK = ("vocabulary", "unknown words", "vectors", "cut")  # of the data's summary


def score_baseline(config: BaselineConfig, folder: Path) -> float:
    """Fit a baseline on train, score it on val and test, and write metrics.json and predictions.csv.

    With `refit` the test scores are those of a second fit, on train and val together.

    Args:
        config: of the baseline and the data.
        folder: of the run.
    Returns:
        The AUROC on val.
    Raises:
        UserError: the data cannot be used, the baseline is unknown, or no feature is left to learn from.
    """
    start = time.perf_counter()
    reads_vectors = isinstance(config.baseline, MeanVectorsConfig)
    vectors = config.vectors if reads_vectors else NO_VECTORS
    datamodule = FakeNewsNetDataModule(config.data, config.captioner, vectors, seed=0)
    datamodule.setup("fit")
    for name, value in datamodule.summary():
        if reads_vectors or name not in ROWS_OF_THE_NETWORK:
            log.info("%s  %s", name.ljust(15), value)
    if datamodule.leakage is not None:
        log.warning("%s", datamodule.leakage)
    prepared, sides = datamodule.prepared, datamodule.split.sides()
    labels = prepared.labels
    fitted = time.perf_counter()
    log.info("%s  fitting %s on %s articles", "baseline".ljust(15), config.baseline.name, f"{len(sides['train']):,}")
    cutting = Cutting.from_settings(prepared.manifest["settings"])
    articles: Mapping[int, Any]
    if reads_vectors:
        means = mean_vectors(datamodule.encoded, datamodule.text_vectors, datamodule.rows)
        articles = dict(zip(datamodule.rows.tolist(), means, strict=True))
    else:
        articles = prepared.texts(datamodule.rows)
    scores = fit_and_score(config.baseline, articles, labels, sides, cutting)
    if config.refit:  # only the test scores are taken: those of val would be of articles that were fitted
        both = {"train": np.concatenate([sides["train"], sides["val"]]), "test": sides["test"]}
        scores |= fit_and_score(config.baseline, articles, labels, both, cutting)
    log.info("%s  %.1f s", "fitted".ljust(15), time.perf_counter() - fitted)
    predictions = [
        Predictions(name, [prepared.ids[row] for row in sides[name]], labels[sides[name]], probability, None)
        for name, probability in scores.items()
    ]
    metrics: dict[str, Any] = {
        **{each.split: _split_figures(each.probability, each.label) for each in predictions},
        "baseline": config.baseline.name,
        "seconds": round(time.perf_counter() - start, 3),
        "data": {**{name: len(rows) for name, rows in sides.items()}, "fingerprint": datamodule.fingerprint},
    }
    test = predictions[-1]
    metrics["test"]["intervals"] = _split_intervals(test.probability, test.label)
    write_predictions(folder / "predictions.csv", predictions)
    write_metrics(folder / "metrics.json", metrics)  # last: a run folder with metrics.json is complete
    majority = {each.split: max(each.label.mean(), 1 - each.label.mean()) for each in predictions}
    print_results(metrics, Console(), majority, title=f"Results of baseline={config.baseline.name}")
    for line in trust_lines(metrics["test"]):
        log.info("%s", line)
    log.info("Everything is in %s", short_path(folder))
    return metrics["val"]["prediction"]["auroc"]


def fit_and_score(
    config: MethodConfig,
    articles: Sequence[Any] | Mapping[int, Any],
    labels: np.ndarray,
    sides: Mapping[str, np.ndarray],
    cutting: Cutting = AT_SPACES,
) -> dict[str, np.ndarray]:
    """Fit a classifier on the side `train` alone, and score the articles of the other sides.

    Args:
        config: of the baseline.
        articles: title and body of each of the N articles, by row; for mean_vectors its mean vector (E,).
        labels: (N,) 1 = fake.
        sides: rows of each side, (n,) int; `train` is among them.
        cutting: of texts into words, see `build_classifier`.
    Returns:
        For each other side the probability of fake of its articles, (n,), in the order of its rows.
    Raises:
        UserError: the baseline is unknown, or no feature is left to learn from.
    """
    classifier = build_classifier(config, cutting)
    try:
        classifier.fit([articles[row] for row in sides["train"]], labels[sides["train"]])
    except ValueError as error:
        if any(words in str(error) for words in EMPTY_VOCABULARY_MESSAGES):
            raise UserError(
                f"baseline={config.name}: no run of words stands in {getattr(config, 'min_df', 1)} or more of the "
                f"{len(sides['train'])} training articles. Lower baseline.min_df."
            ) from error
        raise
    fake = list(classifier.classes_).index(1)
    return {
        name: classifier.predict_proba([articles[row] for row in rows])[:, fake]
        for name, rows in sides.items()
        if name != "train"
    }


def build_classifier(config: MethodConfig, cutting: Cutting = AT_SPACES) -> DummyClassifier | Pipeline:
    """Build the classifier of `baseline=…`, not yet fitted.

    Words are scikit-learn's own. Those of Chinese, say, would be whole clauses: a text of such a script is cut as it is
    for the network.

    Args:
        cutting: of the texts that it is fitted to.
    Raises:
        UserError: no baseline has this name.
    """
    if config.name == "majority":
        return DummyClassifier(strategy="prior")  # verdict: the majority class; probability: the share of fakes
    if isinstance(config, TfidfConfig):
        words = TfidfVectorizer(
            ngram_range=tuple(config.ngram_range),
            min_df=config.min_df,
            sublinear_tf=config.sublinear_tf,
            **({} if cutting == AT_SPACES else {"tokenizer": _Words(cutting), "token_pattern": None}),
        )
        return Pipeline(
            [
                ("tfidf", words),
                ("regression", _build_regression(config)),
            ]
        )
    if isinstance(config, MeanVectorsConfig):
        # Vectors of several origins side by side differ in length; one penalty suits them once they are standardised.
        return Pipeline([("scaler", StandardScaler()), ("regression", _build_regression(config))])
    raise UserError(f"baseline.name={config.name}: expected majority, tfidf or mean_vectors.")


def mean_vectors(encoded: EncodedArticles, table: Tensor, rows: np.ndarray) -> np.ndarray:
    """Average the vectors of the words of each article as the network reads them, a batch at a time.

    The words are those of title and body up to `data.max_text_tokens`. A word without a vector counts with the random
    one that the network reads in its place.

    Args:
        encoded: all articles, whose texts are word numbers (B, L), or sequences of vectors (B, L, E).
        table: the vectors (V, E) of the word numbers; row 0 is padding.
        rows: of the articles that are averaged, (n,) int64.
    Returns:
        (n, E) float32; 0 for an article without a word.
    """
    means = []
    for start in range(0, len(rows), encoded.scored_at_once):
        batch = encoded.__getitems__(rows[start : start + encoded.scored_at_once].tolist())
        words = batch.text_tokens
        if words.is_floating_point():
            means.append(words.sum(dim=1, dtype=torch.float32) / batch.text_lengths.clamp(min=1)[:, None])  # padding: 0
        else:
            means.append(embedding_bag(words, table, mode="mean", padding_idx=0))
    return torch.cat(means).numpy()  # (n, E)


def _build_regression(config: RegressionConfig) -> LogisticRegression:
    return LogisticRegression(C=config.C, class_weight=config.class_weight, max_iter=MAX_SOLVER_STEPS)


class _Words:
    """Words of a text for scikit-learn: its own, but for scripts without spaces and addresses that become one word.

    Such a text is cut as it is for the network. Punctuation and single letters are left out, as scikit-learn does.
    """

    def __init__(self, cutting: Cutting) -> None:
        self.cutting = cutting

    def __call__(self, text: str) -> list[str]:
        if self.cutting.keep_urls and not holds_unspaced(text):
            return SKLEARN_WORD.findall(text)
        words, _ = split_words(text, len(text), self.cutting)
        return [word for word in words if holds_unspaced(word) or (len(word) > 1 and any(map(str.isalnum, word)))]


def _split_figures(probability: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compute a split's part of metrics.json, with the keys of a variant that has no similarity.

    Args:
        probability: (N,) of fake.
        labels: (N,) 1 = fake.
    """
    loss = float(log_loss(labels, probability, labels=[0, 1]))
    score, label = torch.from_numpy(np.ascontiguousarray(probability)), torch.from_numpy(labels)
    return {
        "loss": loss,
        "loss_prediction": loss,
        "articles": class_balance(label),
        "thresholds": {"prediction": THRESHOLD},
        "prediction": scorer_figures(score, label),
    }


def _split_intervals(probability: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compute the bootstrap interval of each figure of `_split_figures`, from the same (N,) and (N,)."""
    label_probability = np.where(labels == 1, probability, 1 - probability)
    loss = -np.log(np.clip(label_probability, np.finfo(probability.dtype).eps, 1))
    return bootstrap_intervals(
        {"prediction": (probability, THRESHOLD)}, {"loss": loss, "loss_prediction": loss}, labels
    )
