"""Types of conf/model/ and conf/optimizer/: SAFE, its variants, its losses and its update.

`safe_exp.network.variants.Variant.check` refuses settings that contradict the variant.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypedDict

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least, require_positive, require_share
from safe_exp.system.errors import UserError


class SimilarityLoss(str, Enum):
    """The form of L_s."""

    real_only = "real_only"  # -(1-y) ln s, whose gradient is the printed Eq. (15)
    both_classes = "both_classes"  # -(1-y) ln s - y ln(1-s), as in the paper's prose and the authors' code


class Update(str, Enum):
    """The computation of the gradients."""

    closed_form = "closed_form"  # the gradients of Eqs. (12)-(18), for all articles of a mini-batch at once
    algorithm1 = "algorithm1"  # the loop of Algorithm 1, one article at a time
    autograd = "autograd"  # gradients by PyTorch's autograd, an independent check of the other two


class Order(str, Enum):
    """The order of the assignments in Algorithm 1."""

    simultaneous = "simultaneous"  # all gradients are taken at the parameters from before the article
    sequential = "sequential"  # each assignment takes effect at once, in the printed order


ARTICLE_WEIGHTS = ("none", "class", "source", "source_root")


class LossSettings(TypedDict):
    """Keyword arguments of `safe_exp.equations.safe_loss`."""

    alpha: float
    beta: float
    similarity_loss: str


@dataclass
class ModelConfig:
    """A variant of SAFE, its loss and its update."""

    variant: str = MISSING  # name of the variant, a module in safe_exp/network/variants
    alpha: float = MISSING  # α, weight of the prediction loss L_p, >= 0
    beta: float = MISSING  # β, weight of the similarity loss L_s, >= 0
    gamma: float = MISSING  # γ, learning rate, > 0; each optimizer sets its own default
    filter_sizes: list[int] = MISSING  # H, window widths in words, >= 1; to sweep: 'model.filter_sizes=[3,4],[3,4,5]'
    num_filters: int = MISSING  # K, number of filters of each width, >= 1
    feature_dim: int = MISSING  # D, length of the feature vectors t and v, >= 1
    similarity_loss: SimilarityLoss = MISSING  # L_s of one article, s its similarity and y its label
    update: Update = MISSING  # computation of the gradients
    order: Order = MISSING  # order of the assignments of update=algorithm1
    word_dim: int | None = None  # for model=released: length that each word vector is mapped to, >= 1
    headline_words: int | None = None  # for model=released: words that are read of the title, >= 1
    body_words: int | None = None  # for model=released: words that are read of the body, >= 1
    article_weights: str = "none"  # none; class: balanced in L; source: publishers alike in each; source_root: by √size
    label_smoothing: float = 0.0  # ε: in training L_p is that of ỹ = y (1 - ε) + ε/2, 0 <= ε < 1
    pooled_dropout: float = 0.0  # share of the pooled features ĉ that a training step drops, 0 <= p < 1
    feature_dropout: float = 0.0  # share of t ⊕ v, as M_p reads it, that a training step drops, 0 <= p < 1
    extra: dict[str, Any] = field(default_factory=dict)  # further settings of a variant by name, as its file lists them

    @property
    def loss_settings(self) -> LossSettings:
        """Keyword arguments for `safe_loss`."""
        return {"alpha": self.alpha, "beta": self.beta, "similarity_loss": self.similarity_loss.value}

    def describe_regularisers(self) -> str:
        """Describe weights of articles, label smoothing and dropout in words; empty where all are off."""
        found = [f"articles weighed by {self.article_weights}"] if self.article_weights != "none" else []
        found += [f"labels smoothed by {self.label_smoothing:g}"] if self.label_smoothing else []
        found += [f"dropout of {self.pooled_dropout:g} on ĉ"] if self.pooled_dropout else []
        found += [f"dropout of {self.feature_dropout:g} on t ⊕ v"] if self.feature_dropout else []
        return ", ".join(found)

    @property
    def network_sizes(self) -> dict[str, Any]:
        """Sizes that every network has: filter_sizes, num_filters and feature_dim."""
        return {
            "filter_sizes": list(self.filter_sizes),
            "num_filters": self.num_filters,
            "feature_dim": self.feature_dim,
        }

    def __post_init__(self) -> None:
        require_at_least("model.alpha", self.alpha, 0)
        require_at_least("model.beta", self.beta, 0)
        require_positive("model.gamma", self.gamma)
        if self.article_weights not in ARTICLE_WEIGHTS:
            raise UserError(f"model.article_weights={self.article_weights}: expected {' or '.join(ARTICLE_WEIGHTS)}.")
        for name in ("label_smoothing", "pooled_dropout", "feature_dropout"):
            require_share(f"model.{name}", getattr(self, name))
        require_at_least("model.num_filters", self.num_filters, 1)
        require_at_least("model.feature_dim", self.feature_dim, 1)
        if not self.filter_sizes:
            raise UserError(
                "model.filter_sizes is empty; give at least one window width, as in model.filter_sizes=[3,4]."
            )
        if min(self.filter_sizes) < 1:
            raise UserError(
                f"model.filter_sizes={self.filter_sizes}: a window covers at least 1 word; every width must be >= 1."
            )
        if len(set(self.filter_sizes)) != len(self.filter_sizes):
            raise UserError(
                f"model.filter_sizes={self.filter_sizes} repeats a width; H is a set. "
                "For more filters of one width raise model.num_filters."
            )


@dataclass
class OptimizerConfig:
    """Arguments that SGD, Adam and AdamW share."""

    _target_: str = MISSING  # class of the optimizer, of torch.optim
    lr: float = MISSING  # γ, learning rate, > 0; set it by model.gamma
    weight_decay: float = MISSING  # λ >= 0; sgd, adam: L2 penalty, λw joins the gradient; adamw: a step takes γλw off w

    def __post_init__(self) -> None:
        require_at_least("optimizer.weight_decay", self.weight_decay, 0)


@dataclass
class SgdConfig(OptimizerConfig):
    """Arguments of torch.optim.SGD."""

    momentum: float = MISSING  # momentum; 0 is the paper's update
    fused: bool = MISSING  # true: update all parameters in one kernel; false: one after the other


@dataclass
class AdamConfig(OptimizerConfig):
    """Arguments of torch.optim.Adam and AdamW."""

    betas: list[float] = MISSING  # decay rates of the running means of the gradient and of its square, 0 to 1
    fused: bool = MISSING  # true: update all parameters in one kernel; false: one after the other


@dataclass
class AnyOptimizerConfig:
    """Arguments of any optimizer. Those beside these two are attributes, which its class alone checks."""

    _target_: str  # class of the optimizer, of torch.optim or of a module that can be imported
    lr: float  # γ, learning rate, > 0; set it by model.gamma

    @classmethod
    def read(cls, settings: dict[str, Any]) -> "AnyOptimizerConfig":
        """Read the section `optimizer` of a config.

        Raises:
            UserError: it has no class, or no learning rate above 0.
        """
        for name in ("_target_", "lr"):
            if settings.get(name) is None:
                value = "torch.optim.RMSprop" if name == "_target_" else "${model.gamma}"
                raise UserError(f"optimizer.{name} must be given, as in optimizer.{name}={value}.")
        if not isinstance(settings["lr"], int | float):
            raise UserError(f"optimizer.lr={settings['lr']}: expected a number.")
        require_positive("optimizer.lr", settings["lr"])
        config = cls(settings["_target_"], settings["lr"])
        vars(config).update(settings)
        return config
