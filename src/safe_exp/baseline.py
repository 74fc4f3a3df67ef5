"""python -m safe_exp.baseline data=… baseline=majority|tfidf|mean_vectors: a simple classifier on train's split."""

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


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="baseline")
@user_errors_as_messages
def main(composed: DictConfig) -> float:
    """Score one baseline and return the score that a sweep compares."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with recorded_job(folder):
        config = typed_config(composed)
        from safe_exp.training.baselines import score_baseline

        return score_baseline(config, folder)


if __name__ == "__main__":
    run_command(
        main,
        "baseline",
        "Score a simple reader on the split that train would use.",
        ["baseline", "data", "captioner", "vectors"],
    )
