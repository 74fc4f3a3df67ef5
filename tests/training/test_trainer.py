"""The Trainer of a job, and the settings that it refuses."""

from types import SimpleNamespace

import pytest

from safe_exp.system.errors import UserError
from safe_exp.training.stopping import training_limits
from safe_exp.training.trainer import build_trainer, require_some_batches
from tests.made import compose_config


def test_algorithm1_is_not_shared_between_processes(tmp_path):
    """Each would walk over its own articles from the same weights, and the mean of two walks is no walk."""
    overrides = "trainer=ddp", "trainer.accelerator=cpu", "model.update=algorithm1"
    with pytest.raises(UserError, match=r"2 processes cannot share it. Set trainer.devices=1, or model.update=closed"):
        build_trainer(compose_config(*overrides), tmp_path, [])
    build_trainer(compose_config(*overrides, "trainer.devices=1"), tmp_path, [])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.max_epochs=-1"], [float("inf"), float("inf"), float("inf")]),
        (["trainer.max_epochs=7", "trainer.max_steps=9", "trainer.max_time=00:00:30:00"], [7, 9, 1800]),
        (["trainer.max_epochs=7", "trainer.max_time={hours: 1, seconds: 5}"], [7, float("inf"), 3605]),
    ],
)
def test_the_limits_of_a_training_are_those_of_the_config(overrides, expected, tmp_path):
    assert training_limits(build_trainer(compose_config(*overrides), tmp_path, [])) == expected


def test_a_max_time_that_lightning_cannot_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Lightning refuses trainer\.…: `Timer\(duration='soon'\)` is not a valid"):
        build_trainer(compose_config("trainer.max_time=soon"), tmp_path, [])


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_share_of_less_than_one_batch_is_refused_before_the_training(share):
    loaders = {name: (lambda: [None]) for name in ("train_dataloader", "val_dataloader", "test_dataloader")}
    config = compose_config(f"trainer.limit_test_batches={share}").trainer
    with pytest.raises(
        UserError, match=rf"limit_test_batches={share}: {share} of 1 batch is none.*limit_test_batches=1"
    ):
        require_some_batches(config, SimpleNamespace(**loaders))
    require_some_batches(compose_config("trainer.limit_test_batches=1").trainer, SimpleNamespace(**loaders))
