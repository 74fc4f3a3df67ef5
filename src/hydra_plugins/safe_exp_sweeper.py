"""The sweeper of safe_exp's commands, where Hydra looks for plugins; what it does is in safe_exp.sweep."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)

MANY = 20  # jobs; Hydra takes an eighth of a second for one, unless it differs from another in a number alone
# A plain dict: Hydra executes this file without naming it in sys.modules, where dataclasses look up field types.
CONFIG = {
    "_target_": "hydra_plugins.safe_exp_sweeper.ResumableSweeper",
    "params": None,  # key: its values, as on the command line
    "skip": [],  # combinations that are no jobs: [{model.alpha: 0, model.beta: 0}]
    "max_batch_size": None,  # of Hydra's own sweeper; every job is launched at once here
}
ConfigStore.instance().store(group="hydra/sweeper", name="resumable", node=CONFIG, provider="safe_exp")


class ResumableSweeper(Sweeper):
    """Hydra's grid, but combinations can be left out, and only those jobs of a folder are run that are not done."""

    def __init__(
        self, params: dict[str, str] | None = None, skip: list[Any] | None = None, max_batch_size: int | None = None
    ) -> None:
        self.params = dict(params or {})
        self.skip = [dict(combination) for combination in skip or []]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from safe_exp.sweep.composing import Composer
        from safe_exp.sweep.planned import grid_jobs, without_skipped
        from safe_exp.sweep.run import run_sweep

        given = [*(f"{key}={values}" for key, values in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = without_skipped(grid_jobs(parser.parse_overrides(given)), self.skip)
        if len(jobs) > MANY:
            log.info("Checking the settings of %d jobs.", len(jobs))
        composer = Composer(self.hydra_context.config_loader, self.config)
        for job in jobs:  # names and types of every job, before the first one starts
            composer.compose(job)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        return run_sweep(folder, jobs, self.launcher.launch, OmegaConf.to_yaml(self.config))
