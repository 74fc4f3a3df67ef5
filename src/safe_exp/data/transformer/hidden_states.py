"""Hidden states of a frozen transformer: a vector for each token of a text, in its context."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor, nn

from safe_exp.data.pretrained import Pretrained, import_transformers, load_whole, pick_device, quiet_transformers
from safe_exp.data.transformer.pieces import Cut, Pieces
from safe_exp.data.transformer.source import UNREAD, is_static, unusable
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

MOST_POSITIONS = 512  # of a model that names no maximum


class _Window(NamedTuple):
    """A part of a text that the model reads at a time, between the special tokens that it expects."""

    text: int  # number of the text
    ids: list[int]
    own: np.ndarray  # (n,) places in `ids` of the text's own tokens


class HiddenStates:
    """The hidden states of one layer. The model is loaded when the first text is read.

    A text that is longer than the model reads is cut into windows, one after the other.

    Args:
        folder: of the model.
        source: the same, for messages.
        layer: from 1; or counted from the last one, -1.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: windows at a time.
    """

    def __init__(self, folder: Path, source: Pretrained, layer: int, device: str, batch_size: int) -> None:
        self.folder, self.source, self.layer = folder, source, layer
        self.device, self.batch_size = device, batch_size
        self.pieces = Pieces.load(folder)

    @cached_property
    def model(self) -> Any:
        """The model, on its device.

        Raises:
            UserError: it cannot be loaded, or has no such layer.
        """
        transformers = import_transformers(self.source)
        device = pick_device("vectors", self.device)
        log.info("Loading the transformer from %s", self.folder)
        try:
            if is_static(self.folder):
                raise UserError(
                    f"vectors.layer={self.layer}: {self.folder} is a static model, which has a vector for each token "
                    "and no layers. Set vectors.layer=0."
                )
            with quiet_transformers():
                model = load_whole(transformers.AutoModel, self.folder, self.source, UNREAD)
        except UserError:
            raise
        except Exception as error:  # what transformers raises depends on the file that is wrong
            raise unusable(self.folder, self.source, error) from error
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        layers = getattr(model.config, "num_hidden_layers", None)
        if layers is None:
            raise unusable(self.folder, self.source, ValueError("the model does not read texts alone"))
        if not (1 <= self.layer <= layers or -layers <= self.layer <= -1):
            raise UserError(
                f"vectors.layer={self.layer}: the model has {layers} layers. Expected 1 to {layers}, or -1 for the "
                "last one."
            )
        return model.float().to(device)

    @property
    def dim(self) -> int:
        """E, numbers of a vector."""
        return self.model.config.hidden_size

    @cached_property
    def window(self) -> int:
        """Tokens of a text that the model reads at a time, without the special ones."""
        return find_positions(self.model) - self.pieces.tokenizer.num_special_tokens_to_add(False)

    def compute(self, cuts: Sequence[Cut]) -> list[np.ndarray]:
        """Compute the vectors of the tokens of each text, (n, E) float32.

        Windows of similar lengths are read together. Which ones they are changes a result by its rounding alone.
        """
        windows = [window for text, cut in enumerate(cuts) for window in self._windows(text, cut.encoding)]
        found: list[list[np.ndarray]] = [[] for _ in cuts]
        by_length = sorted(range(len(windows)), key=lambda i: -len(windows[i].ids))
        states: dict[int, np.ndarray] = {}
        for start in range(0, len(by_length), self.batch_size):
            chosen = by_length[start : start + self.batch_size]
            states |= zip(chosen, self._read([windows[i] for i in chosen]), strict=True)
        for i, window in enumerate(windows):
            found[window.text].append(states[i])
        return [np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32) for parts in found]

    def _windows(self, text: int, encoding: Encoding) -> list[_Window]:
        if not len(encoding):
            return []
        parts = [encoding]  # its own `overflowing` is what the text was longer by
        if len(encoding) > self.window:
            parts = [Encoding.merge([encoding], growing_offsets=False)]  # a copy, to be cut
            parts[0].truncate(self.window)
            parts += parts[0].overflowing
        windows = []
        for part in parts:
            whole = self.pieces.tokenizer.post_process(part)
            own = np.flatnonzero(np.array(whole.special_tokens_mask) == 0)
            windows.append(_Window(text, whole.ids, own))
        return windows

    @torch.inference_mode()
    def _read(self, windows: Sequence[_Window]) -> list[np.ndarray]:
        """Read a batch of windows: the vectors of each one's own tokens, (n, E) float32."""
        device = self.model.device
        longest = max(len(window.ids) for window in windows)
        padding = self.model.config.pad_token_id or 0
        ids = torch.full((len(windows), longest), padding)  # (B, L)
        mask = torch.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
            mask[row, : len(window.ids)] = 1
        output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device), output_hidden_states=True)
        states: Tensor = output.hidden_states[self.layer].float().cpu()  # (B, L, E)
        return [states[row, window.own].numpy() for row, window in enumerate(windows)]


def find_positions(model: nn.Module) -> int:
    """Find the number of tokens that a model reads at a time, special ones included.

    RoBERTa and its relatives number positions from behind that of padding, so their table has rows to spare.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or MOST_POSITIONS
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            spare = 0 if module.padding_idx is None else module.padding_idx + 1
            positions = min(positions, module.num_embeddings - spare)
    return positions
