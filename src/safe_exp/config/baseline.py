"""conf/baseline, conf/baseline.yaml: what a model must beat, and on which articles."""

from dataclasses import dataclass

from omegaconf import MISSING

from safe_exp.config.captioner import CaptionerConfig
from safe_exp.config.checks import require_at_least, require_positive
from safe_exp.config.data import DataConfig
from safe_exp.system.errors import UserError


@dataclass
class MethodConfig:
    name: str = MISSING  # majority | tfidf


@dataclass
class TfidfConfig(MethodConfig):
    """Logistic regression on TF-IDF of title and body, by scikit-learn, fitted on the training articles alone."""

    ngram_range: list[int] = MISSING  # shortest and longest run of words that counts as a feature
    min_df: int = MISSING  # a feature stands in at least so many training articles
    sublinear_tf: bool = MISSING  # 1 + ln(count) instead of the count
    C: float = MISSING  # inverse strength of the L2 penalty
    class_weight: str | None = MISSING  # balanced: both classes weigh the same in training; null: each article does

    def __post_init__(self) -> None:
        shortest, longest = self.ngram_range if len(self.ngram_range) == 2 else (0, 0)
        if not 1 <= shortest <= longest:
            raise UserError(
                f"baseline.ngram_range={self.ngram_range}: expected the shortest and the longest run of words, as in "
                "baseline.ngram_range=[1,2]."
            )
        require_at_least("baseline.min_df", self.min_df, 1)
        require_positive("baseline.C", self.C)
        if self.class_weight not in (None, "balanced"):
            raise UserError(f"baseline.class_weight={self.class_weight}: expected balanced or null.")


@dataclass
class BaselineConfig:
    baseline: MethodConfig = MISSING
    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING  # an article without the sentence that train needs is left out here as well
