"""python -m safe_exp.export run=DIR to=FILE: write a stored run, or a sweep as one model, as one file."""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.system.errors import UserError

register_schemas()
log = logging.getLogger(__name__)


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="export")
@user_errors_as_messages
def main(composed: DictConfig) -> None:
    """Read the stored run, check its weights, and write the file.

    Raises:
        UserError: the run cannot be used, or the file cannot be written.
    """
    config = typed_config(composed)
    from safe_exp.runs.open_run import open_run  # torch takes seconds to import; --help and a typo do without

    stored, path = open_run(Path(config.run).expanduser(), config.checkpoint), Path(config.to).expanduser()
    for member in stored.members:
        member.network()  # refuses weights that do not fit or are not finite
    try:
        if config.is_onnx:
            from safe_exp.inference.onnx_file import write_onnx

            write_onnx(stored, path)
        else:
            from safe_exp.runs.bundle import write_bundle

            write_bundle(stored, path)
    except OSError as error:
        raise UserError(f"to={config.to}: the file cannot be written ({error.strerror or error}).") from error
    size = path.stat().st_size / 1e6
    if config.is_onnx:
        log.info("%s, %.1f MB: the network alone; %s.json describes its inputs and outputs.", path, size, path.name)
    else:
        log.info("%s, %.1f MB: give it as run=%s to predict and evaluate.", path, size, config.to)


if __name__ == "__main__":
    run_command(main, "export", "Write a stored run as one file.", [])
