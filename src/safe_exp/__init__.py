"""SAFE (Zhou, Wu & Zafarani 2020) as an experiment framework.

train.py      one run or a sweep                    report.py     a sweep as tables, figures and one page
evaluate.py   score a stored run on labelled data   export.py     a stored run as one file
predict.py    ask a stored run about articles       baseline.py   a simple classifier on the same split
prepare.py    raw articles to prepared data         dashboard.py  W&B charts of a project's runs

Each room imports only from rooms below it (.importlinter, checked in CI):

api/          the commands as functions, for scripts, notebooks and services
cli/          a command line: read, explained, refused
reporting/    a sweep as a page
sweep/        many jobs
training/     one job
inference/    a trained run answers
figures/      the drawings of a run
runs/         a run folder, written and read
scoring/      the figures of metrics.json, and how far to trust them
network/      parameters and forward passes
data/         articles to batches
equations/    the paper, Eqs. (12)-(18): pure functions on tensors; imports torch alone
config/       the typed shape of conf/
system/       errors, files, locks, processes, versions, the terminal
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safe_exp.api.trained_model import TrainedModel, load
    from safe_exp.api.training_run import TrainingRun, train
    from safe_exp.equations import algorithm1_epoch, closed_form_gradients, safe_loss
    from safe_exp.network import SafeNetwork
    from safe_exp.system.errors import UserError

__all__ = [
    "SafeNetwork",
    "TrainedModel",
    "TrainingRun",
    "UserError",
    "algorithm1_epoch",
    "closed_form_gradients",
    "load",
    "safe_loss",
    "train",
]

_HOMES = {
    "SafeNetwork": "safe_exp.network",
    "TrainedModel": "safe_exp.api.trained_model",
    "TrainingRun": "safe_exp.api.training_run",
    "UserError": "safe_exp.system.errors",
    "algorithm1_epoch": "safe_exp.equations",
    "closed_form_gradients": "safe_exp.equations",
    "load": "safe_exp.api.trained_model",
    "safe_loss": "safe_exp.equations",
}


def __getattr__(name: str) -> Any:
    # Lazily: torch takes seconds to import, and every command imports this package first.
    if name == "train":  # the module of the command, which can be called: see its end
        return import_module("safe_exp.train")
    if name not in _HOMES:
        raise AttributeError(f"module 'safe_exp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
