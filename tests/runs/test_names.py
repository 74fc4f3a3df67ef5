"""Jobs are named by their overrides, sweeps by their folder, also when another command resumes them."""

import pytest
from omegaconf import OmegaConf

from safe_exp.runs.names import job_name, sweep_name


def start_job(folder, mode, overrides, subdir="${hydra.job.num}"):
    """Write the .hydra/hydra.yaml that Hydra leaves in a job's folder."""
    hydra = {
        "mode": mode,
        "overrides": {"task": overrides},
        "runtime": {"output_dir": str(folder)},
        "sweep": {"subdir": subdir},
    }
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create({"hydra": hydra}), folder / ".hydra" / "hydra.yaml")
    return folder


def test_a_job_is_named_by_its_overrides_without_the_paths_of_this_machine(tmp_path):
    folder = start_job(
        tmp_path / "job", "RUN", ["model.alpha=0.4", "data.root=/articles", "data.test_root=/t", "seed=1"]
    )
    assert job_name(folder) == "model.alpha=0.4 seed=1"


def test_a_job_without_overrides_is_named_by_date_and_time(tmp_path):
    assert job_name(start_job(tmp_path / "2026-01-02" / "10-11-12", "RUN", [])) == "2026-01-02-10-11-12"


@pytest.mark.parametrize(("subdir", "job"), [("${hydra.job.num}", "0"), ("${model.alpha}/${seed}", "0.4/1")])
def test_a_sweep_is_named_by_its_folder_however_deep_its_jobs_lie(subdir, job, tmp_path):
    folder = start_job(tmp_path / "2026-01-02" / "10-11-12" / job, "MULTIRUN", ["seed=1"], subdir)
    assert sweep_name(folder) == "2026-01-02-10-11-12"


def test_a_single_run_belongs_to_no_sweep(tmp_path):
    assert sweep_name(start_job(tmp_path / "job", "RUN", [])) is None
