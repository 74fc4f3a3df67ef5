"""The gain of an epoch and its interval, against the figures of the very articles drawn, and scipy's bootstrap."""

import numpy as np
import pytest
import torch
from scipy import stats

from safe_exp.config.monitor import legal_monitors
from safe_exp.scoring.gain import measure_gain
from safe_exp.scoring.results import logged_figures
from safe_exp.scoring.scores import ScoredSplit, split_figures

LOSS = {"alpha": 0.6, "beta": 0.4, "similarity_loss": "both_classes"}


def drawn(count: int, seed: int, signal: float) -> ScoredSplit:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 2
    logit = signal * (2 * label - 1) + torch.randn(count, generator=generator)
    logits = torch.stack([logit, torch.zeros(count)], dim=1)
    similarity = torch.rand(count, generator=generator)
    return ScoredSplit(torch.arange(count), label, logits, logits.softmax(1)[:, 0], similarity)


@pytest.mark.parametrize("monitor", legal_monitors(compares=True))
def test_a_gain_is_the_difference_of_the_figures_that_an_epoch_logs(monitor):
    first, later = drawn(60, 0, 0.1), drawn(60, 1, 1.0)
    mode = legal_monitors(compares=True)[monitor]
    logged = [logged_figures("val", split_figures(scored, LOSS), scored)[monitor] for scored in (first, later)]
    gain = measure_gain(first, later, monitor.removeprefix("val/"), mode, LOSS)
    assert gain.value == pytest.approx((logged[1] - logged[0]) * (1 if mode == "max" else -1), abs=1e-6)
    assert gain.interval[0] <= gain.interval[1]


def test_the_interval_of_the_loss_is_that_of_scipy_s_paired_bootstrap():
    first, later = drawn(80, 0, 0.1), drawn(80, 1, 0.5)
    losses = [
        torch.nn.functional.cross_entropy(s.logits, 1 - s.label, reduction="none").numpy() for s in (first, later)
    ]
    reference = stats.bootstrap(
        tuple(losses), lambda a, b, axis: np.mean(a - b, axis=axis), paired=True, vectorized=True, method="percentile",
        n_resamples=4000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    ours = measure_gain(first, later, "loss_prediction", "min", LOSS).interval
    assert ours == pytest.approx((reference.low, reference.high), abs=0.02)


def test_a_gain_is_sure_where_its_whole_interval_is_above_zero():
    first, chance, better = drawn(60, 0, 0.0), drawn(60, 1, 0.0), drawn(60, 2, 3.0)
    assert not measure_gain(first, chance, "auroc", "max", LOSS).is_sure
    assert measure_gain(first, better, "auroc", "max", LOSS).is_sure
    assert not measure_gain(better, first, "auroc", "max", LOSS).is_sure
    assert not measure_gain(first, first, "auroc", "max", LOSS).is_sure


def test_a_figure_that_no_resample_has_leaves_the_gain_unsure():
    scored = drawn(6, 0, 0.0)
    one_class = scored._replace(label=torch.ones(6, dtype=torch.long))
    gain = measure_gain(one_class, one_class, "auroc", "max", LOSS)
    assert gain.interval is None
    assert not gain.is_sure
