"""conf/predict.yaml: a stored run is asked about articles."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least, require_threshold
from safe_exp.config.data import DataConfig
from safe_exp.system.errors import UserError

# What may be said of one article on the command line. Taken as typed, not in Hydra's grammar, which gives commas,
# brackets, quotation marks and ${…} a meaning that they do not have in a newspaper.
ARTICLE_KEYS = ("id", "title", "text", "image", "caption")


@dataclass
class PredictConfig:
    run: str = MISSING  # the run folder, or a file made by export, whose model is asked
    checkpoint: str = MISSING  # best or last
    data: DataConfig | None = None  # a folder or a table of articles; their labels are not read
    id: str | None = None
    title: str | None = None
    text: str | None = None
    image: str | None = None  # a file
    caption: str | None = None  # the sentence that describes the image
    images: str | None = MISSING  # JSON lines may name images below this folder, relative to it; null: none at all
    calibrate: bool = MISSING  # probability at validation's temperature; thresholds are about it, at 0.5 verdicts stay
    threshold: Any = MISSING  # a probability above it is the verdict "fake"; best: the run's own, from validation
    explain: bool = MISSING  # say which phrases and patches moved the verdict and the similarity
    explain_to: str | None = MISSING  # folder for a picture of each article's patches (visual words); implies explain
    phrases: int = MISSING  # listed in each part of an explanation, the strongest first; the others are summed
    batch_size: int = MISSING  # articles answered together, at most; what has arrived does not wait for more

    def __post_init__(self) -> None:
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")
        require_threshold(self.threshold)
        require_at_least("batch_size", self.batch_size, 1)
        require_at_least("phrases", self.phrases, 1)
        if self.data is not None and self.one_article:
            given = next(name for name in ARTICLE_KEYS if getattr(self, name) is not None)
            raise UserError(f"data={self.data.name} and {given}=… were both given: expected a data set or one article.")

    @property
    def one_article(self) -> bool:
        return any(getattr(self, name) is not None for name in ARTICLE_KEYS)

    @property
    def explains(self) -> bool:
        return self.explain or self.explain_to is not None
