"""Optuna's sweeper with a study that can be resumed; only where hydra-optuna-sweeper is installed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

with suppress(ImportError):
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

    class StudySweeper(OptunaSweeper):
        """hydra-optuna-sweeper, but n_trials counts those of earlier starts, and jobs are numbered on from theirs."""

        def sweep(self, arguments: list[str]) -> Any:
            from safe_exp.sweep.study import run_study

            folder = Path(self.sweeper.config.hydra.sweep.dir)
            folder.mkdir(parents=True, exist_ok=True)
            return run_study(folder, self.sweeper, arguments, OmegaConf.to_yaml(self.sweeper.config))
