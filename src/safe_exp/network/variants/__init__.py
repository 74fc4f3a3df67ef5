"""SAFE and its variants by the name in `model.variant`: each is one object in a module of its own.

`Variant` is their interface; `safe.SafeVariant` is SAFE and the paper's ablations of it, `released.ReleasedVariant` the
architecture that its authors released. A further module registers itself: nothing else is edited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from safe_exp.config import ModelConfig, Update
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput, Words
from safe_exp.equations.text_cnn import TextCnnCache
from safe_exp.system.errors import UserError
from safe_exp.system.registry import Registry

RELEASED_SIZES = ("word_dim", "headline_words", "body_words")  # of ModelConfig
SETTING_TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Variant(ABC, Generic[Network]):
    """One architecture: its network, its forward pass and step, and the facts that the rest of the program asks for.

    Only `build` has to be written. The other methods serve a network that reads one text and one sentence of the image,
    and is trained by autograd.
    """

    name: str
    reads: tuple[str, ...] = ("text", "visual")  # the modalities
    compares: bool = True  # it computes a similarity M_s
    losses: tuple[str, ...] = ("prediction", "similarity")  # that it learns from: L_p needs an M_p, L_s an M_s
    updates: tuple[Update, ...] = (Update.autograd,)  # closed_form needs `step`; algorithm1 knows SafeNetwork alone
    # network and step take `masks`, the step also `weight` and `label_smoothing`: see safe_exp.equations
    regularised: bool = False
    stackable: bool = False  # its step is SAFE's, so that hydra/launcher=stacked computes the same
    explained: bool = False  # its logit is a sum over the windows of `encoders`; the cosine too, where it compares
    settings: Mapping[str, type] = field(default_factory=dict)  # of its own, in model.extra: int, float, str or bool

    @property
    def combines(self) -> bool:
        """True where M_p and M_s are two scorers, which can be joined; in SAFE\\W the verdict is M_s itself."""
        return self.compares and "prediction" in self.losses

    # ── the network ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def build(self, model: ModelConfig, text_dim: int, visual_dim: int) -> Network:
        """Build a network with fresh weights, for word vectors of E = `text_dim` and Ev = `visual_dim` numbers.

        Called with the batch's `sentences`, each joined with its word vectors, the network returns a `SafeOutput`.

        Raises:
            UserError: it cannot read word vectors of these lengths.
        """

    def sentences(self, model: ModelConfig, batch: NewsBatch) -> dict[str, Tensor | None]:
        """Choose the sentences that the network reads, by the names of its arguments.

        Returns:
            Word numbers (B, L) or vectors (B, L, E), None for an argument that is not read, and their `…_lengths`,
            (B,). The sentence of the image is named `visual`.
        """
        found: dict[str, Tensor | None] = {"text": None, "visual": None}
        if "text" in self.reads:
            found |= {"text": batch.text_tokens, "text_lengths": batch.text_lengths}
        if "visual" in self.reads:
            found |= {"visual": batch.visual_tokens, "visual_lengths": batch.visual_lengths}
        return found

    def forward(self, network: Network, **sentences: Any) -> tuple[SafeOutput, Any]:
        """Run the network on its sentences, (B, L, E) or `Words`: the output, and the cache that `encoders` reads."""
        return network(**sentences), None

    def step(
        self,
        network: Network,
        label: Tensor,
        *,
        alpha: float,
        beta: float,
        similarity_loss: str,
        **arguments: Any,
    ) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        """Compute output, losses and exact gradients of one mini-batch without autograd.

        Args:
            network: the parameters stay as they are.
            label: 1 = fake, 0 = real, (B,).
            alpha, beta, similarity_loss: as in `safe_exp.equations.safe_loss`.
            arguments: the network's sentences, (B, L, E) or `Words`, and their lengths (B,). Where the variant is
                `regularised`, also `weight`, `label_smoothing` and `masks`, unless they are at their defaults.
        Returns:
            The output, the batch-mean losses, each (), and {parameter name: gradient} in the parameters' shapes.
        Raises:
            NotImplementedError: the variant has no closed form, and is trained by autograd.
        """
        raise NotImplementedError(f"{self.name} has no closed form.")

    # ── explanations ──────────────────────────────────────────────────────────────────────────────────────────────────

    def encoders(self, cache: Any) -> dict[str, TextCnnCache]:
        """Name the Text-CNNs that the articles went through, in the order in which M_p reads their features.

        Returns:
            Their caches. The image's is named `image`, the others as in `cuts`; the words are as the filters read them.
        Raises:
            NotImplementedError: the variant has no explanation.
        """
        raise NotImplementedError(f"{self.name} has no explanation.")

    def cuts(self, model: ModelConfig, title_words: int) -> dict[str, slice]:
        """Cut a text, which begins with its title's words, into the parts that the encoders read."""
        return {"text": slice(0, None)}

    # ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, model: ModelConfig) -> None:
        """Refuse settings that this variant cannot be built or trained with.

        Raises:
            UserError: the message names the key.
        """
        self.check_loss_weights(model)
        self.check_sizes(model)
        if model.update not in self.updates:
            possible = " or ".join(f"model.update={update.value}" for update in self.updates)
            raise UserError(
                f"model.update={model.update.value}: model={self.name} cannot be trained that way. Set {possible}."
            )
        self.check_regularisers(model)
        self._check_extra(model.extra)

    def _check_extra(self, extra: Mapping[str, Any]) -> None:
        """Refuse settings in model.extra that are unknown, missing or of another type.

        Raises:
            UserError: the message names the key.
        """
        for name in sorted(extra.keys() - self.settings.keys()):
            known = f"Expected {' or '.join(self.settings)}." if self.settings else "It has none of its own."
            raise UserError(f"model.extra.{name}: model={self.name} has no such setting. {known}")
        for name, kind in self.settings.items():
            if name not in extra:
                raise UserError(f"model.extra.{name} must be given: model={self.name} reads it.")
            value, accepted = extra[name], (int, float) if kind is float else kind
            if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
                raise UserError(f"model.extra.{name}={value}: expected {SETTING_TYPES[kind]}.")

    def check_loss_weights(self, model: ModelConfig) -> None:
        """Refuse an α or a β that weighs a loss which this variant does not have.

        Raises:
            UserError: the message names the key; also where both are 0.
        """
        alpha, beta = model.alpha, model.beta
        if alpha == 0 and beta == 0:
            raise UserError(
                "model.alpha and model.beta are both 0: nothing is learned. Make at least one of them positive."
            )
        if "prediction" not in self.losses and alpha != 0:
            raise UserError(
                f"model.alpha={alpha}: in model={self.name} M_s alone decides and there is no M_p to train. "
                "Set model.alpha=0, or take model=safe."
            )
        if "similarity" not in self.losses and beta != 0:
            raise UserError(
                f"model.beta={beta}: model={self.name} has no similarity loss. Set model.beta=0, or take model=safe."
            )

    def check_regularisers(self, model: ModelConfig) -> None:
        """Refuse weights of articles, label smoothing and dropout that would have no effect, or are not computed.

        Raises:
            UserError: the message names the key.
        """
        dropout = [f"model.{k}={p}" for k in ("pooled_dropout", "feature_dropout") if (p := getattr(model, k))]
        of_m_p = [f"model.{k}={p}" for k in ("label_smoothing", "feature_dropout") if (p := getattr(model, k))]
        in_loss = [f"model.article_weights={model.article_weights}"] if model.article_weights != "none" else []
        in_loss += [f"model.label_smoothing={model.label_smoothing}"] if model.label_smoothing else []
        if of_m_p and "prediction" not in self.losses:
            raise UserError(
                f"{of_m_p[0]}: in model={self.name} M_s alone decides and there is no M_p to train. Leave it out, or "
                "take model=safe."
            )
        if dropout and model.update is Update.algorithm1:
            raise UserError(
                f"{dropout[0]}: model.update=algorithm1 is the paper's loop, which has no dropout. Set "
                "model.update=closed_form, or leave it out."
            )
        if dropout and not self.regularised:
            raise UserError(f"{dropout[0]}: model={self.name} has no dropout. Leave it out, or take model=safe.")
        if in_loss and not self.regularised and model.update is not Update.autograd:
            raise UserError(
                f"{in_loss[0]}: the closed form of model={self.name} does not compute it. Set model.update=autograd, "
                "or leave it out."
            )

    def check_sizes(self, model: ModelConfig) -> None:
        """Refuse sizes that belong to another architecture.

        Raises:
            UserError: the message names the key.
        """
        for key in RELEASED_SIZES:
            value = getattr(model, key)
            if value is not None:
                raise UserError(f"model.{key}={value} has a meaning for model=released alone; leave it out.")


variants: Registry[Variant[Any]] = Registry("model.variant", __name__)


def embed_batch(
    model: ModelConfig,
    batch: NewsBatch,
    text_vectors: Tensor,
    visual_vectors: Tensor,
    join: Callable[[Tensor, Tensor], Any] = Words,
) -> dict[str, Any]:
    """Join each sentence of a batch with its table of word vectors; one that holds vectors needs no table.

    Args:
        model: names the variant, which chooses the sentences.
        batch: word numbers (B, L) or vectors (B, L, E), lengths and labels (B,).
        text_vectors, visual_vectors: word vectors (V, E) and (Vv, Ev), row 0 = padding.
        join: takes a table and word numbers (B, L). `Words` keeps them apart, so that each word is multiplied once.
    Returns:
        The arguments of the network's forward pass: the results of `join`, and lengths (B,).
    Raises:
        UserError: the variant is unknown.
    """
    arguments: dict[str, Any] = variants[model.variant].sentences(model, batch)
    for name, tokens in arguments.items():
        if tokens is not None and not name.endswith("_lengths"):
            table = visual_vectors if name == "visual" else text_vectors
            arguments[name] = tokens.to(table.dtype) if tokens.is_floating_point() else join(table, tokens)
    return arguments
