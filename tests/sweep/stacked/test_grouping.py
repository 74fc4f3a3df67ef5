"""Stacks hold jobs that can be trained together, and other jobs run alone with a reason."""

from copy import deepcopy

import pytest

from safe_exp.sweep.stacked.grouping import divide_stacks, form_stacks, reason_to_run_alone, stack_key
from tests.made import compose_config


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("optimizer=adam", "scheduler=cosine", "trainer.gradient_clip_val=1"),
        ("model=no_similarity", "trainer.precision=64-true", "scheduler=step"),
        ("model.article_weights=source", "model.label_smoothing=0.1", "model.pooled_dropout=0.5", "optimizer=adamw"),
        ("callbacks.early_stopping.patience=3", "trainer.max_epochs=-1", "trainer.enable_progress_bar=false"),
    ],
)
def test_what_the_stack_can_do_is_stacked(overrides):
    assert reason_to_run_alone(compose_config(*overrides)) is None


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model=released", "model=released"),
        ("model.update=autograd", "model.update=autograd"),
        ("model.update=algorithm1", "model.update=algorithm1"),
        ("scheduler=plateau", "ReduceLROnPlateau"),
        ("scheduler=onecycle", "OneCycleLR"),
        ("scheduler.interval=step", "scheduler.interval=step"),
        ("trainer.precision=bf16-true", "trainer.precision=bf16-true"),
        ("trainer=ddp", "several processes"),
        ("refit=true", "refit=true"),
        ("trainer.max_steps=10", "trainer.max_steps=10"),
        ("trainer.max_time=00:00:01:00", "trainer.max_time"),
        ("trainer.limit_train_batches=2", "trainer.limit_train_batches=2"),
        ("trainer.fast_dev_run=true", "trainer.fast_dev_run"),
        ("trainer.overfit_batches=1", "trainer.overfit_batches"),
        ("trainer.profiler=simple", "trainer.profiler=simple"),
    ],
)
def test_what_the_stack_cannot_do_runs_alone_and_says_why(override, reason):
    cosine = ["scheduler=cosine"] if override.startswith("scheduler.") else []
    assert reason in reason_to_run_alone(compose_config(*cosine, override))


def test_an_optimizer_that_may_read_several_numbers_at_once_runs_alone_and_says_why():
    config = compose_config("optimizer=any", "optimizer._target_=torch.optim.Rprop", "model.gamma=0.01")
    assert "torch.optim.Rprop" in reason_to_run_alone(config)


def test_alpha_beta_gamma_and_seed_may_differ_and_nothing_else():
    first = stack_key(compose_config())
    assert stack_key(compose_config("model.alpha=1", "model.beta=3", "model.gamma=0.01", "seed=4")) == first
    others = ("model.num_filters=1", "data.seed=1", "optimizer=adam", "trainer.max_epochs=3")
    regularised = ("model.article_weights=class", "model.label_smoothing=0.1", "model.feature_dropout=0.1")
    for override in (*others, *regularised):
        assert stack_key(compose_config(override)) != first


def test_runs_of_one_seed_and_of_one_gamma_stand_side_by_side():
    configs = [deepcopy(composed) for composed in [compose_config()] * 5]
    for config, seed, gamma in zip(configs, (1, 0, 1, 0, 0), (0.1, 0.2, 0.05, 0.2, 0.2), strict=True):
        config.seed, config.optimizer.lr = seed, gamma
    configs[4].model.num_filters = 2
    assert form_stacks(configs) == [[1, 3, 2, 0], [4]]


def test_a_large_group_becomes_stacks_of_about_the_same_size():
    found = form_stacks([compose_config()] * 7, most_runs=3)
    assert [len(stack) for stack in found] == [2, 2, 3]
    assert sorted(job for stack in found for job in stack) == list(range(7))


@pytest.mark.parametrize(("num_filters", "most"), [(1, 256), (32, 256), (128, 64), (10_000, 1)])
def test_stacks_of_larger_networks_hold_fewer_runs(num_filters, most):
    assert max(map(len, form_stacks([compose_config(f"model.num_filters={num_filters}")] * 300))) <= most
    assert len(form_stacks([compose_config(f"model.num_filters={num_filters}")] * most)) == 1


def test_the_runs_of_a_seed_stay_together_where_a_stack_holds_them():
    configs = [compose_config(f"seed={seed}", f"model.alpha={alpha}") for alpha in (0.2, 0.4, 0.6) for seed in range(4)]
    found = form_stacks(configs, most_runs=7)
    assert [[configs[job].seed for job in stack] for stack in found] == [[0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3]]


def test_stacks_are_divided_until_each_process_has_one():
    one_seed = dict.fromkeys(range(64), 0)
    assert [len(stack) for stack in divide_stacks([list(range(64))], one_seed, 4)] == [16] * 4
    assert divide_stacks([[0, 1, 2, 3], [4, 5]], one_seed, 3) == [[0, 1], [2, 3], [4, 5]]
    assert divide_stacks([[0, 1, 2], [3, 4]], one_seed, 8) == [[0, 1, 2], [3, 4]]  # too small to be worth it
    assert divide_stacks([[0, 1], [2, 3], [4, 5]], one_seed, 2) == [[0, 1], [2, 3], [4, 5]]
    assert divide_stacks([], one_seed, 2) == []


def test_a_stack_is_divided_between_two_seeds_that_meet_near_its_middle():
    stack = list(range(8))
    near = dict(enumerate([0, 0, 0, 1, 1, 1, 1, 1]))
    far = dict(enumerate([0, 1, 1, 1, 1, 1, 1, 1]))
    assert divide_stacks([stack], near, 2) == [[0, 1, 2], [3, 4, 5, 6, 7]]
    assert divide_stacks([stack], far, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
