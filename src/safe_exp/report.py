"""python -m safe_exp.report sweep=DIR: a sweep as tables, figures and one HTML page."""

import sys

import hydra
from omegaconf import DictConfig

from safe_exp.config import CONF, register_schemas, typed_config
from safe_exp.help import run_command

register_schemas()


def without_sweep(arguments: list[str]) -> tuple[str | None, list[str]]:
    """DIR of sweep=DIR, and the other arguments; Hydra would look for DIR in conf/sweep/, a group of train's."""
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("sweep=")]
    others = [argument for argument in arguments if not argument.startswith("sweep=")]
    return (given[-1] if given else None), others


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="report")
def main(composed: DictConfig) -> None:
    if SWEEP is not None:
        composed.sweep = SWEEP
    config = typed_config(composed)
    from safe_exp.reporting.build import report  # matplotlib takes a second to import; --help and a typo should not

    report(config)


if __name__ == "__main__":
    SWEEP, sys.argv[1:] = without_sweep(sys.argv[1:])
    run_command(main, "report", "Tables, figures and one HTML page about a sweep, in DIR/report/.", [])
