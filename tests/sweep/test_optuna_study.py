"""Studies by optuna: several sweeps on one storage, with jobs that only return a score."""

import subprocess
import sys
import threading
from contextlib import suppress
from inspect import signature
from types import SimpleNamespace

import pytest
from hydra.core.plugins import Plugins
from hydra.utils import instantiate
from omegaconf import OmegaConf

from safe_exp.sweep.optuna_study import open_study
from safe_exp.sweep.study_trials import GONE_SECONDS, SEEN, WORKER, StudyTrials
from safe_exp.system.errors import UserError
from tests.commands import environment, read_json, run
from tests.sweep.test_sweep import TINY

optuna = pytest.importorskip("optuna")
plugin = pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")


SAMPLER = OmegaConf.create({"_target_": "optuna.samplers.RandomSampler", "seed": 0})
# Since 1.4 the sweeper makes its sampler itself; before, Hydra did.
MAKES_ITS_SAMPLER = "search_space" not in signature(plugin.OptunaSweeper.__init__).parameters


@pytest.fixture
def make_sweep(tmp_path, monkeypatch):
    """Build a sweep of a folder in tmp_path; its call runs the study, and it lists the jobs that it has run."""
    from hydra_plugins.safe_exp_study import StudySweeper

    def make(name, storage, n_trials=6, n_jobs=1, job=lambda overrides: 0.5):
        jobs = []

        def launch(overrides, initial_job_idx):
            jobs.extend((initial_job_idx + index, *each) for index, each in enumerate(overrides))
            for index in range(len(overrides)):
                (tmp_path / name / str(initial_job_idx + index)).mkdir()
            return [SimpleNamespace(return_value=job(each)) for each in overrides]

        launcher = SimpleNamespace(launch=launch)
        monkeypatch.setattr(Plugins, "instantiate_launcher", lambda *arguments, **named: launcher)
        settings = {
            "storage": storage, "study_name": "safe_exp", "direction": "minimize", "n_trials": n_trials,
            "n_jobs": n_jobs, "max_failure_rate": 1.0, "params": {"model.alpha": "interval(0, 1)"},
        }  # fmt: skip
        config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / name)}, "sweeper": settings}})
        sweeper = StudySweeper(
            sampler=SAMPLER if MAKES_ITS_SAMPLER else instantiate(SAMPLER), custom_search_space=None,
            **{key: value for key, value in settings.items() if key != "params"},
            params=config.hydra.sweeper.params, **({} if MAKES_ITS_SAMPLER else {"search_space": None}),
        )  # fmt: skip
        sweeper.setup(hydra_context=SimpleNamespace(), task_function=print, config=config)
        return SimpleNamespace(run=lambda: sweeper.sweep([]), jobs=jobs, folder=tmp_path / name)

    return make


def ended(storage):
    return [trial for trial in open_study(storage, "safe_exp").trials if trial.state.name == "COMPLETE"]


def run_together(*sweeps):
    """Run sweeps at the same time, each in a thread; raise the error of one."""
    errors = []

    def caught(sweep):
        try:
            sweep.run()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=caught, args=(sweep,)) for sweep in sweeps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]


def test_machines_on_one_storage_run_n_trials_together_and_suggest_nothing_twice(make_sweep, tmp_path):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    together = threading.Barrier(3)

    def job(overrides):  # the first jobs wait for each other: all machines take part
        if not together.broken:
            with suppress(threading.BrokenBarrierError):
                together.wait(30)
            together.abort()
        return 0.5

    sweeps = [make_sweep(f"of {n}", storage, n_trials=8, n_jobs=n, job=job) for n in (1, 2, 3)]
    run_together(*sweeps)
    drawn = [values for sweep in sweeps for _, *values in sweep.jobs]
    assert len(drawn) == 8 == len(ended(storage))
    assert len({tuple(values) for values in drawn}) == 8
    assert all(sweep.jobs for sweep in sweeps)
    for sweep in sweeps:
        assert [number for number, *_ in sweep.jobs] == list(range(len(sweep.jobs)))
        assert (sweep.folder / "optimization_results.yaml").exists()
    late = make_sweep("late", storage, n_trials=8)
    late.run()
    assert late.jobs == []


def test_a_killed_sweep_leaves_a_trial_that_keeps_nobody_from_the_study(make_sweep, tmp_path):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"

    def kill(overrides):
        raise KeyboardInterrupt

    killed = make_sweep("killed", storage, n_trials=2, job=kill)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    other = make_sweep("other", storage, n_trials=2)
    other.run()
    assert len(other.jobs) == 1  # the trial of the killed sweep may still be run there
    resumed = make_sweep("killed", storage, n_trials=2)
    resumed.run()
    assert [number for number, *_ in resumed.jobs] == [1]
    assert len(ended(storage)) == 2
    assert len({values for _, values in killed.jobs + other.jobs + resumed.jobs}) == 3


def test_a_trial_of_another_machine_counts_until_that_machine_is_silent_for_long(tmp_path, monkeypatch):
    study = open_study(f"sqlite:///{tmp_path / 'shared.db'}", "safe_exp")
    trials = StudyTrials(study, tmp_path, n_trials=3, shared=True)
    trial = study.ask()
    assert trials.left() == 2  # begun this moment, and not marked yet
    trial.set_user_attr(WORKER, "another:/place")
    trial.set_user_attr(SEEN, 1000.0)
    monkeypatch.setattr("time.time", lambda: 1000.0 + GONE_SECONDS - 1)
    assert trials.left() == 2
    monkeypatch.setattr("time.time", lambda: 1000.0 + GONE_SECONDS + 1)
    assert trials.left() == 3


def test_the_jobs_of_a_batch_tell_that_they_run(tmp_path, monkeypatch):
    monkeypatch.setattr("safe_exp.sweep.study_trials.BEAT_SECONDS", 0.01)
    study = open_study(f"sqlite:///{tmp_path / 'shared.db'}", "safe_exp")
    trials = StudyTrials(study, tmp_path, n_trials=3, shared=True)
    trials.note(study.ask())
    first = study.trials[0].user_attrs[SEEN]

    def launch():
        for _ in range(1000):
            threading.Event().wait(0.01)
            if study.get_trials()[0].user_attrs[SEEN] > first:
                return "seen again"
        return "silent"

    assert trials.guard(launch)() == "seen again"


def test_a_study_in_the_sweeps_own_folder_keeps_the_suggestions_of_its_seed(make_sweep, tmp_path):
    draws = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sweep = make_sweep(name, f"sqlite:///{tmp_path / name / 'study.db'}", n_trials=3)
        sweep.run()
        draws.append(sweep.jobs)
    assert draws[0] == draws[1]
    again = make_sweep("one", f"sqlite:///{tmp_path / 'one' / 'study.db'}", n_trials=5)
    (tmp_path / "one" / "multirun.yaml").unlink()  # n_trials is raised
    again.run()
    assert [number for number, _ in again.jobs] == [3, 4]
    assert not {drawn for _, drawn in again.jobs} & {drawn for _, drawn in draws[0]}


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:////nowhere/at/all/study.db", r"cannot be opened \(unable to open"),
        ("no address", "no address: this storage cannot be used"),
        ("oracle+nodriver://me:secret@host/x", r"oracle\+nodriver://me:\*\*\*@host/x: this storage cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_one_line(storage, message, monkeypatch):
    monkeypatch.setattr("safe_exp.sweep.optuna_study.TRIES", 1)
    with pytest.raises(UserError, match=message):
        open_study(storage, "safe_exp")


def test_a_damaged_storage_is_told_in_one_line(tmp_path):
    (tmp_path / "study.db").write_bytes(b"no data base" * 100)
    with pytest.raises(UserError, match="is not a study of optuna"):
        open_study(f"sqlite:///{tmp_path / 'study.db'}", "safe_exp")


@pytest.mark.slow
def test_two_commands_share_a_study_one_of_them_with_two_workers(tmp_path):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    study = ("sweep=optuna", "-m", *TINY, f"hydra.sweeper.storage={storage}", "hydra.sweeper.n_trials=5")
    workers = ("hydra/launcher=processes", "hydra.sweeper.n_jobs=2")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "safe_exp.train", *study, f"hydra.sweep.dir={tmp_path / name}", *more],
            cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True,
        )
        for name, more in (("alone", ()), ("workers", workers))
    ]  # fmt: skip
    printed = [process.communicate(timeout=180)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    jobs = sorted(tmp_path.glob("*/[0-9]"))
    assert {read_json(job / "status.json")["state"] for job in jobs} == {"finished"}
    drawn = {(job / ".hydra" / "overrides.yaml").read_text() for job in jobs}
    assert len(jobs) == len(drawn) == 5
    assert sorted(trial.value for trial in ended(storage)) == pytest.approx(
        sorted(read_json(job / "metrics.json")["val"]["loss_prediction"] for job in jobs)
    )
    again = run("train", "-m", f"resume_sweep={tmp_path / 'alone'}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "All 5 trials have been run" in again.stderr
    assert sorted(tmp_path.glob("*/[0-9]")) == jobs
