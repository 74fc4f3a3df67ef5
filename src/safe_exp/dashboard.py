"""python -m safe_exp.dashboard project=NAME: make or update a W&B workspace and a W&B report about a project's runs."""

import hydra
from omegaconf import DictConfig

from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE

register_schemas()


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="dashboard")
@user_errors_as_messages
def main(composed: DictConfig) -> None:
    """Send the dashboard to W&B, or write its definition.

    Raises:
        UserError: there is no W&B account, wandb-workspaces is not installed, or W&B refuses.
    """
    config = typed_config(composed)
    from safe_exp.reporting.dashboard import require_package, send, write  # W&B takes a second to import

    require_package()
    if config.print or config.to is not None:
        write(config)
    else:
        send(config)


if __name__ == "__main__":
    run_command(main, "dashboard", "A W&B workspace and report about a project's runs: project=NAME.", [])
