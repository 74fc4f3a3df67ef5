"""Optuna's sweeper with a study that can be resumed. It exists only if hydra-optuna-sweeper is installed."""

from contextlib import suppress
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

with suppress(ImportError):
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    class StudySweeper(OptunaSweeper):
        """hydra-optuna-sweeper, whose n_trials and job numbers include those of earlier starts."""

        def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
            self.config = config

        def sweep(self, arguments: list[str]) -> Any:
            """Run the trials that are missing; raises what `run_study` raises."""
            from safe_exp.sweep.optuna_study import run_study

            return run_study(self, super().sweep, arguments)
