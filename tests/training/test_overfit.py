"""A correct training overfits a few real articles, with each update."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from safe_exp.data.encoded import count_words, encode_prepared
from safe_exp.data.prepared import prepare
from safe_exp.data.text import build_tokenizer, frequent_words, vocabulary_words
from safe_exp.data.vectors import load_vectors
from safe_exp.training.module import SafeModule
from tests.data.folders import PREPARED
from tests.made import compose_config
from tests.training.test_module import fit

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real articles, which are not part of the project")
@pytest.mark.parametrize("update", ["closed_form", "algorithm1", "autograd"])
def test_every_update_mode_overfits_32_real_articles(update):
    config = compose_config(
        f"model.update={update}", "model.gamma=0.05", "model.num_filters=8",
        "data=fakenewsnet", f"data.root={REAL / 'politifact78'}",
        f"vectors.path={REAL / 'vectors' / 'glove.twitter.27B.25d.subset.txt'}",
    )  # fmt: skip
    prepared = prepare(replace(config.data, prepared=PREPARED), config.captioner)
    fake, real = (np.flatnonzero(prepared.labels == label)[:16] for label in (1, 0))
    rows = np.stack([fake, real], axis=1).ravel()
    counts = sum(
        count_words(tokens, rows, len(prepared.words)) for tokens in (prepared.text_tokens, prepared.caption_tokens)
    )
    tokenizer = build_tokenizer(frequent_words(prepared.words, counts, min_frequency=1))
    vectors, _ = load_vectors(config.vectors, vocabulary_words(tokenizer))
    encoded = encode_prepared(prepared, tokenizer, None)
    batches = [encoded.__getitems__(rows[start : start + 8]) for start in range(0, 32, 8)]

    torch.manual_seed(0)
    module = SafeModule(config, vectors, vectors)
    metrics = fit(module, epochs=60, batches=batches, check_val_every_n_epoch=60).callback_metrics
    assert metrics["train/loss"] < 0.05
    assert metrics["val/accuracy"] == 1.0
