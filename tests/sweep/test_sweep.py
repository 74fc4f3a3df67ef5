"""Sweeps as a user runs them: by name, with failures, interrupted and resumed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from safe_exp.config import CONF
from safe_exp.sweep.optuna_study import open_study
from safe_exp.sweep.planned import drop_skipped, planned_jobs, require_numbered_folders
from safe_exp.sweep.run import run_sweep
from safe_exp.system.errors import UserError
from safe_exp.system.files import write_json
from tests.commands import SMALL, environment, read_json, read_metrics, run
from tests.made import compose_config

TINY = ("data.articles=40", "trainer.max_epochs=2", "model.num_filters=2", "model.feature_dim=2", "logger=none",
        "data.batch_size=16")  # fmt: skip
SWEEPS = {
    "alpha_beta": 35,
    "alpha": 5,
    "gamma": 7,
    "filter_sizes": 9,
    "ablation": 5,
    "seeds": 5,
    "folds": 5,
    "full": 75,
}


def plan_jobs(name: str, tmp_path: Path) -> list[list[str]]:
    """Plan the jobs of a named sweep from the config that Hydra composes."""
    compose_config()  # the schemas and resolvers
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", overrides=[f"sweep={name}"], return_hydra_config=True)
    from omegaconf import OmegaConf

    path = tmp_path / "multirun.yaml"
    sweeper = OmegaConf.to_container(composed.hydra.sweeper, resolve=True)
    OmegaConf.save({"hydra": {"sweeper": sweeper, "overrides": {"task": [f"sweep={name}"]}}}, path)
    return planned_jobs(path)


def test_every_sweep_is_counted():
    assert {path.stem for path in (CONF / "sweep").glob("*.yaml")} == {*SWEEPS, "optuna"}  # which draws its jobs


@pytest.mark.parametrize(("name", "count"), SWEEPS.items())
def test_every_job_of_every_sweep_is_a_config_that_can_run(name, count, tmp_path):
    jobs = plan_jobs(name, tmp_path)
    assert len(jobs) == count
    assert len({tuple(job) for job in jobs}) == count
    header = (CONF / "sweep" / f"{name}.yaml").read_text()
    assert f"{count} jobs" in header
    for job in jobs[:: 1 + count // 20]:  # also checks the values
        compose_config(*job)
    assert ["model.alpha=0", "model.beta=0"] not in [job[:2] for job in jobs]


def test_weights_that_add_up_to_one():
    for alpha in ("0", "0.2", "1"):
        model = compose_config("sweep=alpha", f"model.alpha={alpha}").model
        assert model.alpha + model.beta == pytest.approx(1)


def test_skipped_combinations_are_known_however_their_numbers_are_written():
    jobs = [[f"model.alpha={a}", f"model.beta={b}"] for a, b in product(("0", "0.0", "0.2"), ("0", "1"))]
    left = drop_skipped(jobs, [{"model.alpha": 0, "model.beta": 0}])
    assert [job for job in jobs if job not in left] == [
        ["model.alpha=0", "model.beta=0"], ["model.alpha=0.0", "model.beta=0"]
    ]  # fmt: skip


def sweep_folder(place: Path) -> Path:
    (folder,) = place.glob("multirun/*/*")
    return folder


def results(folder: Path) -> dict[int, dict]:
    """Read the metrics of every finished job, without those that differ between two equal runs."""
    found = {}
    for path in sorted(folder.glob("*/metrics.json")):
        if read_json(path.parent / "status.json")["state"] == "finished":
            found[int(path.parent.name)] = read_metrics(path.parent)
    return found


def test_a_sweep_by_name_runs_without_m_goes_on_after_a_failure_and_says_so(tmp_path):
    done = run("train", *TINY, "sweep=seeds", "seed=0,-1,2", cwd=tmp_path)
    assert done.returncode == 1
    folder = sweep_folder(tmp_path)
    states = [read_json(folder / str(number) / "status.json")["state"] for number in range(3)]
    assert states == ["finished", "failed", "finished"]
    assert "1 of 3 jobs did not finish" in done.stderr
    assert f"resume_sweep={folder.relative_to(tmp_path)}" in done.stderr
    assert "Traceback" not in done.stderr
    for word in ("failed: seed=-1", "finished", "val/loss_prediction", "All with"):
        assert word in done.stderr


@pytest.mark.slow
def test_a_resumed_sweep_runs_what_is_missing_and_leaves_the_rest_alone(tmp_path):
    assert run("train", "-m", *TINY, "seed=0,1,2", cwd=tmp_path).returncode == 0
    folder = sweep_folder(tmp_path)
    whole = results(folder)
    (folder / "1" / "status.json").unlink()
    subprocess.run(["rm", "-r", str(folder / "2")], check=True)
    before = {path: path.stat().st_mtime_ns for path in (folder / "0").rglob("*") if path.is_file()}
    moved = tmp_path / "moved"
    folder.rename(moved)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run("train", "-m", f"resume_sweep={moved}", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "1 have finished, 2 are run now" in done.stderr
    assert results(moved) == whole
    after = {path: path.stat().st_mtime_ns for path in (moved / "0").rglob("*") if path.is_file()}
    assert after == {moved / path.relative_to(folder): time for path, time in before.items()}
    done = run("train", f"resume_sweep={moved}", cwd=elsewhere)
    assert done.returncode == 0
    assert "3 have finished, 0 are run now" in done.stderr
    # A job that still waits in a cluster's queue when its sweep is resumed comes to a folder that has finished.
    done = run("train", "-m", "hydra/sweeper=basic", *TINY, "seed=0,1,2", f"hydra.sweep.dir={moved}", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has finished already") == 3
    assert read_json(moved / "0" / "status.json")["resumed"] == 0


@pytest.mark.slow
def test_another_grid_is_refused_and_says_what_differs(tmp_path):
    assert run("train", "-m", *TINY, "seed=0,1", cwd=tmp_path).returncode == 0
    folder = sweep_folder(tmp_path)
    done = run("train", "-m", f"resume_sweep={folder}", "seed=0,1,2", cwd=tmp_path)
    assert done.returncode == 1
    assert "so seed=0,1,2 cannot be given with it" in done.stderr
    done = run("train", "-m", *TINY, "seed=0,5", f"hydra.sweep.dir={folder}", cwd=tmp_path)
    assert done.returncode == 1
    assert "job 1 ran with" in done.stderr
    assert "seed=1, and would now be" in done.stderr
    stored = folder / "multirun.yaml"
    stored.write_text(stored.read_text().replace("beta: 0.4", "beta: 0.3"))  # as if conf/ had changed since
    done = run("train", "-m", f"resume_sweep={folder}", cwd=tmp_path)
    assert done.returncode == 1
    assert "the sweep started with model.beta=0.3, and conf/ now gives 0.4" in done.stderr
    done = run("train", "-m", "resume_sweep=nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "resume_sweep=nowhere: there is no sweep in this folder" in done.stderr


def start(place: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", *arguments], cwd=place, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


LONG = (*SMALL, "trainer.max_epochs=400", "callbacks.convergence.patience=0", "logger=none")


@pytest.mark.parametrize("subdir", ["seed-${seed}", "x"])
def test_names_of_the_user_s_own_for_the_folders_of_jobs_are_refused(subdir, tmp_path):
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "a", "subdir": subdir}}})
    with pytest.raises(UserError, match=r"hydra.sweep.subdir=.*the folder of a job is its number"):
        require_numbered_folders(config)
    config.hydra.sweep.subdir = "${hydra.job.num}"
    require_numbered_folders(config)


def test_ctrl_c_ends_a_sweep_and_prints_how_to_go_on(tmp_path):
    process = start(tmp_path, "-m", *LONG, "seed=0,1,2")
    wait_for(lambda: list(tmp_path.glob("multirun/*/*/0/checkpoints/last.ckpt")))
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode != 0
    folder = sweep_folder(tmp_path)
    assert read_json(folder / "0" / "status.json")["state"] == "interrupted"
    assert not (folder / "1").exists()
    assert f"To go on: python -m safe_exp.train -m resume_sweep={folder.relative_to(tmp_path)}" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_ctrl_c_stops_the_jobs_of_all_processes_which_then_go_on(tmp_path):
    several = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    process = start(tmp_path, "-m", *LONG, "trainer.max_epochs=150", "seed=0,1,2", *several)
    wait_for(lambda: len(list(tmp_path.glob("multirun/*/*/[01]/checkpoints/last.ckpt"))) == 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    _, printed = process.communicate(timeout=60)
    folder = sweep_folder(tmp_path)
    assert {read_json(folder / name / "status.json")["state"] for name in "01"} == {"interrupted"}
    assert f"resume_sweep={folder.relative_to(tmp_path)}" in printed
    assert "Traceback" not in printed
    resumed = run("train", "-m", f"resume_sweep={folder}", *several, cwd=tmp_path, timeout=300)
    assert resumed.returncode == 0, resumed.stderr
    assert results(folder).keys() == {0, 1, 2}
    assert read_json(folder / "0" / "status.json")["resumed"] == 1


def list_names(data: Path) -> list[str]:
    """List the names in a data folder, without digests that depend on the path of the articles."""
    return [re.sub(r"-[0-9a-f]{12}\b", "", path.name) for path in data.rglob("*")]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_that_start_together_prepare_once_and_equal_those_of_one_process(launcher, tmp_path):
    together, one = tmp_path / "together", tmp_path / "one"
    for place, chosen in ((together, launcher), (one, "basic")):
        place.mkdir()
        done = run("train", "-m", *TINY, "seed=0,1", f"hydra/launcher={chosen}", cwd=place)
        assert done.returncode == 0, done.stderr
    made, expected = (sorted(list_names(place / "data")) for place in (together, one))
    assert made == expected  # no second data set, no drafts
    assert results(sweep_folder(together)) == results(sweep_folder(one))


@pytest.mark.slow
def test_two_processes_cannot_run_one_sweep_or_one_job(tmp_path):
    process = start(tmp_path, "-m", *LONG, "seed=0,1")
    try:
        wait_for(lambda: list(tmp_path.glob("multirun/*/*/0/checkpoints/last.ckpt")))
        folder = sweep_folder(tmp_path)
        second = run("train", "-m", f"resume_sweep={folder}", cwd=tmp_path)
        assert second.returncode == 1
        assert "another process is running this sweep" in second.stderr
        third = run("train", f"resume={folder / '0'}", cwd=tmp_path)
        assert third.returncode == 1
        assert "another process is working in this run folder" in third.stderr
        assert read_json(folder / "0" / "status.json")["state"] == "running"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# Twelve jobs, of which two fail by design.
GRID = (*TINY, "trainer.max_epochs=60", "callbacks.convergence.patience=0", "seed=0,1,2,3,4,-1", "model.alpha=0.5,1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The metrics of a sweep over GRID that nobody stopped."""
    place = tmp_path_factory.mktemp("undisturbed")
    assert run("train", "-m", *GRID, cwd=place, timeout=600).returncode == 1
    found = results(sweep_folder(place))
    assert list(found) == list(range(10))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "kill"), [("basic", os.killpg), ("joblib", os.kill)],
    ids=["basic", "joblib, the workers live on"],
)  # fmt: skip
def test_a_sweep_killed_twice_at_random_moments_ends_like_an_undisturbed_one(launcher, kill, undisturbed, tmp_path):
    chosen = (f"hydra/launcher={launcher}", *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []))
    process = start(tmp_path, "-m", *GRID, *chosen)
    for _ in range(2):
        wait_for(lambda: list(tmp_path.glob("multirun/*/*/multirun.yaml")))
        moment = random.uniform(4, 12)
        print(f"killed after {moment:.3f} s")  # shown when the test fails
        time.sleep(moment)
        kill(process.pid, signal.SIGKILL)
        process.wait()  # the pipe stays open while workers live
        folder = sweep_folder(tmp_path)
        assert results(folder).items() <= undisturbed.items()
        process = start(tmp_path, "-m", f"resume_sweep={folder}", *chosen)
    _, printed = process.communicate(timeout=600)
    assert process.returncode == 1, printed
    assert results(folder) == undisturbed
    assert "2 of 12 jobs did not finish" in printed
    assert printed.count("seed=-1") >= 2


@pytest.mark.slow
def test_a_study_is_resumed_to_its_number_of_trials_without_repeating_a_suggestion(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    command = ("-m", "sweep=optuna", *TINY, f"hydra.sweep.dir={tmp_path / 'study'}")
    process = start(tmp_path, *command, "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=3")
    wait_for(lambda: len(list(tmp_path.glob("study/*/metrics.json"))) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = run("train", "-m", f"resume_sweep={tmp_path / 'study'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trials have been run" in done.stderr
    finished = [path.parent for path in (tmp_path / "study").glob("*/metrics.json")]
    study = open_study(f"sqlite:///{tmp_path / 'study' / 'study.db'}", "safe_exp")
    assert sum(trial.state.is_finished() for trial in study.trials) == 6
    assert len(finished) in (6, 7)  # the kill may fall between a job's end and its score's way into the study
    drawn = [path.joinpath(".hydra", "overrides.yaml").read_text() for path in finished]
    assert len(set(drawn)) == len(drawn)
    again = run("train", "-m", f"resume_sweep={tmp_path / 'study'}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "All 6 trials have been run" in again.stderr


@pytest.mark.parametrize(
    ("name", "target"),
    [("processes", "JoblibLauncher"), ("slurm", "SlurmLauncher"), ("local", "LocalLauncher")],
)
def test_the_launchers_of_conf_are_those_of_the_plugins(name, target):
    compose_config()  # the schemas and resolvers
    with initialize_config_dir(str(CONF), version_base="1.3"):
        launcher = compose("train", overrides=[f"hydra/launcher={name}"], return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith(target)


def test_a_launcher_that_breaks_off_costs_only_the_jobs_that_it_had_started(tmp_path, monkeypatch):
    launched = []

    def launch(placed, initial_job_idx):
        launched.append([job[-1] for job in placed])
        if len(launched) == 1:  # one job was running when its worker was killed, and took the pool with it
            (tmp_path / "0").mkdir()
            write_json(tmp_path / "0" / "status.json", {"state": "interrupted", "reason": "killed"})
            raise RuntimeError("a worker was killed")
        for job in placed:
            folder = tmp_path / job[-1].rpartition("=")[2]
            write_json(folder / "status.json", {"state": "failed", "reason": "x"})
        return []

    with pytest.raises(UserError, match="3 of 3 jobs did not finish"):
        run_sweep(tmp_path, [["seed=0"], ["seed=1"], ["seed=2"]], launch, "seed: 0")
    assert launched == [[f"hydra.sweep.subdir={n}" for n in (0, 1, 2)], [f"hydra.sweep.subdir={n}" for n in (1, 2)]]
