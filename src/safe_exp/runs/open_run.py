"""A stored run, read from its run folder or from the file that export made of it."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from safe_exp.data.artifacts import Artifacts
from safe_exp.network.variants import variants
from safe_exp.runs.bundle import open_bundle
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.stored_run import NETWORK_PREFIX, StoredRun, typed_model
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError, first_line


def open_run(run: Path, checkpoint: str = "best") -> StoredRun:
    """Read a stored run; nothing outside its folder or file is read, so it may have been moved.

    Args:
        run: a run folder of train, or a file that export made of one.
        checkpoint: `best` or `last`.
    Raises:
        UserError: a part is missing, damaged, or does not fit the rest; the message names the file.
    """
    if not run.exists():
        raise UserError(f"run={run}: there is no such folder or file. Give the folder of a finished run of train.")
    if run.is_file():
        if checkpoint != "best":
            raise UserError(f"checkpoint={checkpoint}: run={run} is one file, which holds one set of weights.")
        return open_bundle(run)
    config_path = run / ".hydra" / "config.yaml"
    weights_path = run / "checkpoints" / f"{checkpoint}.ckpt"
    for path in (config_path, run / "artifacts" / "vectors.safetensors", weights_path):
        if not path.is_file():
            raise UserError(
                f"run={run}: {path.relative_to(run)} is missing. Give the folder of a finished run of train."
            )
    try:
        stored = OmegaConf.load(config_path)
        model = typed_model(stored.model)
        variants[model.variant].check(model)
    except UserError as error:
        raise UserError(f"run={run}: .hydra/config.yaml: {error}") from error
    except (OmegaConfBaseException, YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(
            f"run={run}: .hydra/config.yaml cannot be read ({first_line(error)}). Was the copy complete?"
        ) from error
    state = read_checkpoint(weights_path)["state_dict"]
    weights = {name.removeprefix(NETWORK_PREFIX): weight for name, weight in state.items()}
    artifacts = Artifacts.load(run / "artifacts")
    calibration = Calibration.load(run / "artifacts") if checkpoint == "best" else None
    return StoredRun(model, artifacts, weights, calibration, run, checkpoint)
