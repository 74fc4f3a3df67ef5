"""Jobs that are composed from one another equal what Hydra composes for each."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from safe_exp.config import CONF
from safe_exp.sweep.composing import Composer
from tests.made import compose_config

SWEEP = "sweep=alpha_beta"  # an override of each of its jobs too: Hydra 1.4 refuses a job with another sweeper
JOBS = [
    ["model.alpha=0.2", "model.beta=0", "seed=0", "hydra.sweep.subdir=0"],
    ["model.alpha=1", "model.beta=2e-1", "seed=3", "hydra.sweep.subdir=1"],
    ["model.alpha=0.4", "optimizer=adam", "seed=1"],
    ["model.alpha=0.6", "optimizer=adam", "seed=2"],
    ["optimizer=adam", "model.gamma=0.1"],
    ["model.alpha=0.6", "model.num_filters=3"],
    ["model.alpha=0.6", "model.num_filters=4"],
]


@pytest.fixture
def loader_and_sweep():
    compose_config()  # the schemas and resolvers
    setup_globals()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        named = ("kv_sep=-", "item_sep=' and '", "exclude_keys=[model.beta]")
        given = [*(f"hydra.job.config.override_dirname.{setting}" for setting in named)]
        given += [SWEEP, "hydra.sweep.dir=somewhere"]
        yield hydra.config_loader, hydra.compose_config("train", given, RunMode.MULTIRUN)


def test_every_job_is_what_hydra_composes(loader_and_sweep):
    loader, sweep = loader_and_sweep
    composer = Composer(loader, sweep)
    for job in ([SWEEP, *job] for job in JOBS):
        expected = OmegaConf.to_yaml(loader.load_sweep_config(sweep, job), resolve=False)
        assert OmegaConf.to_yaml(composer.compose(job), resolve=False) == expected
    assert len(composer._composed) == 5  # the second, the fourth and no other came from one before


def test_a_value_of_another_type_is_refused_as_hydra_refuses_it(loader_and_sweep):
    composer = Composer(*loader_and_sweep)
    composer.compose([SWEEP, "seed=0"])
    for override in ("seed=0.5", "seed=zero", "model.alpha=[1]", "model.alpa=1"):
        with pytest.raises(HydraException):
            composer.compose([SWEEP, override])


def test_what_a_caller_does_to_a_config_stays_with_it(loader_and_sweep):
    composer = Composer(*loader_and_sweep)
    composer.compose([SWEEP, "seed=0"]).model.alpha = 7
    composer.compose([SWEEP, "seed=1"]).model.beta = 7
    assert composer.compose([SWEEP, "seed=2"]).model.alpha != 7
    assert composer.compose([SWEEP, "seed=2"]).model.beta != 7
