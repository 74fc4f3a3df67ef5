"""A stored run, read from its run folder or from the file that export made of it; or a sweep's jobs as one model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

from safe_exp.data.artifacts import Artifacts
from safe_exp.network.variants import variants
from safe_exp.runs.bundle import open_bundle
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.ensemble import Ensemble, StoredModel, require_one_kind, share_equal_parts
from safe_exp.runs.job_outcome import MULTIRUN, Job, job_folders, read_job
from safe_exp.runs.out_of_fold import FittedEnsemble, calibrate_jobs
from safe_exp.runs.stored_config import CONFIG_FILE, read_stored_config
from safe_exp.runs.stored_run import NETWORK_PREFIX, StoredRun, typed_model
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.terminal import tracked

log = logging.getLogger(__name__)

MOST_NAMED = 3  # jobs whose settings are listed in a line


def open_run(run: Path, checkpoint: str = "best") -> StoredModel:
    """Read a stored run, or all finished jobs of a sweep.

    Nothing outside the folder or file is read, so it may have been moved.

    Args:
        run: a run folder of train, the folder of a sweep, or a file that export made of one.
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
    jobs = _find_jobs(run)
    return open_folder(run, checkpoint) if jobs is None else _open_sweep(run, jobs, checkpoint)


def open_folder(run: Path, checkpoint: str) -> StoredRun:
    """Read a stored run from its run folder.

    Raises:
        UserError: as `open_run`.
    """
    weights_path = run / "checkpoints" / f"{checkpoint}.ckpt"
    for path in (run / CONFIG_FILE, run / "artifacts" / "vectors.safetensors", weights_path):
        if not path.is_file():
            raise UserError(
                f"run={run}: {path.relative_to(run)} is missing. Give the folder of a finished run of train, or that "
                "of a sweep."
            )
    settings = read_stored_config(run, "model")
    try:
        model = typed_model(settings)
        variants[model.variant].check(model)
    except UserError as error:
        raise UserError(f"run={run}: {CONFIG_FILE}: {error}") from error
    except OmegaConfBaseException as error:
        raise UserError(
            f"run={run}: {CONFIG_FILE} cannot be read ({first_line(error)}). Was the copy complete?"
        ) from error
    state = read_checkpoint(weights_path)["state_dict"]
    weights = {name.removeprefix(NETWORK_PREFIX): weight for name, weight in state.items()}
    artifacts = Artifacts.load(run / "artifacts")
    calibration = Calibration.load(run / "artifacts") if checkpoint == "best" else None
    return StoredRun(model, artifacts, weights, calibration, run, checkpoint)


def _find_jobs(folder: Path) -> dict[int, Path] | None:
    """List the folders of a sweep's jobs, by number; None where `folder` is not that of a sweep."""
    found = job_folders(folder)
    if not (folder / MULTIRUN).is_file() and not any((path / "status.json").is_file() for path in found.values()):
        return None
    return None if (folder / ".hydra").is_dir() else found


def _open_sweep(folder: Path, found: Mapping[int, Path], checkpoint: str) -> Ensemble:
    """Read the finished jobs of a sweep as one model.

    Raises:
        UserError: none has finished, one cannot be used, or they are not of one kind.
    """
    every = [read_job(path, number, []) for number, path in found.items()]
    jobs = [job for job in every if job.state == "finished"]
    others = Counter(job.state for job in every if job.state != "finished")
    left_out = ", ".join(f"{count} {state}" for state, count in others.items())
    if any("baseline" in job.config for job in every):
        raise UserError(f"run={folder}: these are jobs of safe_exp.baseline. Give a run or a sweep of safe_exp.train.")
    if not jobs:
        raise UserError(
            f"run={folder}: no job of this sweep has finished ({left_out or 'it has none'}), so there is no model. "
            f"To go on with it: python -m safe_exp.train -m resume_sweep={folder}."
        )
    members: list[StoredRun] = []
    for job in tracked(log, jobs, "Reading jobs"):
        member = open_folder(job.folder, checkpoint)
        shared = share_equal_parts(member.artifacts, [known.artifacts for known in members])
        members.append(StoredRun(member.model, shared, member.weights, member.calibration, member.source, checkpoint))
    names = [str(job.number) for job in jobs]
    try:
        require_one_kind(members, names)
        _require_one_root(jobs)
    except UserError as error:
        raise UserError(f"run={folder}: {error}") from error
    fitted = FittedEnsemble(None)
    if checkpoint == "best":
        combines = variants[members[0].model.variant].combines
        # A single job has its own calibration, from logits of all digits.
        alone = FittedEnsemble(members[0].calibration, members[0].fitted_on, "its one finished job has none")
        fitted = calibrate_jobs(jobs, combines) if len(jobs) > 1 else alone
    different = dict(zip(names, _name_differences(jobs), strict=True))
    ensemble = Ensemble(
        tuple(members), different, fitted.calibration, folder, checkpoint, fitted.fitted_on, fitted.reason
    )
    log.info("%s", _describe(ensemble, left_out))
    return ensemble


def _require_one_root(jobs: Sequence[Job]) -> None:
    """Refuse jobs that read their articles from different places.

    Raises:
        UserError: it names both.
    """
    roots = {str((job.config.get("data") or {}).get("root")): job.number for job in reversed(jobs)}
    if len(roots) > 1:
        (one, first), (other, second) = sorted(roots.items(), key=lambda item: item[1])[:2]
        raise UserError(
            f"job {first} has data.root={one}, and job {second} has data.root={other}: they cannot answer as one "
            "model. Give the folder of one job."
        )


def _name_differences(jobs: Sequence[Job]) -> list[str]:
    """Write for each job those of its overrides that not all jobs have."""
    common = set.intersection(*(set(job.overrides.items()) for job in jobs))
    return [" ".join(f"{key}={value}" for key, value in job.overrides.items() if (key, value) not in common)
            for job in jobs]  # fmt: skip


def _describe(ensemble: Ensemble, left_out: str) -> str:
    """Describe an ensemble in a line for the terminal."""
    count = len(ensemble.members)
    named = [f"{name} ({different})" if different else name for name, different in ensemble.jobs.items()]
    listed = ", ".join(named[:MOST_NAMED]) + (", …" if count > MOST_NAMED else "")
    fitted = f"Not calibrated: {ensemble.uncalibrated}" if ensemble.uncalibrated else "Not calibrated"
    if ensemble.calibration is not None:
        fitted = f"Calibrated on {ensemble.fitted_on} ({ensemble.calibration.articles} articles)"
    return (
        f"run={ensemble.source}: {count} finished job{'s' * (count > 1)} as one model, by the mean logit: {listed}. "
        f"{f'Left out: {left_out}. ' if left_out else ''}{fitted}."
    )
