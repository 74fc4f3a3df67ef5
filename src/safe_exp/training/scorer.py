"""Scorer: the validation and test steps of a network in Lightning's loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from safe_exp.config import ModelConfig
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import Words
from safe_exp.network.variants import embed_batch, variants
from safe_exp.scoring.results import logged_figures
from safe_exp.scoring.scores import ScoredSplit, SplitScores, split_figures


class Scorer(pl.LightningModule):
    """The network of `model.variant` with its tables of word vectors.

    After each validation `scored["val"]` holds the articles' scores and `logged` the figures. After a test
    `scored["test"]` holds the scores alone: the figures of test need the calibration, which is fitted on validation.

    Args:
        model: as in conf/model.
        text_vectors, visual_vectors: word vectors (V, E) and (Vv, Ev), row 0 = padding; not trained, as in the paper.
    """

    text_vectors: Tensor
    own_visual_vectors: Tensor | None

    def __init__(self, model: ModelConfig, text_vectors: Tensor, visual_vectors: Tensor) -> None:
        super().__init__()
        self.model, self.loss_settings = model, model.loss_settings
        self.variant = variants[model.variant]
        self.network = self.variant.build(model, text_vectors.shape[1], visual_vectors.shape[1])
        # Not in the checkpoints: the vectors are in artifacts/, and need not be written again after each epoch.
        self.register_buffer("text_vectors", text_vectors, persistent=False)
        shared = visual_vectors is text_vectors  # one table for both is moved to the device once
        self.register_buffer("own_visual_vectors", None if shared else visual_vectors, persistent=False)
        self.scores = SplitScores()
        self.scored: dict[str, ScoredSplit] = {}  # by split, the latest
        self.logged: dict[str, float] = {}  # figures of the latest validation by their logged names, as val/auroc

    @property
    def visual_vectors(self) -> Tensor:
        """Word vectors of the images' sentences, (Vv, Ev)."""
        return self.text_vectors if self.own_visual_vectors is None else self.own_visual_vectors

    def embed(self, batch: NewsBatch) -> dict[str, Tensor | Words | None]:
        """Join a batch with its word vectors, in the form that is fastest on the device.

        Returns:
            The network's arguments by name. Sentences are `Words` on a processor, where each word is multiplied once
            however often it occurs, and word vectors (B, L, E) elsewhere; lengths are (B,).
        """
        return self._embedded(batch, Words if self.device.type == "cpu" else _look_up)

    def look_up(self, batch: NewsBatch) -> dict[str, Tensor | None]:
        """Look up a batch's word vectors: the network's arguments by name, (B, L, E), with lengths (B,)."""
        return self._embedded(batch, _look_up)

    def _embedded(self, batch: NewsBatch, join: Callable[[Tensor, Tensor], Any]) -> dict[str, Any]:
        return embed_batch(self.model, batch, self.text_vectors, self.visual_vectors, join)

    def transfer_batch_to_device(self, batch: NewsBatch, device: torch.device, dataloader_idx: int) -> NewsBatch:
        # Lightning's own handles any nested collection, which takes longer than selecting the batch.
        if batch.label.device == device:
            return batch
        return batch.to(device)

    def validation_step(self, batch: NewsBatch, batch_idx: int) -> None:
        self.scores.update(batch, self.network(**self.embed(batch)))

    test_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self.scores.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        # At a threshold of 0.5 and without calibration, so that epochs and jobs can be compared.
        scored = self.scored["val"] = self.scores.scored()
        self.logged = logged_figures("val", split_figures(scored, self.loss_settings), scored)
        self.report(self.logged)

    def on_test_epoch_end(self) -> None:
        self.scored["test"] = self.scores.scored()

    def report(self, figures: dict[str, float]) -> None:
        """Pass the figures of an epoch, which are the same in every process, to callbacks and loggers.

        Lightning's `log_dict` is not used: it keeps a metric object for each of these sixty numbers and visits all of
        them after every batch, which takes a fifth of a short epoch.
        """
        if self.trainer.sanity_checking:
            return
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in figures.items()})
        # The last step, counted from 0; after the training, the one after it.
        step = self.global_step - (self.trainer.state.fn == TrainerFn.FITTING)
        for logger in self.trainer.loggers:
            logger.log_metrics({**figures, "epoch": self.current_epoch}, step)
            logger.save()


def _look_up(vectors: Tensor, tokens: Tensor) -> Tensor:
    """Look up words (B, L) in a table (V, E)."""
    return F.embedding(tokens, vectors)  # (B, L, E)
