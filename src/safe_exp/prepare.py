"""python -m safe_exp.prepare data=… data.root=…: prepare raw articles once, for every run on them."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.job import recorded_job

register_schemas()
register_resolvers()


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="prepare")
@user_errors_as_messages
def main(composed: DictConfig) -> int:
    """Prepare the data set, or one shard of it, and return the number of articles prepared so far."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with recorded_job(folder):
        config = typed_config(composed)
        from safe_exp.data.prepare_command import prepare_data_set  # its imports take a second; --help does without

        return prepare_data_set(config, folder)


if __name__ == "__main__":
    run_command(main, "prepare", "Prepare articles once, for every run on them.", ["data", "captioner"])
