"""python -m safe_exp.evaluate run=DIR data=… data.root=…: score a stored run on a folder of labelled articles."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from safe_exp.config import CONF, register_schemas, typed_config
from safe_exp.help import run_command
from safe_exp.imports import lean_imports
from safe_exp.job import recorded_job, register_resolvers, require_new_folder
from safe_exp.mistakes import plainly

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
@plainly
def main(composed: DictConfig) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    require_new_folder(folder)
    with recorded_job(folder):
        config = typed_config(composed)
        with lean_imports():  # torch takes seconds to import; --help and a typo should not
            from safe_exp.evaluation import evaluate

        return evaluate(config, folder)


if __name__ == "__main__":
    run_command(main, "evaluate", "Score a stored run on a folder of labelled articles.", ["data"])
