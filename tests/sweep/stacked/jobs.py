"""Training in a stack and alone, in this process, on the built-in articles, without Hydra."""

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
def compose_small(*overrides: str) -> TrainConfig:
    return compose_config(*SMALL, "logger=csv", "callbacks.convergence.patience=0", *overrides)


def variants(*overrides: str, runs: list[dict]) -> list[TrainConfig]:
    """Vary α, β, γ and seed of one config, and sort the configs as `form_stacks` does."""
    configs = []
    for run in runs:
        config = deepcopy(compose_small(*overrides))
        config.seed = run.get("seed", 0)
        for name in ("alpha", "beta", "gamma"):
            setattr(config.model, name, run.get(name, getattr(config.model, name)))
        config.optimizer.lr = config.model.gamma
        configs.append(config)
    return sorted(configs, key=lambda config: (config.seed, config.optimizer.lr))


class WritesAtOnce:
    """Takes the place of Writers, without other processes."""

    def __init__(self) -> None:
        self.endings = []

    def write(self, job, ending, outcome) -> None:
        self.endings.append(ending)
        write_ending(ending)
        job.failed(outcome) if isinstance(outcome, BaseException) else job.finished(outcome)

    def close_written(self) -> list:
        return []


def train_stacked(configs: list[TrainConfig], folder: Path, progress: StackProgress | None = None) -> list[StackedJob]:
    """Train jobs 0, 1, … in `folder`, in one stack."""
    jobs = []
    for number, config in enumerate(configs):
        start = {"overrides": {"task": []}, "runtime": {"output_dir": str(folder / str(number))}, "mode": "RUN"}
        jobs.append(StackedJob(number, JobReturn(), config, OmegaConf.create(start)))
        jobs[-1].begin(running_code())
    train_stack(jobs, WritesAtOnce(), progress or StackProgress(len(jobs), shown=False))
    return jobs


def train_alone(config: TrainConfig, folder: Path, monkeypatch) -> Path:
    """Train a job as safe_exp.train does."""
    monkeypatch.setattr(safe_exp.training.run, "job_name", lambda _: "job")
    monkeypatch.setattr(safe_exp.training.run, "sweep_name", lambda _: None)
    with recorded_job(folder):
        safe_exp.training.run.train(deepcopy(config), folder)
    return folder


def checkpoint(folder: Path, name: str = "last") -> dict:
    """Read a checkpoint of a run."""
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def furthest(ours: dict, theirs: dict) -> float:
    """Compute the largest relative difference of a parameter between two checkpoints."""
    a, b = ours["state_dict"], theirs["state_dict"]
    assert list(a) == list(b)
    assert all(a[name].dtype == b[name].dtype for name in b)
    return max(((a[name] - b[name]).norm() / b[name].norm()).item() for name in b)


def state(folder: Path) -> dict:
    """Read status.json of a run."""
    return read_json(folder / "status.json")
