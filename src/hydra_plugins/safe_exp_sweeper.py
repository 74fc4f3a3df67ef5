"""The sweeper of safe_exp's commands. It lies here because Hydra looks for plugins in hydra_plugins."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from safe_exp.config.hydra_versions import REPLACE

log = logging.getLogger(__name__)

MANY_JOBS = 20  # from here on a log line says that their settings are checked, which can take seconds
# A dict and no dataclass: Hydra executes this file without an entry in sys.modules, where dataclasses look up types.
CONFIG = {
    "_target_": "hydra_plugins.safe_exp_sweeper.ResumableSweeper",
    "params": None,  # values by key, as on the command line
    "skip": [],  # combinations to leave out: [{model.alpha: 0, model.beta: 0}]
    "max_batch_size": None,  # accepted as by Hydra's own sweeper and ignored: all jobs are launched in one batch
}
ConfigStore.instance().store(group="hydra/sweeper", name="resumable", node=CONFIG, provider="safe_exp", **REPLACE)


class ResumableSweeper(Sweeper):
    """Hydra's grid sweeper, without the combinations in `skip` and the jobs that have finished in the folder."""

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
        """Run the jobs of the grid that `params` and the command line's `arguments` span.

        Raises:
            UserError: the grid cannot be run in this folder or by this launcher, or a job did not finish.
            HydraException: a job's config cannot be composed; no job has started then.
        """
        from safe_exp.sweep.composing import Composer
        from safe_exp.sweep.launching import launch_one_by_one
        from safe_exp.sweep.planned import drop_skipped, grid_jobs, require_numbered_folders
        from safe_exp.sweep.run import run_sweep
        from safe_exp.sweep.shared_request import require_shared_request

        require_numbered_folders(self.config)
        given = [*(f"{key}={values}" for key, values in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = drop_skipped(grid_jobs(parser.parse_overrides(given)), self.skip)
        if len(jobs) > MANY_JOBS:
            log.info("Checking the settings of %d jobs.", len(jobs))
        composer = Composer(self.hydra_context.config_loader, self.config)

        def composed_jobs() -> Iterator[DictConfig]:
            for job in jobs:
                composed = composer.compose(job)
                require_shared_request(self.config.hydra.launcher, composed.hydra.launcher, job)
                yield composed

        composed = composed_jobs()  # names and types of all jobs are checked before the first one starts
        if hasattr(self.launcher, "check"):
            self.launcher.check(composed)
        for _ in composed:
            pass
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        launch = self.launcher.launch
        if str(self.config.hydra.launcher._target_).endswith(".BasicLauncher"):  # it would compose each job anew
            launch = partial(launch_one_by_one, cast(Any, self.launcher), composer)
        return run_sweep(folder, jobs, launch, OmegaConf.to_yaml(self.config))
