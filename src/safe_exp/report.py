"""python -m safe_exp.report sweep=DIR: a sweep as tables, figures and one HTML page; run=DIR: the figures of a run."""

import sys

import hydra
from omegaconf import DictConfig

from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE

register_schemas()


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="report")
@user_errors_as_messages
def main(composed: DictConfig) -> None:
    """Write the report of the sweep, or draw the run."""
    config = typed_config(composed)
    # Matplotlib takes a second to import; --help and a typo do without.
    if config.run is not None:
        from safe_exp.reporting.draw_run import draw_run

        draw_run(config.run)
    else:
        from safe_exp.reporting.build import report

        report(config)


def with_folder(arguments: list[str]) -> list[str]:
    """Turn sweep=DIR into folder=DIR: since there is a group conf/sweep/, Hydra would look for an option DIR in it."""
    return [f"folder={a.removeprefix('sweep=')}" if a.startswith("sweep=") else a for a in arguments]


if __name__ == "__main__":
    sys.argv[1:] = with_folder(sys.argv[1:])
    run_command(
        main,
        "report",
        "A sweep (sweep=DIR) as tables, figures and one HTML page in DIR/report/; run=DIR draws a run.",
        [],
    )
