"""hydra/launcher=stacked: trains jobs together that differ in α, β, γ or the seed alone (safe_exp.sweep.stacked)."""

from collections.abc import Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from safe_exp.config.hydra_versions import REPLACE

# A dict and no dataclass, for the reason given in safe_exp_sweeper.
CONFIG = {
    "_target_": "hydra_plugins.safe_exp_stacked.StackedLauncher",
    "most_runs": 64,  # in one stack; its files are written while the next stack is trained
    "writers": None,  # processes that write the files of ended jobs; null: one for each core
}
ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=CONFIG, provider="safe_exp", **REPLACE)


class StackedLauncher(Launcher):
    """Runs jobs in this process as Hydra's BasicLauncher does, and trains those together that can be stacked."""

    def __init__(self, most_runs: int = 64, writers: int | None = None) -> None:
        self.most_runs, self.writers = most_runs, writers

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, given by their overrides and numbered from `initial_job_idx`, and return their results."""
        from safe_exp.sweep.stacked.launch import StackedLaunch

        setup_globals()
        return StackedLaunch(self, self.most_runs, self.writers).run(job_overrides, initial_job_idx)
