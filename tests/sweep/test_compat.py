"""Canaries of safe_exp.sweep.compat."""

import copy
from inspect import signature
from types import SimpleNamespace

import pytest
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from tests.canary import relies_on


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Run a study of five trials, and record the numbers and overrides of its jobs."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    import optuna
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    def run(prepare=lambda sweeper: None):
        taken = []

        def launch(overrides, initial_job_idx):
            taken.extend((initial_job_idx + i, *job) for i, job in enumerate(overrides))
            return [SimpleNamespace(return_value=0.5) for _ in overrides]

        launcher = SimpleNamespace(launch=launch)
        monkeypatch.setattr(Plugins, "instantiate_launcher", lambda *arguments, **named: launcher)
        # hydra-optuna-sweeper 1.3 takes a sampler and wants search_space; 1.4 takes the config of a sampler.
        if "search_space" in signature(OptunaSweeper).parameters:
            takes = {"sampler": optuna.samplers.RandomSampler(seed=0), "search_space": None}
        else:
            takes = {"sampler": OmegaConf.create({"_target_": "optuna.samplers.RandomSampler", "seed": 0})}
        sweeper = OptunaSweeper(
            direction="minimize", storage=None, study_name=None, n_trials=5, n_jobs=1, max_failure_rate=0.0,
            custom_search_space=None, **takes,
            params=OmegaConf.create({"model.alpha": "interval(0, 1)"}),
        )  # fmt: skip
        config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
        sweeper.setup(hydra_context=SimpleNamespace(), task_function=lambda config: None, config=config)
        prepare(sweeper)
        sweeper.sweep([])
        return taken

    return run


@pytest.mark.slow
def test_a_study_goes_on_with_the_trials_and_the_numbers_that_it_is_told(draw):
    moved = (
        "OptunaSweeper.sweeper no longer has n_trials, job_idx and sampler, which say how many trials from which on."
    )
    with relies_on("hydra-optuna-sweeper", moved):
        from safe_exp.sweep.compat import continue_study

        whole = draw()
        same = draw(lambda sweeper: continue_study(sweeper, 2, first_job=3, reseed=False))
        other = draw(lambda sweeper: continue_study(sweeper, 2, first_job=3, reseed=True))
        assert [number for number, _ in whole] == [0, 1, 2, 3, 4]
        assert [number for number, _ in same] == [number for number, _ in other] == [3, 4]
        assert [drawn for _, drawn in same] == [drawn for _, drawn in whole[:2]]
        assert not {drawn for _, drawn in other} & {drawn for _, drawn in whole}


def test_a_section_is_taken_out_of_a_config_and_put_back_without_a_copy():
    config = OmegaConf.create({"a": {"b": "${c}"}, "c": 1})
    OmegaConf.set_struct(config, True)
    before, section = copy.deepcopy(config), config.a
    with relies_on("omegaconf", "a section without a parent is copied when it is put into a config."):
        from safe_exp.sweep.compat import without

        with without(config, "a"):
            assert list(config) == ["c"]
        assert config.a is section
        assert config == before
        assert config.a.b == 1
        assert OmegaConf.is_struct(config)


def test_yaml_is_written_as_omegaconf_writes_it(monkeypatch):
    values = [
        "1",
        "1e3",
        "true",
        "off",
        "~",
        "null",
        "",
        "a: b",
        "α",
        "it's",
        '"',
        "x" * 200,
        "a\nb",
        "- c",
        "0x1f",
        "1:30",
    ]
    config = OmegaConf.create(
        {"texts": values, "numbers": [1, 0.5, 1e-9, True, None], "nested": {"empty": {}, "no": []}}
    )
    expected = OmegaConf.to_yaml(config)
    with relies_on("omegaconf", "OmegaConf.to_yaml no longer takes its Dumper from get_omega_conf_dumper."):
        from omegaconf import omegaconf

        from safe_exp.sweep.compat import speed_up_yaml

        monkeypatch.setattr(omegaconf, "get_omega_conf_dumper", omegaconf.get_omega_conf_dumper)  # undone at the end
        speed_up_yaml()
        assert OmegaConf.to_yaml(config) == expected
        monkeypatch.setattr(omegaconf, "get_omega_conf_dumper", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            OmegaConf.to_yaml(config)


@pytest.mark.slow
def test_wandb_reads_the_list_of_packages_once_for_several_runs(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    reads = []

    def listed(read=wandb.util.working_set):
        reads.append(1)
        return read()

    monkeypatch.setattr(wandb.util, "working_set", listed)
    with relies_on("wandb", "a run no longer lists the installed packages by wandb.util.working_set."):
        from safe_exp.sweep.compat import list_packages_once

        for _ in range(2):
            list_packages_once()
            wandb.init(dir=tmp_path, settings=wandb.Settings(silent=True, console="off")).finish()
        assert len(reads) == 1, f"read {len(reads)} times"
