"""conf/model, conf/optimizer: SAFE, its variants, its losses and its update."""

from dataclasses import dataclass
from enum import Enum
from typing import TypedDict

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least, require_positive
from safe_exp.system.errors import UserError


class Variant(str, Enum):
    """SAFE, the four ablations of the paper, and what its authors released."""

    safe = "safe"  # the whole model
    text_only = "text_only"  # SAFE\V: no image
    visual_only = "visual_only"  # SAFE\T: no text
    no_similarity = "no_similarity"  # SAFE\S: β = 0
    similarity_only = "similarity_only"  # SAFE\W: M_s alone decides, α = 0
    released = (
        "released"  # headline, body and image's sentence behind one map of the words: safe_exp.network.released_network
    )

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities that the variant reads."""
        return {"text_only": ("text",), "visual_only": ("visual",)}.get(self.value, ("text", "visual"))

    @property
    def combines(self) -> bool:
        """Whether M_p and M_s are two scorers, which can be joined; in SAFE\\W the one is the other."""
        return len(self.reads) == 2 and self is not Variant.similarity_only


class SimilarityLoss(str, Enum):
    real_only = "real_only"  # -(1-y) ln s, whose gradient is the printed Eq. (15)
    both_classes = "both_classes"  # -(1-y) ln s - y ln(1-s), as in the paper's prose and the authors' code


class Update(str, Enum):
    closed_form = "closed_form"  # Eqs. (12)-(18), vectorised over the mini-batch
    algorithm1 = "algorithm1"  # the paper's loop, article by article
    autograd = "autograd"  # the independent twin: PyTorch derives the gradients


class Order(str, Enum):
    simultaneous = "simultaneous"  # every right-hand side at the parameters before the article
    sequential = "sequential"  # assignments take effect in the printed order


class LossSettings(TypedDict):
    """Keyword arguments of `safe_exp.equations.safe_loss`."""

    alpha: float
    beta: float
    similarity_loss: str


@dataclass
class ModelConfig:
    variant: Variant = MISSING
    alpha: float = MISSING  # α, weight of the prediction loss L_p, >= 0
    beta: float = MISSING  # β, weight of the similarity loss L_s, >= 0
    gamma: float = MISSING  # γ, learning rate, > 0; each optimizer sets a default that suits it
    filter_sizes: list[int] = MISSING  # H, window widths in words; sweep: 'model.filter_sizes=[3,4],[3,4,5]'
    num_filters: int = MISSING  # K, filters for each width
    feature_dim: int = MISSING  # D, length of the feature vectors t and v
    similarity_loss: SimilarityLoss = MISSING
    update: Update = MISSING
    order: Order = MISSING  # for update=algorithm1
    word_dim: int | None = None  # model=released: numbers that each word vector is mapped to
    headline_words: int | None = None  # model=released: words read of the title
    body_words: int | None = None  # model=released: words read of the body

    @property
    def loss_settings(self) -> LossSettings:
        """The arguments of `safe_loss` that the config decides."""
        return {"alpha": self.alpha, "beta": self.beta, "similarity_loss": self.similarity_loss.value}

    def __post_init__(self) -> None:
        require_at_least("model.alpha", self.alpha, 0)
        require_at_least("model.beta", self.beta, 0)
        require_positive("model.gamma", self.gamma)
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
        self._check_loss_weights()
        self._check_released()

    def _check_released(self) -> None:
        released = self.variant is Variant.released
        for key in ("word_dim", "headline_words", "body_words"):
            value = getattr(self, key)
            if released:
                require_at_least(f"model.{key}", value if value is not None else 0, 1)
            elif value is not None:
                raise UserError(f"model.{key}={value} has a meaning for model=released alone; leave it out.")
        if released and self.update is Update.algorithm1:
            raise UserError(
                "model.update=algorithm1: the paper's loop knows one text, one image and no map of the words. Train "
                "model=released with model.update=closed_form, or take model=safe."
            )

    def _check_loss_weights(self) -> None:
        name, alpha, beta = self.variant.value, self.alpha, self.beta
        if alpha == 0 and beta == 0:
            raise UserError(
                "model.alpha and model.beta are both 0: nothing is learned. Make at least one of them positive."
            )
        if self.variant is Variant.similarity_only:
            if alpha != 0:
                raise UserError(
                    f"model.alpha={alpha}: in model=similarity_only M_s alone decides and there is no M_p to train. "
                    "Set model.alpha=0, or take model=safe."
                )
            return
        if self.variant not in (Variant.safe, Variant.released):
            if beta != 0:
                raise UserError(
                    f"model.beta={beta}: model={name} has no similarity loss. Set model.beta=0, or take model=safe."
                )
            if alpha == 0:
                raise UserError(
                    f"model.alpha=0: model={name} learns from the prediction loss alone. Set model.alpha > 0."
                )


@dataclass
class OptimizerConfig:
    _target_: str = MISSING  # a torch.optim class
    lr: float = MISSING  # γ; refers to model.gamma
    weight_decay: float = MISSING  # L2 penalty, >= 0

    def __post_init__(self) -> None:
        require_at_least("optimizer.weight_decay", self.weight_decay, 0)


@dataclass
class SgdConfig(OptimizerConfig):
    momentum: float = MISSING  # 0 is the paper's update
    fused: bool = MISSING  # one kernel for all parameters; false: PyTorch's loop over them


@dataclass
class AdamConfig(OptimizerConfig):
    betas: list[float] = MISSING  # decay of the two running means
    fused: bool = MISSING  # as above
