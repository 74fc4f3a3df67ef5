"""A training that works can learn a handful of real articles by heart, whichever way its gradients are made."""

from pathlib import Path

import pytest
import torch

from safe_exp.data.articles import read_articles
from safe_exp.data.captions import build_captioner
from safe_exp.data.encoded import encode_articles
from safe_exp.data.text import build_tokenizer, vocabulary_words
from safe_exp.data.vectors import load_vectors
from safe_exp.module import SafeModule
from tests.made import compose_config
from tests.test_module import fit

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real articles, which are not part of the project")
@pytest.mark.parametrize("update", ["closed_form", "algorithm1", "autograd"])
def test_every_update_mode_overfits_32_real_articles(update):
    config = compose_config(
        f"model.update={update}", "model.gamma=0.05", "model.num_filters=8",
        "data=fakenewsnet", f"data.root={REAL / 'politifact78'}",
        f"vectors.path={REAL / 'vectors' / 'glove.twitter.27B.25d.subset.txt'}",
    )  # fmt: skip
    articles, _ = read_articles(config.data.root, build_captioner(config.captioner), strict=True)
    fake, real = ([a for a in articles if a.label == label][:16] for label in (1, 0))
    articles = [article for pair in zip(fake, real, strict=True) for article in pair]
    tokenizer = build_tokenizer([t for a in articles for t in (a.title_and_text, a.caption)], min_frequency=1)
    vectors, _ = load_vectors(config.vectors, vocabulary_words(tokenizer))
    encoded = encode_articles(articles, tokenizer, config.data.max_text_tokens, config.data.max_visual_tokens)
    batches = [encoded.__getitems__(range(start, start + 8)) for start in range(0, 32, 8)]

    torch.manual_seed(0)
    module = SafeModule(config.model, config.optimizer, vectors, vectors)
    metrics = fit(module, epochs=60, batches=batches, check_val_every_n_epoch=60).callback_metrics
    assert metrics["train/loss"] < 0.05
    assert metrics["val/accuracy"] == 1.0
