"""Types of conf/baseline/ and conf/baseline.yaml: classifiers that a model must beat, and the articles for it."""

from dataclasses import dataclass

from omegaconf import MISSING

from safe_exp.config.captioner import CaptionerConfig
from safe_exp.config.checks import require_at_least, require_positive
from safe_exp.config.data import AnyVectorsConfig, DataConfig
from safe_exp.system.errors import UserError


@dataclass
class MethodConfig:
    """A baseline classifier."""

    name: str = MISSING  # the classifier: majority, tfidf or mean_vectors


@dataclass
class RegressionConfig(MethodConfig):
    """Logistic regression, by scikit-learn, fitted on the training articles alone."""

    C: float = MISSING  # inverse strength of the L2 penalty, > 0
    class_weight: str | None = MISSING  # balanced: both classes have equal weight in training; null: all articles have

    def __post_init__(self) -> None:
        require_positive("baseline.C", self.C)
        if self.class_weight not in (None, "balanced"):
            raise UserError(f"baseline.class_weight={self.class_weight}: expected balanced or null.")


@dataclass
class MeanVectorsConfig(RegressionConfig):
    """Logistic regression on the mean of an article's word vectors, each number standardised."""


@dataclass
class TfidfConfig(RegressionConfig):
    """Logistic regression on the TF-IDF of title and body."""

    ngram_range: list[int] = MISSING  # numbers of words in the shortest and the longest n-gram that is a feature, >= 1
    min_df: int = MISSING  # fewest training articles that a feature must occur in, >= 1
    sublinear_tf: bool = MISSING  # true: 1 + ln(count) in place of the count of a word

    def __post_init__(self) -> None:
        super().__post_init__()
        shortest, longest = self.ngram_range if len(self.ngram_range) == 2 else (0, 0)
        if not 1 <= shortest <= longest:
            raise UserError(
                f"baseline.ngram_range={self.ngram_range}: expected the shortest and the longest run of words, as in "
                "baseline.ngram_range=[1,2]."
            )
        require_at_least("baseline.min_df", self.min_df, 1)


@dataclass
class BaselineConfig:
    """Keys of `python -m safe_exp.baseline`."""

    baseline: MethodConfig = MISSING
    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING  # an article that has no sentence for train is left out here too
    vectors: AnyVectorsConfig = MISSING  # read by baseline=mean_vectors alone
    refit: bool = False  # true: for the test figures, fit once more on training and validation articles together
