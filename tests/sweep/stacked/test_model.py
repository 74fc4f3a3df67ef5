"""A stack of runs against each run alone, step by step, with PyTorch's optimisers, schedulers and clipping."""

from copy import deepcopy
from functools import cache

import pytest
import torch

from safe_exp.config import TrainConfig
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import closed_form_step
from safe_exp.scoring.scores import SplitScores
from safe_exp.sweep.stacked.model import StackedModel
from safe_exp.training.module import SafeModule
from tests.made import compose_config, draw_batch, word_vectors

STEPS, EPOCHS = 4, 3
RUNS = [  # seed, α, β, γ: sorted by seed and γ, as `form_stacks` does
    (0, 0.6, 0.4, 0.1), (0, 0.2, 2.0, 0.3), (1, 1.0, 0.0, 0.3), (1, 0.6, 0.4, 0.3), (2, 0.0, 1.0, 0.5)
]  # fmt: skip
CASES = [
    (),
    ("optimizer=adam",),
    ("optimizer.momentum=0.9", "optimizer.weight_decay=0.01", "scheduler=step", "scheduler.step_size=1"),
    ("optimizer=adam", "scheduler=cosine", "trainer.max_epochs=3"),
    ("trainer.gradient_clip_val=0.05",),
    ("trainer.gradient_clip_val=0.01", "trainer.gradient_clip_algorithm=value"),
]


@cache
def compose_cached(overrides: tuple[str, ...]) -> TrainConfig:
    return compose_config("model.num_filters=4", "model.feature_dim=6", *overrides)


def make_config(run: tuple, overrides: tuple[str, ...]) -> TrainConfig:
    config = deepcopy(compose_cached(overrides))
    config.seed, config.model.alpha, config.model.beta, config.model.gamma = run
    config.optimizer.lr = config.model.gamma
    return config


def build_module(config: TrainConfig, dtype: torch.dtype) -> SafeModule:
    torch.manual_seed(config.seed)
    vectors = word_vectors()
    return SafeModule(config, vectors, vectors).to(dtype)


def draw_step_batch(seed: int, epoch: int, step: int):
    return draw_batch(seed=100 * seed + 10 * epoch + step)


def train_alone(run: tuple, overrides: tuple[str, ...], dtype: torch.dtype):
    """Train a job as Lightning does: gradients, clipping and optimiser in each step, the scheduler after each epoch."""
    config = make_config(run, overrides)
    clip, module = config.trainer, build_module(config, dtype)
    configured = module.configure_optimizers()
    (optimizer,), schedulers = configured if isinstance(configured, tuple) else ([configured], [])
    for epoch in range(EPOCHS):
        for step in range(STEPS):
            batch = draw_step_batch(config.seed, epoch, step)
            _, _, gradients = closed_form_step(
                module.network, label=batch.label, **module.embed(batch), **module.loss_settings
            )
            for name, parameter in module.network.named_parameters():
                parameter.grad = gradients[name]
            if clip.gradient_clip_algorithm == "value":
                torch.nn.utils.clip_grad_value_(module.network.parameters(), clip.gradient_clip_val)
            elif clip.gradient_clip_val is not None:
                torch.nn.utils.clip_grad_norm_(module.network.parameters(), clip.gradient_clip_val)
            optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return module, optimizer, schedulers


def build_stack(runs: list[tuple], overrides: tuple[str, ...], dtype: torch.dtype) -> StackedModel:
    configs = [make_config(run, overrides) for run in runs]
    return StackedModel(configs, [build_module(config, dtype) for config in configs])


def train_stacked(model: StackedModel, epochs=range(EPOCHS)) -> None:
    for epoch in epochs:
        model.begin_epoch(epoch)
        for step in range(STEPS):
            of_shares = [[draw_step_batch(seed, epoch, step) for seed in share.seeds] for share in model.shares]
            model.step([join_batches(batches) for batches in of_shares])
        if model.scheduler is not None:
            model.scheduler.step()


def join_batches(batches: list[NewsBatch]) -> NewsBatch:
    return NewsBatch(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*batches, strict=True)))


def assert_alike(ours, theirs, rtol: float) -> None:
    """Compare nested states: equal keys, types and shapes, and numbers within `rtol`."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_alike(ours[key], theirs[key], rtol)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_alike(mine, other, rtol)
    elif isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if theirs.dtype.is_floating_point:
            assert (ours - theirs).norm() <= rtol * theirs.norm()
        else:
            assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.parametrize("overrides", CASES)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_every_run_ends_with_the_weights_and_the_optimiser_of_its_own_training(overrides, dtype, rtol):
    model = build_stack(RUNS, overrides, dtype)
    train_stacked(model)
    snapshot = model.snapshot()
    for row, run in enumerate(RUNS):
        module, optimizer, schedulers = train_alone(run, overrides, dtype)
        assert_alike(snapshot.copy_weights(row), dict(module.network.named_parameters()), rtol)
        assert_alike(snapshot.optimizer_state(row), optimizer.state_dict(), rtol)
        assert_alike(snapshot.scheduler_states(row), [scheduler.state_dict() for scheduler in schedulers], rtol)
        assert model.gammas()[row] == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("overrides", CASES)
def test_runs_that_are_let_go_leave_the_others_on_their_way(overrides):
    whole, shrunk = (build_stack(RUNS, overrides, torch.float64) for _ in range(2))
    train_stacked(whole)
    train_stacked(shrunk, epochs=[0])
    shrunk.keep([1, 4])
    train_stacked(shrunk, epochs=range(1, EPOCHS))
    assert (len(shrunk), shrunk.seeds) == (2, [0, 2])
    for row, before in enumerate([1, 4]):
        assert_alike(shrunk.snapshot().copy_weights(row), whole.snapshot().copy_weights(before), rtol=1e-10)
        assert_alike(shrunk.snapshot().optimizer_state(row), whole.snapshot().optimizer_state(before), rtol=1e-10)
        assert_alike(shrunk.snapshot().scheduler_states(row), whole.snapshot().scheduler_states(before), rtol=1e-10)


def test_a_run_that_diverges_leaves_the_others_bit_equal():
    calm = build_stack(RUNS, (), torch.float32)
    wild = build_stack([*RUNS[:3], (1, 0.6, 0.4, 1e30), RUNS[4]], (), torch.float32)
    train_stacked(calm)
    train_stacked(wild)
    assert not wild.snapshot().copy_weights(3)["text_encoder.project.weight"].isfinite().all()
    for row in (0, 1, 2, 4):
        for name, value in calm.snapshot().copy_weights(row).items():
            assert torch.equal(wild.snapshot().copy_weights(row)[name], value), name


def test_the_scores_of_a_split_are_those_of_each_network_alone():
    model = build_stack(RUNS, (), torch.float64)
    train_stacked(model)
    batches = [draw_batch(seed=7), draw_batch(seed=8, size=9)._replace(index=torch.arange(16, 25))]
    scored = model.score(model.weights(), batches, [0, 3])
    for place, row in enumerate([0, 3]):
        module, _, _ = train_alone(RUNS[row], (), torch.float64)
        alone = SplitScores()
        with torch.no_grad():
            for batch in batches:
                alone.update(batch, module.network(**module.embed(batch)))
        assert_alike(scored.of_run(place)._asdict(), alone.scored()._asdict(), rtol=1e-6)  # logits are kept in float32
