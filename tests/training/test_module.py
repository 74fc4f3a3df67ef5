"""The three updates inside Lightning's Trainer, against each other and against plain PyTorch."""

import math

import pytest
import pytorch_lightning as pl
import torch

from safe_exp.config.monitor import legal_monitors
from safe_exp.equations import safe_loss
from safe_exp.network.safe_network import VARIANTS
from safe_exp.network.variants import variants
from safe_exp.system.errors import UserError
from safe_exp.training.module import SafeModule
from tests.made import compose_config, draw_batch, draw_module, loader, word_vectors

MODELS = (*VARIANTS, "released")
BATCHES = [draw_batch(seed=seed) for seed in range(3)]


def fit(module, epochs=2, batches=BATCHES, **arguments):
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(*batches), loader(*batches))
    return trainer


def assert_same_weights(ours, reference, **tolerance):
    for (name, a), (_, b) in zip(ours.network.named_parameters(), reference.network.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda m, n=name: f"{n}: {m}", **tolerance)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("variant", MODELS)
def test_closed_form_trains_the_same_weights_as_autograd(variant, optimizer):
    overrides = f"model={variant}", f"optimizer={optimizer}", "trainer.max_epochs=2"
    ours, twin = (draw_module(*overrides, f"model.update={update}") for update in ("closed_form", "autograd"))
    fit(ours.double(), precision="64-true")
    fit(twin.double(), precision="64-true")
    assert_same_weights(ours, twin, rtol=1e-8, atol=1e-10)


REGULARISED = ("model.label_smoothing=0.1", "model.pooled_dropout=0.3", "model.feature_dropout=0.5")
WEIGHED = [batch._replace(weight=torch.rand(16, generator=torch.Generator().manual_seed(9)) * 2) for batch in BATCHES]


@pytest.mark.parametrize("variant", ["safe", "text_only", "released"])
def test_weights_smoothed_labels_and_dropout_train_the_same_weights_as_autograd(variant):
    """Both draw the same masks, which depend on the seed alone."""
    ours, twin, plain = (
        draw_module(f"model={variant}", f"model.update={update}", *overrides)
        for update, overrides in (("closed_form", REGULARISED), ("autograd", REGULARISED), ("closed_form", ()))
    )
    for module in (ours, twin, plain):
        fit(module.double(), batches=WEIGHED, precision="64-true")
    assert_same_weights(ours, twin, rtol=1e-8, atol=1e-10)
    with pytest.raises(AssertionError):
        assert_same_weights(ours, plain, rtol=1e-3, atol=1e-3)


def test_algorithm1_in_simultaneous_order_knows_weights_and_smoothed_labels():
    """In a mini-batch of one article it is the closed form."""
    ours, twin = (
        draw_module(f"model.update={update}", "model.order=simultaneous", "model.label_smoothing=0.1")
        for update in ("algorithm1", "closed_form")
    )
    articles = [type(batch)(*(column[:1] for column in batch)) for batch in WEIGHED]
    for module in (ours, twin):
        fit(module.double(), batches=articles, precision="64-true")
    assert_same_weights(ours, twin, rtol=1e-8, atol=1e-10)


def test_the_training_loss_is_the_one_that_is_minimised_and_that_of_validation_is_plain():
    module = draw_module("model.gamma=1e-12", "model.label_smoothing=0.3")  # weights stand still
    batch = WEIGHED[0]
    metrics = fit(module, epochs=1, batches=[batch]).callback_metrics
    with torch.no_grad():
        output = module.network(**module.embed(batch))
    loss = dict(alpha=0.6, beta=0.4)
    minimised = safe_loss(output, batch.label, **loss, weight=batch.weight, label_smoothing=0.3).total
    assert float(metrics["train/loss"]) == pytest.approx(float(minimised), rel=1e-5)
    plain = safe_loss(output, batch.label, **loss).total
    assert float(metrics["val/loss"]) == pytest.approx(float(plain), rel=1e-5)
    assert float(plain) != pytest.approx(float(minimised), rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_weights_smoothed_labels_and_dropout_train_in_low_precision(precision):
    metrics = fit(draw_module(*REGULARISED), batches=WEIGHED, precision=precision).callback_metrics
    assert all(torch.isfinite(value) for value in metrics.values())


def test_closed_form_with_sgd_is_the_paper_s_update_written_out():
    """Against a plain loop: autograd's gradient of the batch loss, times γ, subtracted."""
    module = draw_module("model.gamma=0.2").double()
    twin = draw_module().double()
    fit(module, epochs=1, precision="64-true")
    parameters = list(twin.network.parameters())
    for batch in BATCHES:
        total = safe_loss(twin.network(**twin.embed(batch)), batch.label, alpha=0.6, beta=0.4).total
        for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            parameter.data -= 0.2 * gradient
    assert_same_weights(module, twin, rtol=1e-9, atol=1e-12)


def test_algorithm1_in_simultaneous_order_is_sgd_article_by_article():
    module = draw_module("model.update=algorithm1", "model.order=simultaneous", "model.gamma=0.05").double()
    twin = draw_module().double()
    fit(module, epochs=1, precision="64-true")
    parameters = list(twin.network.parameters())
    for batch in BATCHES:
        for j in range(len(batch.label)):
            article = type(batch)(*(column[j : j + 1] for column in batch if column is not None))
            total = safe_loss(twin.network(**twin.embed(article)), article.label, alpha=0.6, beta=0.4).total
            for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
                parameter.data -= 0.05 / len(batch.label) * gradient
    assert_same_weights(module, twin, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("update", ["closed_form", "algorithm1", "autograd"])
def test_gradient_clipping_bounds_every_step(update):
    gamma, bound = 0.1, 1e-3
    module = draw_module(f"model.update={update}", f"model.gamma={gamma}", f"trainer.gradient_clip_val={bound}")
    before = torch.cat([p.detach().clone().flatten() for p in module.network.parameters()])
    fit(module, epochs=1, batches=BATCHES[:1])
    after = torch.cat([p.detach().flatten() for p in module.network.parameters()])
    assert (after - before).norm().item() == pytest.approx(gamma * bound, rel=1e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gradients_are_clipped_under_mixed_precision(optimizer):
    module = draw_module(f"optimizer={optimizer}", "trainer.gradient_clip_val=1e-3")
    before = [p.detach().clone() for p in module.network.parameters()]
    fit(module, epochs=1, precision="bf16-mixed")
    assert any(not torch.equal(a, b) for a, b in zip(before, module.network.parameters(), strict=True))


@pytest.mark.parametrize("update", ["closed_form", "algorithm1", "autograd"])
@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (["scheduler=step", "scheduler.step_size=1", "scheduler.gamma=0.1"], [0.1, 0.01, 0.001]),
        (["scheduler=cosine"], [0.1 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(3)]),
        # no epoch is ever better by this much, so every one of them halves γ
        (["scheduler=plateau", "scheduler.patience=0", "+scheduler.threshold=1e9"], [0.1, 0.05, 0.025]),
    ],
)
def test_learning_rate_schedules_move_gamma_once_an_epoch(update, scheduler, expected):
    module = draw_module(f"model.update={update}", "model.gamma=0.1", "trainer.max_epochs=3", *scheduler)
    seen = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(float(trainer.callback_metrics["train/gamma"]))

    fit(module, epochs=3, callbacks=[Watch()])
    assert seen == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_algorithm1_stands_still_where_a_schedule_has_brought_gamma_to_zero(order):
    module = draw_module("model.update=algorithm1", f"model.order={order}", "model.gamma=0.1",
                         "scheduler=step", "scheduler.step_size=1", "scheduler.gamma=0.0")  # fmt: skip
    after_one = fit(module, epochs=1).lightning_module.state_dict()
    after_one = {name: value.clone() for name, value in after_one.items()}
    module = draw_module("model.update=algorithm1", f"model.order={order}", "model.gamma=0.1",
                         "scheduler=step", "scheduler.step_size=1", "scheduler.gamma=0.0")  # fmt: skip
    trainer = fit(module, epochs=3)
    assert all(torch.equal(value, after_one[name]) for name, value in module.state_dict().items())
    assert all(math.isfinite(value) for value in trainer.callback_metrics.values())
    assert trainer.callback_metrics["train/gradient_norm_predictor"] > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_legal_monitor_is_logged_and_every_figure_that_is_logged_is_legal(variant):
    module = draw_module(f"model={variant}")
    metrics = fit(module, epochs=1).callback_metrics
    logged = {name for name in metrics if name.startswith("val/")}
    assert set(legal_monitors(variants[variant].compares)) == logged == set(module.logged)
    for name in logged:  # what a sweep compares is what picked the checkpoint
        assert float(metrics[name]) == pytest.approx(module.logged[name], rel=1e-6)


@pytest.mark.parametrize("variant", MODELS)
def test_a_step_on_a_device_never_waits_for_it(variant, monkeypatch):
    """Meta tensors hold no numbers: whatever would read one back to the host, as .item() and nonzero do, raises."""
    monkeypatch.setattr("safe_exp.training.epoch_sums.STEPS_AT_ONCE", 2)
    module = draw_module(f"model={variant}").to("meta")
    batch = BATCHES[0].to("meta")
    optimizer = torch.optim.SGD(module.network.parameters(), lr=0.1, foreach=True)
    module.optimizers = lambda: optimizer
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    module.on_train_epoch_start()
    for number in range(2):  # the last one sums both up
        module.training_step(batch, number)
    module.validation_step(batch, 0)
    assert module.epoch.sums.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        module.epoch.sums.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["safe", "released"])
def test_the_step_of_a_device_is_one_graph(variant):
    """So that it can be recorded and launched at once. On a processor one question about lengths would break it up."""
    module = draw_module(f"model={variant}").to("meta")
    batch = BATCHES[0].to("meta")
    graph = torch.compile(module.step, fullgraph=True, dynamic=False, backend="eager")
    _, _, gradients = graph(batch, module.look_up)
    assert gradients.keys() == dict(module.network.named_parameters()).keys()


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), REGULARISED])
def test_a_compiled_step_trains_the_same_weights(overrides):
    ours, twin = (draw_module("model.gamma=0.1", *overrides, *compiled) for compiled in (["compile=true"], []))
    batches = WEIGHED if overrides else BATCHES
    metrics = fit(ours, batches=batches).callback_metrics
    reference = fit(twin, batches=batches).callback_metrics
    assert_same_weights(ours, twin, rtol=1e-4, atol=1e-6)
    for name in ("train/loss", "train/similarity_real", "train/gradient_norm_predictor"):
        assert float(metrics[name]) == pytest.approx(float(reference[name]), rel=1e-4)


def test_every_step_counts_once():
    assert fit(draw_module(), epochs=2).global_step == 6


@pytest.mark.parametrize("variant", MODELS)
def test_everything_that_is_promised_is_logged(variant):
    metrics = {name: float(value) for name, value in fit(draw_module(f"model={variant}")).callback_metrics.items()}
    expected = {
        f"{stage}/{loss}" for stage in ("train", "val") for loss in ("loss", "loss_prediction", "loss_similarity")
    }
    expected |= {"train/gamma", "train/articles_per_second", "val/f1", "val/auroc", "val/ece", "val/brier"}
    parts = {"predictor", "text_encoder", "visual_encoder"}
    parts |= {"word_map"} if variant == "released" else set()
    parts -= {"text_only": {"visual_encoder"}, "visual_only": {"text_encoder"}, "similarity_only": {"predictor"}}.get(
        variant, set()
    )
    expected |= {f"train/gradient_norm_{part}" for part in parts}
    compares = variant not in ("text_only", "visual_only")
    if compares:
        expected |= {f"{stage}/similarity_{label}" for stage in ("train", "val") for label in ("real", "fake")}
        expected |= {"val/similarity_auroc", "val/similarity_f1"}
    assert expected <= metrics.keys()
    assert all(math.isfinite(metrics[name]) for name in expected)
    assert any("similarity_auroc" in name for name in metrics) == compares
    assert {f"train/gradient_norm_{part}" for part in parts} == {n for n in metrics if "gradient_norm" in n}


def test_the_epoch_s_loss_is_the_mean_over_its_articles_not_over_its_batches():
    batches = [draw_batch(16, seed=1), draw_batch(4, seed=2)]
    module = draw_module("model.gamma=1e-12")  # weights stand still, so that the loss can be computed again
    metrics = fit(module, epochs=1, batches=batches).callback_metrics
    with torch.no_grad():
        losses = [safe_loss(module.network(**module.embed(b)), b.label, alpha=0.6, beta=0.4).total for b in batches]
    mean = (16 * losses[0] + 4 * losses[1]) / 20
    assert float(metrics["train/loss"]) == pytest.approx(float(mean), rel=1e-5)
    assert float(metrics["val/loss"]) == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.parametrize("update", ["closed_form", "algorithm1", "autograd"])
@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true", "bf16-mixed"])
def test_every_precision_trains(update, precision):
    metrics = fit(draw_module(f"model.update={update}", "model.gamma=0.05"), precision=precision).callback_metrics
    assert all(torch.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("update", ["closed_form", "algorithm1", "autograd"])
def test_a_diverging_loss_ends_the_run_with_a_way_out(update):
    with pytest.raises(UserError, match=r"training loss became .* Try model.gamma=0.1, or trainer.gradient_clip_val=1"):
        fit(draw_module(f"model.update={update}", "model.gamma=1e30"), epochs=3)


def test_vectors_are_not_stored_in_checkpoints_and_not_trained():
    module = draw_module()
    before = module.text_vectors.clone()
    fit(module)
    assert torch.equal(module.text_vectors, before)
    assert all(name.startswith("network.") for name in module.state_dict())
    assert module.visual_vectors is module.text_vectors


def test_the_released_architecture_reads_title_and_body_apart():
    module = draw_module("model=released", "model.headline_words=3", "model.body_words=6")
    batch = BATCHES[0]
    with torch.no_grad():
        whole = module.network(**module.embed(batch))
        titles = [row[:n].clone() for row, n in zip(batch.text_tokens, batch.title_lengths, strict=True)]
        assert max(map(len, titles)) > 3
        for b, n in enumerate(batch.title_lengths.tolist()):
            words = {
                "headline": batch.text_tokens[b, : min(n, 3)],
                "body": batch.text_tokens[b, n : min(n + 6, int(batch.text_lengths[b]))],
                "visual": batch.visual_tokens[b, : batch.visual_lengths[b]],
            }
            alone = module.network(**{name: module.text_vectors[tokens][None] for name, tokens in words.items()})
            torch.testing.assert_close(alone.probability[0], whole.probability[b])


def test_the_released_architecture_needs_words_for_its_images():
    config = compose_config("model=released")
    with pytest.raises(UserError, match=r"theirs have 8 and 5 numbers. Describe images in words"):
        SafeModule(config, word_vectors(8), word_vectors(5))
