"""SafeModule: the training step of a job in Lightning's loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from safe_exp.config import TrainConfig, plain_config
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput
from safe_exp.runs.checkpoints import require_same_model
from safe_exp.training.dropout import Dropout
from safe_exp.training.epoch_sums import EpochSums, find_parts, gradient_norms, require_finite
from safe_exp.training.optimizers import build_optimizer, build_scheduler, optimizer_settings, scheduler_interval
from safe_exp.training.scorer import Scorer
from safe_exp.training.updates import UPDATES


class SafeModule(Scorer):
    """Trains the network of `model.variant` by the update `model.update`.

    Args:
        config: of the job.
        text_vectors, visual_vectors: word vectors (V, E) and (Vv, Ev), as in `Scorer`.
    """

    def __init__(self, config: TrainConfig, text_vectors: Tensor, visual_vectors: Tensor) -> None:
        super().__init__(config.model, text_vectors, visual_vectors)
        self.automatic_optimization = False
        # Plain values only: checkpoints are loaded weights-only, which refuses config classes.
        self.save_hyperparameters({"model": plain_config(config.model), "optimizer": plain_config(config.optimizer)})
        self.config = config
        self.update = UPDATES[config.model.update]
        self.interval = scheduler_interval(config.scheduler)
        self.dropout = Dropout(config.model, self.network, config.seed)
        # The closed-form step as one program, and on a GPU as one CUDA graph, which is launched once instead of a
        # hundred kernels one by one. It is compiled again for each shape of a batch.
        compiled = config.compile
        self.compiled_step = torch.compile(self.step, mode="reduce-overhead", dynamic=False) if compiled else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model.

        Raises:
            UserError: it differs in a parameter's shape or in a setting.
        """
        require_same_model(checkpoint, self.state_dict(), self.hparams)

    @property
    def gamma(self) -> float:
        """γ of the next step, after schedulers."""
        return self._optimizer().param_groups[0]["lr"]

    def _optimizer(self) -> LightningOptimizer:
        return cast(LightningOptimizer, self.optimizers())  # no list: `configure_optimizers` makes one

    def _scheduler(self) -> LRScheduler | ReduceLROnPlateau:
        return cast(LRScheduler | ReduceLROnPlateau, self.lr_schedulers())  # no list, as above

    # ── one step ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_train_epoch_start(self) -> None:
        self.parameters_by_name = dict(self.network.named_parameters())
        self.epoch = EpochSums(find_parts(self.parameters_by_name))
        self.dropout.begin_epoch(self.current_epoch, self.global_rank)

    def training_step(self, batch: NewsBatch, batch_idx: int) -> None:
        """Update the network on a mini-batch of B articles, and add the step to the epoch's sums."""
        optimizer = self._optimizer()
        output, losses = self.update(self, batch)
        norms = gradient_norms(self.parameters_by_name.values())  # before clipping
        clip = self.config.trainer  # done here: Lightning's Trainer refuses to clip under manual optimisation
        if clip.gradient_clip_val is not None:
            algorithm = clip.gradient_clip_algorithm or "norm"
            self.clip_gradients(optimizer, clip.gradient_clip_val, algorithm)  # type: ignore[arg-type]  # as documented
        self.gamma_of_step = self.gamma
        optimizer.step()
        if self.interval == "step":
            self._scheduler().step()
        self.epoch.add(batch, output, losses, norms)

    def closed_form_step(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        """Compute one closed-form step, compiled where the config says so.

        Args:
            batch: B articles.
        Returns:
            The output (B, …), the losses () and the exact gradients by parameter name, each in its parameter's shape.
        """
        masks = self.draw_masks(batch)  # before the compiled step, which could not draw from a generator
        if self.compiled_step is None:
            return self.step(batch, self.embed, **masks)
        torch.compiler.cudagraph_mark_step_begin()  # the last step's results are no longer needed: reuse their memory
        output, losses, gradients = self.compiled_step(batch, self.look_up, **masks)
        # The epoch's sums keep these, so they must not stay in the memory that the next step reuses.
        output = SafeOutput(*(None if value is None else value.clone() for value in output))
        return output, SafeLosses(*(loss.clone() for loss in losses)), gradients

    def step(
        self, batch: NewsBatch, embed: Callable[[NewsBatch], Mapping[str, Any]], **masks: Any
    ) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        """Compute one closed-form step; shapes as in `closed_form_step`.

        Args:
            batch: B articles.
            embed: `self.embed` or `self.look_up`, which join the batch with its word vectors.
            masks: from `draw_masks`.
        """
        loss = self.loss_arguments(batch)
        return self.variant.step(self.network, label=batch.label, **embed(batch), **loss, **masks)

    def loss_arguments(self, batch: NewsBatch) -> dict[str, Any]:
        """Collect the arguments of the loss that is minimised: `loss_settings`, and what is not at its default.

        Validation and test know the former alone, so that their losses mean the same in every run.
        """
        arguments: dict[str, Any] = {**self.loss_settings}
        if batch.weight is not None:
            arguments["weight"] = batch.weight
        if self.model.label_smoothing:
            arguments["label_smoothing"] = self.model.label_smoothing
        return arguments

    def draw_masks(self, batch: NewsBatch) -> dict[str, Any]:
        """Draw the dropout masks of a step, as the argument `masks` of network and step; empty where it is off."""
        return self.dropout.draw(len(batch.label))

    def assign_gradients(self, gradients: dict[str, Tensor], batch: NewsBatch) -> None:
        """Set `.grad` of every parameter to its gradient, averaged over all articles of all processes.

        Args:
            gradients: by parameter name, each in its parameter's shape, averaged over this process's articles.
            batch: the articles of this process.
        """
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
        """Compute the weight of this process's mean: its number of articles divided by the mean over the processes.

        The weighted mean over processes is the mean over articles, also when processes have different numbers of them.

        Returns:
            1.0 for one process, else a tensor ().
        """
        if self.trainer.world_size == 1:
            return 1.0
        count = torch.tensor(float(len(batch.label)), device=self.device)
        return count / self.trainer.strategy.reduce(count.clone(), reduce_op="mean")

    # ── one epoch ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_train_batch_end(self, *arguments: Any) -> None:
        # Not in training_step: only after the batch is it known whether trainer.max_time ends the epoch with it.
        if self.trainer.is_last_batch or self.trainer.fit_loop.epoch_loop.done:
            self.report(self.epoch_figures())

    def epoch_figures(self) -> dict[str, float]:
        """Compute the epoch's means over all processes, by logged name.

        Raises:
            UserError: the training loss is infinite or NaN.
        """
        sums = self.epoch.total()
        if self.trainer.world_size > 1:
            sums = sums.reduced(lambda flat: self.trainer.strategy.reduce(flat, reduce_op="sum"))
        figures = self.epoch.means(sums)
        require_finite(figures["train/loss"], self.current_epoch, self.model.gamma)
        return figures | {"train/gamma": self.gamma_of_step}

    def on_train_epoch_end(self) -> None:
        if self.interval != "epoch":
            return
        scheduler = self._scheduler()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[self.config.callbacks.monitor])
        else:
            scheduler.step()

    def configure_optimizers(self) -> Any:
        """Build the optimiser over the network's parameters, and the scheduler if one is configured."""
        optimizer = build_optimizer(optimizer_settings(self.config), self.network.parameters())
        if self.config.scheduler is None:
            return optimizer
        return [optimizer], [build_scheduler(self.config.scheduler, optimizer, self._count_batches)]

    def _count_batches(self) -> int:
        """Count the batches of a training epoch."""
        _ = self.trainer.estimated_stepping_batches  # opens the data loader, which Lightning else opens later
        return int(self.trainer.num_training_batches)
