"""Dropout's masks: a function of (seed, epoch, process), drawn by training steps alone."""

import pytest
import pytorch_lightning as pl
import torch

from safe_exp.training.dropout import Dropout
from tests.made import draw_batch, draw_module, loader
from tests.sweep.stacked.jobs import checkpoint, compose_small, train_alone

BOTH = ("model.pooled_dropout=0.3", "model.feature_dropout=0.5")


def draw(epoch=0, rank=0, seed=0, skip=0, overrides=BOTH):
    module = draw_module(*overrides)
    dropout = Dropout(module.config.model, module.network, seed)
    dropout.begin_epoch(epoch, rank)
    for _ in range(skip):
        dropout.draw(16)
    return dropout.draw(16)["masks"]


@pytest.mark.parametrize(
    ("model", "encoders", "features"),
    [("safe", 2, 12), ("text_only", 1, 6), ("visual_only", 1, 6), ("released", 3, 18)],
)
def test_there_is_a_mask_for_each_encoder_and_one_for_the_input_of_m_p(model, encoders, features):
    masks = draw(overrides=(f"model={model}", "model.num_filters=4", *BOTH))
    assert [tuple(mask.shape) for mask in masks.pooled] == [(16, 8)] * encoders
    assert masks.features.shape == (16, features)
    assert masks.features.unique().tolist() == [0.0, 2.0]
    torch.testing.assert_close(masks.pooled[0].unique(), torch.tensor([0.0, 1 / 0.7]))


def test_masks_depend_on_seed_epoch_and_process_and_differ_from_step_to_step():
    first = draw()
    assert torch.equal(draw().features, first.features)
    for other in (draw(epoch=1), draw(rank=1), draw(seed=1), draw(skip=1)):
        assert not torch.equal(other.features, first.features)
        assert not torch.equal(other.pooled[0], first.pooled[0])


@pytest.mark.parametrize(("override", "pooled", "features"), [(BOTH[0], 2, False), (BOTH[1], 0, True)])
def test_each_dropout_works_without_the_other(override, pooled, features):
    masks = draw(overrides=(override,))
    assert (len(masks.pooled), masks.features is not None) == (pooled, features)


def test_without_dropout_nothing_is_drawn():
    module = draw_module()
    module.dropout.begin_epoch(0)
    assert module.dropout.draw(16) == {}


def test_validation_draws_no_mask():
    module = draw_module(*BOTH)
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, barebones=True)
    with torch.no_grad():
        module.on_validation_epoch_start()
        module.validation_step(draw_batch(), 0)
        expected = module.network(**module.embed(draw_batch())).probability
    torch.testing.assert_close(module.scores.scored().probability, expected)


def test_steps_of_an_epoch_are_masked_anew():
    """With γ = 0 the weights stay; only the masks can tell two steps on the same batch apart."""
    module = draw_module(*BOTH, "model.gamma=1e-30")
    seen = []
    module.draw_masks = lambda batch: seen.append(module.dropout.draw(len(batch.label))) or seen[-1]
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, loader(draw_batch(), draw_batch()), loader(draw_batch()))
    features = [drawn["masks"].features for drawn in seen]
    assert len(features) == 4
    assert all(not torch.equal(a, b) for i, a in enumerate(features) for b in features[:i])


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    regularised = (*BOTH, "model.label_smoothing=0.1", "model.article_weights=source_root", "logger=none")
    resumed = train_alone(compose_small(*regularised, "trainer.max_epochs=2"), tmp_path / "resumed", monkeypatch)
    train_alone(compose_small(*regularised, "trainer.max_epochs=4"), resumed, monkeypatch)  # finds last.ckpt
    whole = train_alone(compose_small(*regularised, "trainer.max_epochs=4"), tmp_path / "whole", monkeypatch)
    ours, theirs = checkpoint(resumed), checkpoint(whole)
    assert ours["epoch"] == theirs["epoch"] == 3
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
