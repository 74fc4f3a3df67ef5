"""Optuna's sweeper with a study that can be resumed; only where hydra-optuna-sweeper is installed."""

from contextlib import suppress
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

with suppress(ImportError):
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    class StudySweeper(OptunaSweeper):
        """hydra-optuna-sweeper, but n_trials counts those of earlier starts, and jobs are numbered on from theirs."""

        def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
            self.config = config

        def sweep(self, arguments: list[str]) -> Any:
            from safe_exp.sweep.study import run_study

            return run_study(self, super().sweep, arguments)
