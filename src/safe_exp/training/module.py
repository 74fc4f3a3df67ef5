"""SafeModule: the paper's update as Lightning's training step."""

from __future__ import annotations

from typing import Any

import hydra.utils
import torch
from torch import Tensor

from safe_exp.config import TrainConfig, plain_config
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput
from safe_exp.runs.checkpoints import require_same_model
from safe_exp.training.epoch_sums import EpochSums, find_parts, gradient_norms, require_finite
from safe_exp.training.scorer import Scorer
from safe_exp.training.updates import UPDATES


class SafeModule(Scorer):
    """Trains the network of `model.variant` by the update that `model.update` names.

    Args:
        config: of the job.
        text_vectors, visual_vectors: see `Scorer`.
    """

    def __init__(self, config: TrainConfig, text_vectors: Tensor, visual_vectors: Tensor) -> None:
        super().__init__(config.model, text_vectors, visual_vectors)
        self.automatic_optimization = False
        # Plain values only: checkpoints are loaded weights-only, which refuses config classes.
        self.save_hyperparameters({"model": plain_config(config.model), "optimizer": plain_config(config.optimizer)})
        self.config = config
        self.update = UPDATES[config.model.update]
        # One program of the closed-form step, and on a GPU one CUDA graph, which is launched at once instead of a
        # hundred kernels one by one. It is made anew for each width of a batch.
        compiled = config.compile
        self.compiled_step = torch.compile(self.step, mode="reduce-overhead", dynamic=False) if compiled else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_same_model(checkpoint, self.state_dict(), self.hparams)

    @property
    def gamma(self) -> float:
        """γ as it is now, after schedulers."""
        return self.optimizers().param_groups[0]["lr"]

    # ── one step ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_train_epoch_start(self) -> None:
        self.parameters_by_name = dict(self.network.named_parameters())
        self.epoch = EpochSums(find_parts(self.parameters_by_name))

    def training_step(self, batch: NewsBatch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        output, losses = self.update(self, batch)
        norms = gradient_norms(self.parameters_by_name.values())  # before clipping
        clip = self.config.trainer  # which Lightning's Trainer refuses beside a manual update
        if clip.gradient_clip_val is not None:
            self.clip_gradients(optimizer, clip.gradient_clip_val, clip.gradient_clip_algorithm or "norm")
        optimizer.step()
        self.epoch.add(batch, output, losses, norms)

    def closed_form_step(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        """Output, losses and exact gradients, by parameter name, of a mini-batch."""
        if self.compiled_step is None:
            return self.step(batch, self.embed)
        torch.compiler.cudagraph_mark_step_begin()  # the step before has been used up: its memory may be written to
        output, losses, gradients = self.compiled_step(batch, self.look_up)
        # What the epoch's sums keep must not lie there.
        output = SafeOutput(*(None if value is None else value.clone() for value in output))
        return output, SafeLosses(*(loss.clone() for loss in losses)), gradients

    def step(self, batch: NewsBatch, embed: Any) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        return self.variant.step(self.network, label=batch.label, **embed(batch), **self.loss_settings)

    def assign_gradients(self, gradients: dict[str, Tensor], batch: NewsBatch) -> None:
        """Put the gradients into `.grad`, averaged over the processes of the job."""
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

    # ── one epoch ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_train_batch_end(self, *arguments: Any) -> None:
        # Here and not in the step: only now is it known that trainer.max_time ends the epoch with this batch.
        if self.trainer.is_last_batch or self.trainer.fit_loop.epoch_loop.done:
            self.report(self.epoch_figures())

    def epoch_figures(self) -> dict[str, float]:
        """The epoch's means over all processes, by their logged names.

        Raises:
            UserError: the training loss is no finite number.
        """
        sums = self.epoch.total()
        if self.trainer.world_size > 1:
            sums = sums.reduced(lambda flat: self.trainer.strategy.reduce(flat, reduce_op="sum"))
        figures = self.epoch.means(sums)
        require_finite(figures["train/loss"], self.current_epoch, self.model.gamma)
        return figures | {"train/gamma": self.gamma}

    def on_train_epoch_end(self) -> None:
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[self.config.callbacks.monitor])
        elif scheduler is not None:
            scheduler.step()

    def configure_optimizers(self) -> Any:
        settings = plain_config(self.config.optimizer)
        if self.config.trainer.gradient_clip_val is not None:
            settings.pop("fused", None)  # Lightning refuses to clip for a fused optimiser under mixed precision
        optimizer = hydra.utils.instantiate(settings, params=self.network.parameters())
        if self.config.scheduler is None:
            return optimizer
        scheduler = hydra.utils.instantiate(self.config.scheduler, optimizer=optimizer)
        return [optimizer], [scheduler]
