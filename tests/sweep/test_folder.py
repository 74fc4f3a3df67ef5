"""The jobs of a sweep and their states, read from its folder."""

import json
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class

from safe_exp.sweep.folder import read_baselines, read_sweep
from safe_exp.sweep.planned import grid_jobs, planned_jobs
from safe_exp.system.errors import UserError
from tests.reporting.made_sweep import ARTICLES, HYDRA, write_baseline, write_job, write_multirun


def states(sweep):
    return [job.state for job in read_sweep(sweep).jobs]


def status(job, **values):
    path = job / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def gone_pid():
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_jobs_in_every_state_are_told_apart(tmp_path):
    write_multirun(tmp_path, "model.alpha=0.2,0.4", "seed=0,1,2,3")
    write_job(tmp_path, 0, "model.alpha=0.2", "seed=0")
    write_job(tmp_path, 1, "model.alpha=0.2", "seed=1", state="failed", reason="no space left")
    write_job(tmp_path, 2, "model.alpha=0.2", "seed=2", state="interrupted", reason="told to stop (SIGTERM)")
    write_job(tmp_path, 3, "model.alpha=0.2", "seed=3", state="running")  # this very process
    status(write_job(tmp_path, 4, "model.alpha=0.4", "seed=0", state="running"), pid=gone_pid())
    status(write_job(tmp_path, 5, "model.alpha=0.4", "seed=1", state="running"), host="elsewhere", pid=1)
    (tmp_path / "6").mkdir()  # begun, and killed before its first line
    sweep = read_sweep(tmp_path)
    assert [job.state for job in sweep.jobs] == [
        "finished", "failed", "interrupted", "running", "interrupted", "running", "missing", "missing",
    ]  # fmt: skip
    assert sweep.counts == {"finished": 1, "failed": 1, "interrupted": 2, "running": 2, "missing": 2}
    assert sweep.jobs[1].reason == "no space left"
    assert "killed" in sweep.jobs[4].reason
    assert "elsewhere" in sweep.jobs[5].reason
    assert sweep.jobs[6].reason == "started, but left no status.json"
    assert sweep.jobs[7].reason == "never started"
    assert sweep.jobs[7].overrides == {"model.alpha": "0.4", "seed": "3"}  # from multirun.yaml alone


def test_half_written_files_are_never_taken_for_whole_ones(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    write_job(tmp_path, 1, "seed=1").joinpath("metrics.json").write_text('{"val": {')
    write_job(tmp_path, 2, "seed=2").joinpath("status.json").write_text('{"state": "fin')
    write_job(tmp_path, 3, "seed=3").joinpath("metrics.json").unlink()
    write_job(tmp_path, 4, "seed=4").joinpath("predictions.csv").unlink()
    assert states(tmp_path) == ["finished", "failed", "failed", "failed", "finished"]
    assert read_sweep(tmp_path).jobs[4].test_predictions.ids == []
    assert "metrics.json is missing" in read_sweep(tmp_path).jobs[1].reason


def test_jobs_are_found_without_multirun_yaml_and_other_folders_are_no_jobs(tmp_path):
    for number in (0, 2, 10):
        write_job(tmp_path, number, f"seed={number}")
    (tmp_path / "report").mkdir()
    (tmp_path / "notes.txt").write_text("not a job")
    assert [job.number for job in read_sweep(tmp_path).jobs] == [0, 2, 10]


def test_planned_jobs_are_hydra_s_own_product_of_the_values(tmp_path):
    write_multirun(tmp_path, "model.filter_sizes=[3,4],[3]", "seed=0,1", "trainer.max_epochs=2", max_batch_size=3)
    assert planned_jobs(tmp_path / "multirun.yaml") == [
        ["model.filter_sizes=[3,4]", "seed=0", "trainer.max_epochs=2"],
        ["model.filter_sizes=[3,4]", "seed=1", "trainer.max_epochs=2"],
        ["model.filter_sizes=[3]", "seed=0", "trainer.max_epochs=2"],
        ["model.filter_sizes=[3]", "seed=1", "trainer.max_epochs=2"],
    ]


def test_planned_jobs_include_those_of_the_sweeper_s_params(tmp_path):
    write_multirun(tmp_path, "model.alpha=1", params={"seed": "0,1"})
    assert planned_jobs(tmp_path / "multirun.yaml") == [["seed=0", "model.alpha=1"], ["seed=1", "model.alpha=1"]]


@pytest.mark.parametrize(
    "given",
    [
        ["seed=2,0,1", "model.alpha=range(0,1,0.25)", "model=safe"],
        ["seed=0,1", "model.alpha=choice(0.2,1e-1)", "seed=3"],  # a key given twice
        ["model.filter_sizes=[3],[2,3,4]", "+extra={a: 1,b: [x,'y z']}", "++seed=1"],
        ["data.root='my articles','it\\'s,here'", 'data.name="a=b",c\\,d', "seed=null,true,-0"],
        ["~logger", "hydra.sweep.dir=/tmp/x y"],
        ["seed=sort(3,1,2)", "model.beta=float(range(1,4))", "data.note="],
        [],
    ],
)
def test_a_grid_has_the_jobs_of_hydra_s_own_sweeper(given):
    parsed = OverridesParser.create().parse_overrides(given)
    theirs = get_class(HYDRA["sweeper"]["_target_"]).split_arguments(parsed, max_batch_size=None)
    assert [grid_jobs(parsed)] == theirs


def test_an_interval_is_no_grid():
    with pytest.raises(UserError, match=r"alpha=interval\(0,1\): a grid runs a list of values, as in model.alpha=0.2,"):
        grid_jobs(OverridesParser.create().parse_overrides(["model.alpha=interval(0,1)"]))


def test_a_sweeper_that_decides_as_it_goes_tells_only_how_many(tmp_path):
    write_multirun(tmp_path, "model.alpha=interval(0,1)", _target_="hydra_plugins.Optuna", n_trials=3)
    assert planned_jobs(tmp_path / "multirun.yaml") == [[], [], []]


@pytest.mark.parametrize("content", ["", "hydra: [", "- 1", "hydra: 7"])
def test_an_unreadable_multirun_yaml_plans_nothing(tmp_path, content):
    (tmp_path / "multirun.yaml").write_text(content)
    assert planned_jobs(tmp_path / "multirun.yaml") is None


def test_the_loss_curve_leaves_out_the_final_scoring_and_joins_the_parts_of_a_resumed_run(tmp_path):
    job = write_job(tmp_path, 0, "seed=0", losses=(0.7, 0.5, 0.4))
    later = job / "logs" / "version_1"
    later.mkdir()
    (later / "metrics.csv").write_text("epoch,step,train/loss,val/loss_prediction\n1,1,0.55,\n2,2,0.45,\n")
    epochs = read_sweep(tmp_path).jobs[0].read_epochs()
    assert epochs["train/loss"] == {0: 0.7, 1: 0.55, 2: 0.45}
    assert epochs["val/loss_prediction"] == pytest.approx({0: 0.8, 1: 0.6, 2: 0.5})


def test_a_job_that_left_a_checkpoint_goes_on_and_another_starts_again_in_its_own_folder(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    write_job(tmp_path, 1, "model.filter_sizes=[3,4]", "seed=1", state="failed")
    write_job(tmp_path, 2, "seed=2", state="interrupted").joinpath("checkpoints", "last.ckpt").touch()
    jobs = read_sweep(tmp_path).jobs
    assert jobs[1].command() == (
        f"python -m safe_exp.train 'model.filter_sizes=[3,4]' seed=1 hydra.run.dir={tmp_path / '1'}"
    )
    assert jobs[2].command() == f"python -m safe_exp.train resume={tmp_path / '2'}"


def test_the_group_is_the_name_that_the_jobs_gave_to_wandb(tmp_path):
    sweep = tmp_path / "2026-11-24" / "08-28-12"
    write_job(sweep, 0, "seed=0")
    assert read_sweep(sweep).group == "2026-11-24-08-28-12"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"sweep=.*nowhere: there is no such folder"):
        read_sweep(tmp_path / "nowhere")


def test_one_run_is_refused_and_its_sweep_is_named(tmp_path):
    write_multirun(tmp_path, "seed=0")
    job = write_job(tmp_path, 0, "seed=0")
    with pytest.raises(UserError, match=rf"this is the folder of one run.* belongs to a sweep: sweep={tmp_path}$"):
        read_sweep(job)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no job is in this folder.* Give the folder that .*train -m"):
        read_sweep(tmp_path)


def test_a_sweep_without_a_finished_job_is_refused_with_the_first_reason(tmp_path):
    write_multirun(tmp_path, "seed=0,1")
    write_job(tmp_path, 0, "seed=0", state="failed", reason="out of memory")
    with pytest.raises(UserError, match=r"no job has finished \(1 failed, 1 missing\).* Job 0: out of memory"):
        read_sweep(tmp_path)


def test_damaged_predictions_and_those_of_an_exploded_run_are_left_out(tmp_path, caplog):
    for number, probability in enumerate(("nan", "a lot")):
        job = write_job(tmp_path, number, f"seed={number}")
        with open(job / "predictions.csv", "a", encoding="utf-8") as handle:
            handle.write(f"fake/odd,test,1,{probability},0.5,1\n")
    jobs = read_sweep(tmp_path).jobs
    assert jobs[0].test_predictions.ids == [article[0] for article in ARTICLES]
    assert jobs[1].test_predictions.ids == []
    assert f"{tmp_path / '1' / 'predictions.csv'} is damaged" in caplog.text


def test_a_log_that_was_cut_off_gives_the_epochs_before(tmp_path):
    log = write_job(tmp_path, 0, "seed=0") / "logs" / "version_0" / "metrics.csv"
    log.write_text("epoch,step,train/loss\n0,0,0.7\n1,1,0.6\n2,2,0.\nx,3,0.5\n4")
    assert read_sweep(tmp_path).jobs[0].read_epochs()["train/loss"] == {0: 0.7, 1: 0.6, 2: 0.0}


def test_the_jobs_of_a_baseline_are_refused_for_what_they_are(tmp_path):
    write_job(tmp_path, 0)
    (tmp_path / "0" / ".hydra" / "config.yaml").write_text("baseline:\n  name: tfidf\n")
    with pytest.raises(UserError, match=r"these are jobs of safe_exp\.baseline\. .* with baselines="):
        read_sweep(tmp_path)


def test_baselines_are_read_and_other_jobs_are_refused_in_their_place(tmp_path):
    write_baseline(tmp_path / "rivals", 0, "tfidf", auroc=0.8)
    (job,) = read_baselines(tmp_path / "rivals")
    assert job.figure("test", "auroc") == 0.8
    write_job(tmp_path / "sweep", 0)
    with pytest.raises(UserError, match=r"baselines=.*sweep: these are no jobs of safe_exp\.baseline"):
        read_baselines(tmp_path / "sweep")
    with pytest.raises(UserError, match=r"baselines=.*nowhere: there is no such folder"):
        read_baselines(tmp_path / "nowhere")
