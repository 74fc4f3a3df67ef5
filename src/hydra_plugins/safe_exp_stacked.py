"""hydra/launcher=stacked: trains jobs together that differ in α, β, γ or the seed alone; see safe_exp.sweep.stacked."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, setup_globals

# A plain dict, as in safe_exp_sweeper.
CONFIG = {
    "_target_": "hydra_plugins.safe_exp_stacked.StackedLauncher",
    "most_runs": 64,  # of a stack; the files of one are written while the next is trained
    "writers": None,  # processes that write the files of jobs that have ended; null: one for each core
}
ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=CONFIG, provider="safe_exp")


class StackedLauncher(BasicLauncher):
    """Hydra's BasicLauncher, but it trains jobs together where it can."""

    def __init__(self, most_runs: int = 64, writers: int | None = None) -> None:
        super().__init__()
        self.most_runs, self.writers = most_runs, writers

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from safe_exp.sweep.stacked.launch import Launch

        setup_globals()

        def alone(overrides: Sequence[str], number: int) -> JobReturn:
            (returned,) = super(StackedLauncher, self).launch([overrides], number)
            return returned

        return Launch(self, alone, self.most_runs, self.writers).run(job_overrides, initial_job_idx)
