"""A run folder like one of train, with random weights, made in a tenth of a second."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from safe_exp.config import plain_config
from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners import build_image_captioner
from safe_exp.data.codebook import Codebook
from safe_exp.data.text import build_tokenizer
from safe_exp.network.variants import variants
from tests.made import compose_config

WORDS = ["the", "a", "senator", "boat", "é", '"', "[CLS]"]


_composed = cache(compose_config)


def write_run(folder: Path, *overrides: str, seed: int = 0, words: Sequence[str] = WORDS) -> Path:
    """Write the files of a run that evaluate, predict and export read; on visual words unless `overrides` differ.

    Args:
        seed: of weights, vectors and codebook.
        words: of the vocabulary.
    """
    config = _composed("model.num_filters=3", "model.feature_dim=4", "captioner=visual_words", *overrides)
    numbers = np.random.default_rng(seed)
    text = torch.from_numpy(numbers.normal(size=(len(words) + 2, 6)).astype(np.float32))
    visual, codebook = text, None
    captioner = build_image_captioner(config.captioner)
    if captioner is not None:
        features = captioner.describe([Image.new("RGB", (64, 64))])[0].shape[1]
        centroids = numbers.normal(size=(5, features)).astype(np.float32)
        codebook = Codebook(centroids, centroids[0], np.ones(features, np.float32), {"words": 5, "seed": 0})
        visual = torch.from_numpy(codebook.vectors())
    settings = {"max_text_tokens": 20, "max_visual_tokens": 8, "require": [], "captioner": asdict(config.captioner)}
    counts = {"all": {"articles": 3, "fake": 1, "real": 2}}
    manifest = {"name": "made", "fingerprint": "0" * 64, "counts": counts, "settings": settings}
    manifest["split"] = {"train": ["a"], "val": ["b"], "test": ["c"]}
    Artifacts(build_tokenizer(words), text, visual, codebook, manifest).save(folder / "artifacts")
    torch.manual_seed(seed)
    network = variants[config.model.variant].build(config.model, text.shape[1], visual.shape[1])
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    checkpoint = {"state_dict": state, "epoch": 0, "global_step": 1, "callbacks": {}, "optimizer_states": [],
                  "lr_schedulers": []}  # fmt: skip
    (folder / "checkpoints").mkdir()
    torch.save(checkpoint, folder / "checkpoints" / "best.ckpt")
    (folder / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create({"model": plain_config(config.model)}), folder / ".hydra" / "config.yaml")
    return folder
