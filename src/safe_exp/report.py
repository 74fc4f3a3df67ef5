"""python -m safe_exp.report sweep=DIR: a sweep as tables, figures and one HTML page."""

import sys

import hydra
from omegaconf import DictConfig

from safe_exp.cli.mistakes import plainly
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config

register_schemas()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="report")
@plainly
def main(composed: DictConfig) -> None:
    config = typed_config(composed)
    from safe_exp.reporting.build import report  # matplotlib takes a second to import; --help and a typo should not

    report(config)


def with_folder(arguments: list[str]) -> list[str]:
    """The arguments with sweep=DIR as folder=DIR: since there is a conf/sweep/, Hydra would look DIR up in there."""
    return [f"folder={a.removeprefix('sweep=')}" if a.startswith("sweep=") else a for a in arguments]


if __name__ == "__main__":
    sys.argv[1:] = with_folder(sys.argv[1:])
    run_command(
        main, "report", "Tables, figures and one HTML page about a sweep: sweep=DIR, written to DIR/report/.", []
    )
