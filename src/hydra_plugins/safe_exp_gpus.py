"""hydra/launcher=gpus: as many jobs at a time as there are GPUs (safe_exp.sweep.gpus).

Keys: conf/hydra/launcher/gpus.yaml.
"""

from collections.abc import Iterable, Sequence

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from safe_exp.config.checks import require_count


class GpuLauncher(Launcher):
    """Runs each job in another process, on GPUs that it leases."""

    def __init__(self, jobs_per_gpu: int = 1) -> None:
        self.jobs_per_gpu = jobs_per_gpu

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        require_count("hydra.launcher.jobs_per_gpu", self.jobs_per_gpu)

    def check(self, composed: Iterable[DictConfig]) -> None:
        """Refuse a sweep whose jobs the GPUs here cannot run, before it has a folder.

        Args:
            composed: the config of each job.
        Raises:
            UserError: as `safe_exp.sweep.gpus.count_jobs_at_a_time`.
        """
        from safe_exp.sweep.gpus import count_jobs_at_a_time

        count_jobs_at_a_time(composed, self.jobs_per_gpu)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, given by their overrides and numbered from `initial_job_idx`, and return their results."""
        from safe_exp.sweep.gpus import GpuLaunch

        setup_globals()
        return GpuLaunch(self, self.jobs_per_gpu).run(job_overrides, initial_job_idx)
