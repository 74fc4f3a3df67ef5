"""A sweep's finished jobs are opened as one model, or refused with the reason."""

import pytest
from omegaconf import OmegaConf

from safe_exp.runs.ensemble import Ensemble
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import FOLDS
from safe_exp.system.errors import UserError
from tests.made_jobs import FOLDS as SPLITS
from tests.made_jobs import write_job, write_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("sweep") / "s", "captioner=file")


def test_the_finished_jobs_are_the_members_and_those_left_out_are_counted(sweep, tmp_path, caplog):
    caplog.set_level("INFO")
    opened = open_run(sweep)
    assert isinstance(opened, Ensemble)
    assert opened.jobs == {"0": "data.fold=0", "1": "data.fold=1", "2": "data.fold=2"}
    assert (opened.fitted_on, opened.calibration.articles) == (FOLDS, 6)
    assert "3 finished jobs as one model, by the mean logit: 0 (data.fold=0), 1 " in caplog.text
    assert "Calibrated on out-of-fold predictions (6 articles)" in caplog.text
    for number, state in enumerate(["finished", "failed", "interrupted", "failed", "finished"]):
        write_job(tmp_path, number, "captioner=file", state=state, split=SPLITS[number % 3])
    caplog.clear()
    assert list(open_run(tmp_path).jobs) == ["0", "4"]
    assert "Left out: 2 failed, 1 interrupted. Not calibrated: job 0 has no predictions.csv" in caplog.text


def test_jobs_with_equal_vocabulary_and_vectors_hold_them_once(tmp_path):
    for number in range(2):
        write_job(tmp_path, number)
    one, other = (member.artifacts for member in open_run(tmp_path).members)
    assert one is other


def test_without_a_finished_job_there_is_no_model(tmp_path):
    (tmp_path / "multirun.yaml").write_text("")
    with pytest.raises(UserError, match=r"no job of this sweep has finished \(it has none\), so there is no model"):
        open_run(tmp_path)
    write_job(tmp_path, 0, "captioner=file", state="failed")
    with pytest.raises(UserError, match=r"has finished \(1 failed\).*go on with it: .*-m resume_sweep="):
        open_run(tmp_path)


def test_any_other_folder_is_no_model(tmp_path):
    (tmp_path / "7").mkdir()
    message = r"\.hydra/config\.yaml is missing\. Give the folder of a finished run of train, or that of a sweep"
    with pytest.raises(UserError, match=message):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "settings", "message"),
    [
        (["model=text_only"], {}, "job 0 has model.variant=safe, and job 1 has model.variant=text_only"),
        (
            ["model.similarity_loss=both_classes"],
            {},
            "job 0 has .*real_only, and job 1 has model.similarity_loss=both_classes",
        ),
        ([], {"require": ["text"]}, r"job 0 has require=\[\], and job 1 has require=\['text'\]"),
        ([], {"words": "jieba"}, "job 0 has no words, and job 1 has words=jieba"),
        (["captioner.file_name=other.txt"], {}, "job 0 has captioner="),
    ],
)
def test_jobs_of_several_kinds_are_refused(overrides, settings, message, tmp_path):
    write_job(tmp_path, 0, "captioner=file")
    write_job(tmp_path, 1, "captioner=file", *overrides, settings=settings)
    with pytest.raises(UserError, match=rf"run=.*: {message}.*cannot answer as one model") as refused:
        open_run(tmp_path)
    assert "give a sweep over folds, seeds or weights, or the folder of one job" in str(refused.value)


def test_jobs_that_differ_in_weights_sizes_and_cuts_are_of_one_kind(tmp_path):
    write_job(tmp_path, 0, "captioner=file", "model.alpha=1", "model.beta=0.5")
    write_job(tmp_path, 1, "captioner=file", "model.alpha=0.5", "model.num_filters=5", settings={"max_text_tokens": 4})
    assert open_run(tmp_path).loss_settings == {"alpha": 0.75, "beta": 0.45, "similarity_loss": "real_only"}


def test_jobs_of_two_data_sets_are_refused(tmp_path):
    for number, root in enumerate(("a", "b")):
        config = write_job(tmp_path, number, "captioner=file") / ".hydra" / "config.yaml"
        OmegaConf.save(OmegaConf.merge(OmegaConf.load(config), {"data": {"root": root}}), config)
    with pytest.raises(UserError, match=r"job 0 has data\.root=a, and job 1 has data\.root=b"):
        open_run(tmp_path)


def test_jobs_of_a_baseline_have_no_model(tmp_path):
    config = write_job(tmp_path, 0, "captioner=file") / ".hydra" / "config.yaml"
    config.write_text("baseline: {name: tfidf}")
    with pytest.raises(UserError, match=r"these are jobs of safe_exp\.baseline"):
        open_run(tmp_path)


def test_the_last_checkpoints_have_no_calibration(tmp_path):
    for number in range(2):
        best = write_job(tmp_path, number, "captioner=file") / "checkpoints" / "best.ckpt"
        best.rename(best.with_name("last.ckpt"))
    opened = open_run(tmp_path, "last")
    assert opened.calibration is None
    assert "calibrated at its jobs' best checkpoints, not at their last ones" in opened.explain_missing_calibration()
    with pytest.raises(UserError, match=r"0: checkpoints/best\.ckpt is missing"):
        open_run(tmp_path)
