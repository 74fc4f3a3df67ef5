"""The parts of a training job are put together."""

import pytest

from safe_exp.system.errors import UserError
from safe_exp.training.trainer import build_trainer
from tests.made import compose_config


def test_algorithm1_is_not_shared_between_processes(tmp_path):
    """Each would walk over its own articles from the same weights, and the mean of two walks is no walk."""
    overrides = "trainer=ddp", "trainer.accelerator=cpu", "model.update=algorithm1"
    with pytest.raises(UserError, match=r"2 processes cannot share it. Set trainer.devices=1, or model.update=closed"):
        build_trainer(compose_config(*overrides), tmp_path, [])
    build_trainer(compose_config(*overrides, "trainer.devices=1"), tmp_path, [])
