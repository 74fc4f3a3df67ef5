"""SafeModule: the manual update, the metrics, the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hydra.utils
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from safe_exp.config import ModelConfig, OptimizerConfig, Update, plain_config
from safe_exp.config.figure_names import log_names
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput, Words, algorithm1_epoch, safe_loss
from safe_exp.network.variants import embedded, variants
from safe_exp.runs.checkpoints import require_same_model
from safe_exp.scoring.scores import SplitScores, split_figures
from safe_exp.training.epoch_sums import EpochSums, gradient_norms, parts_of, require_finite


class SafeModule(pl.LightningModule):
    """Trains the network of `model.variant` by the paper's own update, on word numbers and a fixed table of vectors.

    Args:
        model, optimizer, scheduler: as in conf/.
        text_vectors, visual_vectors: word vectors (V, E) and (Vv, Ev), row 0 = padding; not trained, as in the paper.
        gradient_clip_val, gradient_clip_algorithm: as the Trainer's, which refuses them beside a manual update.
        monitor: validation metric that a scheduler may want to see.
        compiled: let torch.compile make one program of the closed-form step, and on a GPU one CUDA graph, which is
            launched at once instead of a hundred kernels one by one. It is made anew for each width of a batch.
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
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Plain values only: checkpoints are loaded weights-only, which refuses config classes.
        self.save_hyperparameters({"model": plain_config(model), "optimizer": plain_config(optimizer)})
        self.model, self.optimizer_config, self.scheduler_config = model, optimizer, scheduler
        self.gradient_clip_val, self.gradient_clip_algorithm = gradient_clip_val, gradient_clip_algorithm
        self.monitor = monitor
        self.variant = variants[model.variant]
        self.network = self.variant.build(model, text_vectors.shape[1], visual_vectors.shape[1])
        # Not in the checkpoint: the vectors lie in artifacts/, and an epoch should not write them again.
        self.register_buffer("text_vectors", text_vectors, persistent=False)
        shared = visual_vectors is text_vectors  # one table for both then stays one table on the device
        self.register_buffer("own_visual_vectors", None if shared else visual_vectors, persistent=False)
        self.loss_settings = model.loss_settings
        self.compiled_step = torch.compile(self.step, mode="reduce-overhead", dynamic=False) if compiled else None
        self.scores = SplitScores()
        self.figures: dict[str, Any] = {}  # of the split that was scored last, as in metrics.json
        self.logged: dict[str, float] = {}  # the same under the names they are logged by, as in val/similarity_auroc
        self.columns: dict[str, Tensor | None] = {}  # its articles' scores
        # Known once training has ended: what validation taught, and where the user wants the verdicts to be cut.
        self.judged_by: dict[str, Any] = {}  # `calibration` and `threshold` of `split_figures`

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
        return embedded(self.model, batch, self.text_vectors, self.visual_vectors, join)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_same_model(checkpoint, self.state_dict(), self.hparams)

    # ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def transfer_batch_to_device(self, batch: NewsBatch, device: torch.device, dataloader_idx: int) -> NewsBatch:
        # Lightning's own walks through whatever a batch may be, for longer than it takes to select one.
        if batch.label.device == device:
            return batch
        return NewsBatch(*(part.to(device, non_blocking=True) for part in batch))

    def on_train_epoch_start(self) -> None:
        self.parameters_by_name = dict(self.network.named_parameters())
        self.epoch = EpochSums(parts_of(self.parameters_by_name))

    def training_step(self, batch: NewsBatch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        output, losses = self.backward_by[self.model.update](self, batch)
        norms = gradient_norms(self.parameters_by_name.values())  # before clipping
        if self.gradient_clip_val is not None:
            self.clip_gradients(optimizer, self.gradient_clip_val, self.gradient_clip_algorithm or "norm")
        optimizer.step()
        self.epoch.add(batch, output, losses, norms)

    def backward_closed_form(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses]:
        """Eqs. (12)-(18) over the mini-batch."""
        if self.compiled_step is None:
            output, losses, gradients = self.step(batch, self.embed)
        else:
            torch.compiler.cudagraph_mark_step_begin()  # the step before has been used up: its memory may be written to
            output, losses, gradients = self.compiled_step(batch, self.look_up)
            # What the epoch's sums keep must not lie there.
            output = SafeOutput(*(None if value is None else value.clone() for value in output))
            losses = SafeLosses(*(loss.clone() for loss in losses))
        self.assign_gradients(gradients, batch)
        return output, losses

    def step(self, batch: NewsBatch, embed: Callable[[NewsBatch], dict[str, Any]]) -> tuple[Any, ...]:
        return self.variant.step(self.network, label=batch.label, **embed(batch), **self.loss_settings)

    def backward_algorithm1(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses]:
        """The printed loop over the batch's articles, handed on as the gradient whose step with γ makes that very move.

        So clipping, schedulers, the reduction over processes and the count of steps are the same in every mode; with
        optimizer=sgd the parameters end where Algorithm 1 leaves them.
        """
        gamma = self.optimizers().param_groups[0]["lr"]
        if gamma == 0:  # a scheduler's last value; the walk stands still, and its direction tends to the gradient
            return self.backward_closed_form(batch)
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
        self.optimizers().zero_grad()  # the other modes assign the gradients, and leave nothing to be cleared
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
        parameters = self.parameters_by_name
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

    def on_train_batch_end(self, *arguments: Any) -> None:
        # Here and not in the step: only now is it known that trainer.max_time ends the epoch with this batch.
        if self.trainer.is_last_batch or self.trainer.fit_loop.epoch_loop.done:
            self.report(self.epoch_figures())

    def report(self, figures: dict[str, float]) -> None:
        """Hand the figures of an epoch, the same in every process, to callbacks and loggers.

        Lightning's `log_dict` keeps a metric object for each of these sixty numbers, to average what is logged step by
        step, and looks through all of them after every batch: a fifth of a short epoch.
        """
        if self.trainer.sanity_checking:
            return
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in figures.items()})
        # The last step, counted from 0; after the training the one that would have come.
        step = self.global_step - (self.trainer.state.fn == TrainerFn.FITTING)
        for logger in self.trainer.loggers:
            logger.log_metrics({**figures, "epoch": self.current_epoch}, step)
            logger.save()

    def epoch_figures(self) -> dict[str, float]:
        sums = self.epoch.total()
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        figures = self.epoch.figures(sums, self.variant.compares)
        require_finite(figures["train/loss"], self.current_epoch, self.model.gamma)
        return figures | {"train/gamma": self.optimizers().param_groups[0]["lr"]}

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
        self.figures = split_figures(self.columns, **self.loss_settings, **self.judged_by)
        self.logged = logged_figures(split, self.figures, self.columns)
        self.report(self.logged)  # every process has gathered the same articles

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


def logged_figures(split: str, figures: dict[str, Any], columns: dict[str, Tensor | None]) -> dict[str, float]:
    """A split's figures, of `split_figures`, under the names they are logged by, and the mean similarity by class."""
    logged = log_names(figures)
    if columns["similarity"] is not None:
        for name, label in (("real", 0), ("fake", 1)):
            of_class = columns["similarity"][columns["label"] == label]
            logged[f"similarity_{name}"] = of_class.mean().item()
    return {f"{split}/{name}": value for name, value in logged.items()}


def _look_up(vectors: Tensor, tokens: Tensor) -> Tensor:
    return F.embedding(tokens, vectors)  # (B, L, E)
