"""Stacked and solo training in this process, on the built-in articles, without Hydra."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

import safe_exp.training.run
from safe_exp.config import TrainConfig
from safe_exp.runs.job import recorded_job
from safe_exp.sweep.stacked.ending import write_ending
from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.sweep.stacked.progress import StackProgress
from safe_exp.sweep.stacked.training import train_stack
from safe_exp.system.versions import running_code
from tests.commands import SMALL, read_json
from tests.made import compose_config


@cache
def composed(*overrides: str) -> TrainConfig:
    return compose_config(*SMALL, "logger=csv", "callbacks.convergence.patience=0", *overrides)


def variants(*overrides: str, runs: list[dict]) -> list[TrainConfig]:
    """One config with several α, β, γ and seeds, sorted as `form_stacks` sorts them."""
    configs = []
    for run in runs:
        config = deepcopy(composed(*overrides))
        config.seed = run.get("seed", 0)
        for name in ("alpha", "beta", "gamma"):
            setattr(config.model, name, run.get(name, getattr(config.model, name)))
        config.optimizer.lr = config.model.gamma
        configs.append(config)
    return sorted(configs, key=lambda config: (config.seed, config.optimizer.lr))


class WritesAtOnce:
    """In the place of Writers: no other process."""

    def __init__(self) -> None:
        self.endings = []

    def write(self, job, ending, outcome) -> None:
        self.endings.append(ending)
        write_ending(ending)
        job.failed(outcome) if isinstance(outcome, BaseException) else job.finished(outcome)

    def close_written(self) -> list:
        return []


def train_stacked(configs: list[TrainConfig], folder: Path, progress: StackProgress | None = None) -> list[StackedJob]:
    """Jobs 0, 1, … in `folder`, trained in one stack."""
    jobs = []
    for number, config in enumerate(configs):
        start = {"overrides": {"task": []}, "runtime": {"output_dir": str(folder / str(number))}, "mode": "RUN"}
        jobs.append(StackedJob(number, JobReturn(), config, OmegaConf.create(start)))
        jobs[-1].begin(running_code())
    train_stack(jobs, WritesAtOnce(), progress or StackProgress(len(jobs), shown=False))
    return jobs


def train_alone(config: TrainConfig, folder: Path, monkeypatch) -> Path:
    """The job as safe_exp.train runs it."""
    monkeypatch.setattr(safe_exp.training.run, "job_name", lambda _: "job")
    monkeypatch.setattr(safe_exp.training.run, "sweep_name", lambda _: None)
    with recorded_job(folder):
        safe_exp.training.run.train(deepcopy(config), folder)
    return folder


def checkpoint(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def furthest(ours: dict, theirs: dict) -> float:
    """The largest relative difference of any parameter."""
    a, b = ours["state_dict"], theirs["state_dict"]
    assert list(a) == list(b)
    assert all(a[name].dtype == b[name].dtype for name in b)
    return max(((a[name] - b[name]).norm() / b[name].norm()).item() for name in b)


def state(folder: Path) -> dict:
    return read_json(folder / "status.json")
