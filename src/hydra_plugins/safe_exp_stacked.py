"""hydra/launcher=stacked: trains jobs together that differ in α, β, γ or the seed alone (safe_exp.sweep.stacked).

Keys: conf/hydra/launcher/stacked.yaml.
"""

from collections.abc import Sequence

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from safe_exp.cli.late_dynamo import put_off_dynamo
from safe_exp.config.checks import require_count


class StackedLauncher(Launcher):
    """Runs jobs one by one as Hydra's BasicLauncher does, and trains those together that can be stacked."""

    def __init__(self, most_runs: int | None = None, writers: int | None = None, processes: int | None = None) -> None:
        self.most_runs, self.writers, self.processes = most_runs, writers, processes

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        for key in ("most_runs", "writers", "processes"):
            if getattr(self, key) is not None:
                require_count(f"hydra.launcher.{key}", getattr(self, key))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, given by their overrides and numbered from `initial_job_idx`, and return their results."""
        from safe_exp.sweep.stacked.launch import StackedLaunch

        put_off_dynamo()  # the checks of the jobs build optimisers, which would load it
        setup_globals()
        return StackedLaunch(self, self.most_runs, self.writers, self.processes).run(job_overrides, initial_job_idx)
