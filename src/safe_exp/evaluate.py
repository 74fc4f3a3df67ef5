"""python -m safe_exp.evaluate run=DIR data=… data.root=…: score a stored run on a folder of labelled articles."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from safe_exp.cli.lean_imports import import_lightning
from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.folder import require_new_folder
from safe_exp.runs.job import recorded_job

register_schemas()
register_resolvers()


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="evaluate")
@user_errors_as_messages
def main(composed: DictConfig) -> float:
    """Score the stored run and return its AUROC."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    require_new_folder(folder)
    with recorded_job(folder):
        config = typed_config(composed)
        import_lightning()  # torch takes seconds to import; --help and a typo do without
        from safe_exp.inference.evaluation import evaluate

        return evaluate(config, folder)


if __name__ == "__main__":
    run_command(main, "evaluate", "Score a stored run on a folder of labelled articles.", ["data"])
