"""Type of conf/predict.yaml: a stored run and the articles that it shall answer."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from safe_exp.config.captioner import StoredCaptioner
from safe_exp.config.checks import require_at_least
from safe_exp.config.data import DataConfig, StoredVectors
from safe_exp.config.threshold import require_threshold
from safe_exp.system.errors import UserError

# Keys that describe one article on the command line. They are read as typed and not by Hydra's grammar, in which
# commas, brackets, quotation marks and ${…} have a meaning that they do not have in a newspaper.
ARTICLE_KEYS = ("id", "title", "text", "image", "caption")


@dataclass
class PredictConfig:
    """Keys of `python -m safe_exp.predict`."""

    run: str = MISSING  # folder of a finished run or of a sweep (its jobs as one model), or a file made by export
    checkpoint: str = MISSING  # checkpoint to answer with: best (on validation) or last
    data: DataConfig | None = None  # folder or table of articles, whose labels are not read; null: none
    id: str | None = None  # one article: its id in the answer
    title: str | None = None  # one article: its title
    text: str | None = None  # one article: its body
    image: str | None = None  # one article: file of its image
    caption: str | None = None  # one article: the sentence that describes its image
    images: str | None = MISSING  # folder of the images that JSON lines name, relative to it; null: they may name none
    calibrate: bool = MISSING  # true: probabilities at the temperature fitted on validation; threshold applies to these
    threshold: Any = MISSING  # probabilities above it are called fake; 0 to 1, or best: the run's, from validation
    explain: bool = MISSING  # true: add the phrases and patches that moved the verdict and the similarity
    explain_to: str | None = MISSING  # folder for pictures with the patches outlined; implies explain
    phrases: int = MISSING  # phrases listed in each part of an explanation, >= 1; the weaker ones are summed
    batch_size: int = MISSING  # most articles answered at a time, >= 1; fewer if no more have arrived
    captioner: StoredCaptioner = field(default_factory=StoredCaptioner)
    vectors: StoredVectors = field(default_factory=StoredVectors)

    def __post_init__(self) -> None:
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")
        require_threshold(self.threshold)
        require_at_least("batch_size", self.batch_size, 1)
        require_at_least("phrases", self.phrases, 1)
        if self.data is not None and self.one_article:
            given = next(name for name in ARTICLE_KEYS if getattr(self, name) is not None)
            raise UserError(f"data={self.data.name} and {given}=… were both given: expected a data set or one article.")

        if self.data is not None and (self.data.val_root or self.data.test_root):
            raise UserError(
                "data.val_root and data.test_root have no meaning for predict, which answers the articles of data.root "
                "whatever their side. Give their file or folder as data.root."
            )

    @property
    def one_article(self) -> bool:
        """True if the command line describes an article."""
        return any(getattr(self, name) is not None for name in ARTICLE_KEYS)

    @property
    def explains(self) -> bool:
        """True if the answers shall hold explanations."""
        return self.explain or self.explain_to is not None
