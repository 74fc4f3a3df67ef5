"""SafeModule: the manual update, the metrics, the optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import hydra.utils
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from safe_exp.architecture import build_network, closed_form_of, sentences
from safe_exp.config import ModelConfig, OptimizerConfig, Update, Variant, plain_config
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput, Words, algorithm1_epoch, safe_loss
from safe_exp.errors import UserError
from safe_exp.scores import SplitScores, log_names, split_figures


class SafeModule(pl.LightningModule):
    """Trains a SafeNetwork by the paper's own update, on word indices that are embedded a batch at a time.

    Args:
        model, optimizer, scheduler: as in conf/.
        text_vectors, visual_vectors: word vectors (V, E) and (Vv, Ev), row 0 = padding; not trained, as in the paper.
        gradient_clip_val, gradient_clip_algorithm: as the Trainer's, which refuses them beside a manual update.
        monitor: validation metric that a scheduler may want to see.
    """

    def __init__(
        self,
        model: ModelConfig,
        optimizer: OptimizerConfig,
        text_vectors: Tensor,
        visual_vectors: Tensor,
        scheduler: dict[str, Any] | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
        monitor: str = "val/loss_prediction",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Plain values only: checkpoints are loaded weights-only, which refuses config classes.
        self.save_hyperparameters({"model": plain_config(model), "optimizer": plain_config(optimizer)})
        self.model, self.optimizer_config, self.scheduler_config = model, optimizer, scheduler
        self.gradient_clip_val, self.gradient_clip_algorithm = gradient_clip_val, gradient_clip_algorithm
        self.monitor = monitor
        self.network = build_network(model, text_vectors.shape[1], visual_vectors.shape[1])
        # Not in the checkpoint: the vectors lie in artifacts/, and an epoch should not write them again.
        self.register_buffer("text_vectors", text_vectors, persistent=False)
        shared = visual_vectors is text_vectors  # one table for both then stays one table on the device
        self.register_buffer("own_visual_vectors", None if shared else visual_vectors, persistent=False)
        self.loss_settings = {
            "alpha": model.alpha,
            "beta": model.beta,
            "similarity_loss": model.similarity_loss.value,
        }
        self.scores = SplitScores()
        self.figures: dict[str, Any] = {}  # of the split that was scored last, as in metrics.json
        self.columns: dict[str, Tensor | None] = {}  # its articles' scores

    @property
    def visual_vectors(self) -> Tensor:
        return self.text_vectors if self.own_visual_vectors is None else self.own_visual_vectors

    def embed(self, batch: NewsBatch) -> dict[str, Tensor | Words | None]:
        """What the network takes of a batch, as it computes it fastest: on a processor each word is multiplied once."""
        return self.with_vectors(batch, Words if self.device.type == "cpu" else _look_up)

    def look_up(self, batch: NewsBatch) -> dict[str, Tensor | None]:
        """What the network takes of a batch, as word vectors (B, L, E) with their lengths."""
        return self.with_vectors(batch, _look_up)

    def with_vectors(self, batch: NewsBatch, join: Callable[[Tensor, Tensor], Any]) -> dict[str, Any]:
        """The batch's sentences, each joined with its table of word vectors."""
        arguments = sentences(self.model, batch)
        for name, tokens in arguments.items():
            if tokens is not None and not name.endswith("_lengths"):
                arguments[name] = join(self.visual_vectors if name == "visual" else self.text_vectors, tokens)
        return arguments

    # ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_train_epoch_start(self) -> None:
        self.epoch_sums = None
        self.epoch_start = time.perf_counter()

    def training_step(self, batch: NewsBatch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        output, losses = self.backward_by[self.model.update](self, batch)
        norms = self.gradient_norms()
        if self.gradient_clip_val is not None:
            self.clip_gradients(optimizer, self.gradient_clip_val, self.gradient_clip_algorithm or "norm")
        optimizer.step()
        self.add_to_epoch(batch, output, losses, norms)
        if self.trainer.is_last_batch:
            self.log_dict(self.epoch_figures(), on_step=False, on_epoch=True, batch_size=1)

    def backward_closed_form(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses]:
        """Eqs. (12)-(18) over the mini-batch."""
        step = closed_form_of(self.model)
        output, losses, gradients = step(self.network, label=batch.label, **self.embed(batch), **self.loss_settings)
        self.assign_gradients(gradients, batch)
        return output, losses

    def backward_algorithm1(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses]:
        """The printed loop over the batch's articles, handed on as the gradient whose step with γ makes that very move.

        So clipping, schedulers, the reduction over processes and the count of steps are the same in every mode; with
        optimizer=sgd the parameters end where Algorithm 1 leaves them.
        """
        gamma = self.optimizers().param_groups[0]["lr"]
        articles = {**self.look_up(batch), "label": batch.label}
        with torch.no_grad():
            output = self.network(**{name: value for name, value in articles.items() if name != "label"})
            losses = safe_loss(output, batch.label, **self.loss_settings)
            before = {name: parameter.clone() for name, parameter in self.network.named_parameters()}
            algorithm1_epoch(
                self.network,
                **articles,
                gamma=gamma / len(batch.label),
                order=self.model.order.value,
                **self.loss_settings,
            )
            gradients = {}
            for name, parameter in self.network.named_parameters():
                gradients[name] = (before[name] - parameter) / gamma
                parameter.copy_(before[name])
        self.assign_gradients(gradients, batch)
        return output, losses

    def backward_autograd(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses]:
        """The independent twin: PyTorch derives the gradients, and averages them over processes by itself."""
        output = self.network(**self.look_up(batch))
        losses = safe_loss(output, batch.label, **self.loss_settings)
        self.manual_backward(losses.total * self.share_of_articles(batch))
        return SafeOutput(*(None if value is None else value.detach() for value in output)), SafeLosses(
            *(loss.detach() for loss in losses)
        )

    backward_by = {  # noqa: RUF012 - a table of methods, not state
        Update.closed_form: backward_closed_form,
        Update.algorithm1: backward_algorithm1,
        Update.autograd: backward_autograd,
    }

    def assign_gradients(self, gradients: dict[str, Tensor], batch: NewsBatch) -> None:
        parameters = dict(self.network.named_parameters())
        if self.trainer.world_size > 1:
            # DDP averages gradients inside autograd's backward hooks. No backward runs here, so without this reduce
            # each process would train a model of its own: no error, plausible losses, wrong weights.
            flat = torch.cat([gradients[name].flatten() for name in parameters]) * self.share_of_articles(batch)
            flat = self.trainer.strategy.reduce(flat, reduce_op="mean")
            pieces = flat.split([parameter.numel() for parameter in parameters.values()])
            gradients = {n: piece.view_as(parameters[n]) for n, piece in zip(parameters, pieces, strict=True)}
        for name, parameter in parameters.items():
            parameter.grad = gradients[name].to(parameter.dtype)

    def share_of_articles(self, batch: NewsBatch) -> float | Tensor:
        """Factor that turns the mean over processes into the mean over articles when their shares differ in size."""
        if self.trainer.world_size == 1:
            return 1.0
        count = torch.tensor(float(len(batch.label)), device=self.device)
        return count / self.trainer.strategy.reduce(count.clone(), reduce_op="mean")

    def gradient_norms(self) -> Tensor:
        """‖∂L/∂θ‖ of θ_p, θ_t, θ_v before clipping, (3,); NaN for a part that the variant lacks."""
        norms = []
        for part in (self.network.predictor, self.network.text_encoder, self.network.visual_encoder):
            gradients = [] if part is None else [p.grad for p in part.parameters() if p.grad is not None]
            norm = (
                torch.nn.utils.get_total_norm(gradients, foreach=True)
                if gradients
                else torch.tensor(0.0, device=self.device)
            )
            norms.append(norm.float() if part is not None else norm.new_full((), torch.nan))
        return torch.stack(norms)

    def add_to_epoch(self, batch: NewsBatch, output: SafeOutput, losses: SafeLosses, norms: Tensor) -> None:
        """Sum what the epoch's figures need, on the device and without waiting for it."""
        count = len(batch.label)
        similarity = torch.zeros_like(output.probability) if output.similarity is None else output.similarity
        fake = batch.label.to(similarity.dtype)
        sums = torch.cat(
            [
                torch.stack([value.float() for value in losses]) * count,
                torch.stack([similarity @ (1 - fake), similarity @ fake, fake.sum()]).float(),
                norms,
                torch.tensor([count, 1.0], device=norms.device),
            ]
        )
        self.epoch_sums = sums if self.epoch_sums is None else self.epoch_sums + sums

    def epoch_figures(self) -> dict[str, float]:
        """Means over the epoch's articles (losses, similarity) and steps (gradient norms)."""
        sums = self.epoch_sums
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        loss, loss_prediction, loss_similarity, s_real, s_fake, fake, *norms, count, steps = sums.tolist()
        if not loss < float("inf"):  # also NaN
            raise UserError(
                f"The training loss became {loss} in epoch {self.current_epoch}: the updates are too large. "
                f"Try model.gamma={self.model.gamma / 10:g}, or trainer.gradient_clip_val=1."
            )
        figures = {
            "train/loss": loss / count,
            "train/loss_prediction": loss_prediction / count,
            "train/loss_similarity": loss_similarity / count,
            "train/gamma": self.optimizers().param_groups[0]["lr"],
            "train/articles_per_second": count / (time.perf_counter() - self.epoch_start),
        }
        if self.model.variant not in (Variant.text_only, Variant.visual_only):
            figures["train/similarity_real"] = s_real / max(count - fake, 1)
            figures["train/similarity_fake"] = s_fake / max(fake, 1)
        for part, norm in zip(("predictor", "text_encoder", "visual_encoder"), norms, strict=True):
            if norm == norm:  # NaN: the variant lacks this part
                figures[f"train/gradient_norm_{part}"] = norm / steps
        return figures

    def on_train_epoch_end(self) -> None:
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[self.monitor])
        elif scheduler is not None:
            scheduler.step()

    # ── validation and test ───────────────────────────────────────────────────────────────────────────────────────────

    def validation_step(self, batch: NewsBatch, batch_idx: int) -> None:
        self.scores.update(batch, self.network(**self.embed(batch)))

    test_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self.scores.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        self.log_split("val")

    def on_test_epoch_end(self) -> None:
        self.log_split("test")

    def log_split(self, split: str) -> None:
        self.columns = self.scores.columns()
        self.figures = split_figures(self.columns, **self.loss_settings)
        logged = log_names(self.figures)
        if self.columns["similarity"] is not None:
            for name, label in (("real", 0), ("fake", 1)):
                of_class = self.columns["similarity"][self.columns["label"] == label]
                logged[f"similarity_{name}"] = of_class.mean().item()
        # Every process has gathered the same articles, so there is nothing left to reduce.
        self.log_dict({f"{split}/{name}": value for name, value in logged.items()}, rank_zero_only=False)

    # ── the optimiser ─────────────────────────────────────────────────────────────────────────────────────────────────

    def configure_optimizers(self) -> Any:
        settings = plain_config(self.optimizer_config)
        if self.gradient_clip_val is not None:
            settings.pop("fused", None)  # Lightning refuses to clip for a fused optimiser under mixed precision
        optimizer = hydra.utils.instantiate(settings, params=self.network.parameters())
        if self.scheduler_config is None:
            return optimizer
        scheduler = hydra.utils.instantiate(self.scheduler_config, optimizer=optimizer)
        return [optimizer], [scheduler]


def _look_up(vectors: Tensor, tokens: Tensor) -> Tensor:
    return F.embedding(tokens, vectors)  # (B, L, E)
