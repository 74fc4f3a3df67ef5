"""The calls that differ between versions of Hydra and OmegaConf, under those that are installed."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

import safe_exp
from safe_exp.config.hydra_versions import REPLACE, instantiate, register_resolver

OURS = re.compile(r"\bversion_base=|register_new_resolver|utils\.instantiate|hydra import instantiate")


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_config_is_stored_twice_without_a_word():
    for alpha in (1, 2):
        ConfigStore.instance().store(group="hydra_versions", name="twice", node={"alpha": alpha}, **REPLACE)
    assert ConfigStore.instance().load("hydra_versions/twice.yaml").node.alpha == 2


def test_a_resolver_is_registered_twice_without_a_word():
    for factor in (1, 2):
        register_resolver("hydra_versions", lambda value, factor=factor: factor * value, replace=True)
    assert OmegaConf.create({"alpha": "${hydra_versions:3}"}).alpha == 6


def test_the_class_of_a_config_is_built_with_its_arguments_and_ours():
    optimizer = instantiate({"_target_": "torch.optim.SGD", "lr": 0.5}, params=[torch.nn.Parameter(torch.ones(1))])
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.defaults["lr"] == 0.5


def test_a_class_that_does_not_exist_is_refused_as_hydra_refuses_it():
    with pytest.raises(InstantiationException):
        instantiate({"_target_": "torch.optim.NoSuchOptimizer"})


def test_the_calls_that_differ_stand_in_this_module_alone():
    found = [path.name for path in Path(safe_exp.__file__).parent.rglob("*.py") if OURS.search(path.read_text("utf-8"))]
    assert found == ["hydra_versions.py"]


def test_no_library_warns_of_a_command(tmp_path):
    command = [sys.executable, "-W", "default", "-m", "safe_exp.train", "sweep=alpha", "--cfg", "job"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "hydra" not in done.stderr.lower()
    assert "omegaconf" not in done.stderr.lower()
