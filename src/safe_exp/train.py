"""python -m safe_exp.train: one run, or with -m a sweep."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from safe_exp.config import CONF, register_schemas, typed_config
from safe_exp.help import run_command
from safe_exp.imports import lean_imports
from safe_exp.job import recorded_job, register_resolvers
from safe_exp.resume import resumed_config
from safe_exp.sweep.resume import with_resumed_sweep

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(composed: DictConfig) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if composed.resume is not None:
        composed = resumed_config(Path(composed.resume), "train")
    with recorded_job(folder):
        config = typed_config(composed)
        with lean_imports():  # torch and Lightning take seconds to import; --help and a typo should not
            from safe_exp.training import train

        return train(config, folder)


GROUPS = ["model", "data", "captioner", "vectors", "optimizer", "scheduler", "trainer", "logger", "experiment", "sweep"]

if __name__ == "__main__":
    sys.argv[1:] = with_resumed_sweep(sys.argv[1:])
    run_command(main, "train", "Train SAFE, once or as a sweep; with no arguments on built-in articles.", GROUPS)
