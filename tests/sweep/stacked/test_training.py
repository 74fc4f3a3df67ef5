"""A stacked job is the job that it would have been alone: weights, checkpoints, files, endings."""

import csv
import re
from pathlib import Path

import pytest
import torch

from safe_exp.sweep.stacked import training as stacked_training
from safe_exp.sweep.stacked.progress import StackProgress
from safe_exp.system.errors import UserError
from tests.commands import read_json, read_rows
from tests.data.tiny_transformers import bert
from tests.sweep.stacked.jobs import checkpoint, furthest, state, train_alone, train_stacked, variants

RUNS = [
    {"alpha": 0.6, "beta": 0.4, "seed": 0},
    {"alpha": 1.0, "beta": 0.0, "seed": 1},  # the seeds share a step, as they have equally many runs
    {"alpha": 0.3, "beta": 1.0, "gamma": 0.02, "seed": 2},
]
PATHS = r"/\S*/checkpoints\b/?"  # in a checkpoint, of the folder that it was made in


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read_table(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def assert_same_content(ours, theirs, rtol: float, where: str = "") -> None:
    if isinstance(theirs, dict) and "names" in theirs:  # EpochHistory's table
        ours, theirs = (dict(zip(h["names"], h["values"].unbind(1), strict=True)) for h in (ours, theirs))
    if isinstance(theirs, dict):
        plain = [re.sub(PATHS, "", str(key)) for key in theirs]
        assert [re.sub(PATHS, "", str(key)) for key in ours] == plain, where
        for key, mine, other in zip(plain, ours.values(), theirs.values(), strict=True):
            if key not in ("train/articles_per_second", "seconds", "digest"):
                # Its weights belong to scores that were brought to variance 1: what differs is multiplied by 1/σ.
                close = max(rtol, 1e-3) if key == "combination" else rtol
                assert_same_content(mine, other, close, f"{where}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same_content(mine, other, rtol, f"{where}/{number}")
    elif isinstance(theirs, torch.Tensor):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol, msg=lambda m: f"{where}: {m}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=rtol, abs=rtol), where
    elif isinstance(theirs, str):
        # The reason of a selection writes out its gain and interval, which are compared as numbers beside it.
        left_out = rf"{PATHS}|[-+]?\d[-+.\de]*" if where.endswith("/reason") else PATHS
        assert re.sub(left_out, "", ours) == re.sub(left_out, "", theirs), where
    else:
        assert ours == theirs, where


REGULARISED = (
    "model.article_weights=source", "model.label_smoothing=0.1", "model.pooled_dropout=0.3", "model.feature_dropout=0.5"
)  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "rtol"),
    [
        (("trainer.max_epochs=6",), 1e-5),
        (("trainer.max_epochs=3", *REGULARISED), 1e-5),
        pytest.param(("trainer.max_epochs=6", "optimizer=adamw", *REGULARISED), 1e-5, marks=pytest.mark.slow),
        pytest.param(
            ("trainer.max_epochs=6", "trainer.precision=64-true", "optimizer=adam", "scheduler=cosine"),
            1e-10,
            marks=pytest.mark.slow,
        ),
        pytest.param(("trainer.max_epochs=12", "optimizer=adam"), 1e-5, marks=pytest.mark.slow),
        pytest.param(("trainer.max_epochs=12", "trainer.precision=64-true"), 1e-10, marks=pytest.mark.slow),
        pytest.param(
            ("trainer.max_epochs=8", "trainer.gradient_clip_val=0.05", "scheduler=step", "optimizer.momentum=0.9"),
            1e-5,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_job_of_a_stack_leaves_what_it_leaves_alone(overrides, rtol, tmp_path, monkeypatch):
    configs = variants(*overrides, runs=RUNS)
    train_stacked(configs, tmp_path / "stacked")
    for number, config in enumerate(configs):
        ours = tmp_path / "stacked" / str(number)
        alone = train_alone(config, tmp_path / "alone" / str(number), monkeypatch)
        for name in ("last", "best"):
            assert furthest(checkpoint(ours, name), checkpoint(alone, name)) < rtol
            assert_same_content(checkpoint(ours, name), checkpoint(alone, name), max(rtol, 1e-6), name)
        assert_same_content(read_json(ours / "metrics.json"), read_json(alone / "metrics.json"), 1e-5)
        files = [sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) for folder in (ours, alone)]
        assert files[0] == files[1]
        tables = [read_table(folder / "logs/version_0/metrics.csv") for folder in (ours, alone)]
        assert tables[0][0] == tables[1][0]
        as_numbers = [[[float(x) if x else None for x in row] for row in table[1:]] for table in tables]
        speed = tables[0][0].index("train/articles_per_second")
        for row in (*as_numbers[0], *as_numbers[1]):
            row[speed] = None
        assert_same_content(as_numbers[0], as_numbers[1], 1e-5)
        assert (ours / "logs/version_0/hparams.yaml").read_text() == (alone / "logs/version_0/hparams.yaml").read_text()
        for mine, other in zip(*(read_rows(folder / "predictions.csv") for folder in (ours, alone)), strict=True):
            assert float(mine["probability"]) == pytest.approx(float(other["probability"]), abs=2e-6)
            assert (mine["id"], mine["split"]) == (other["id"], other["split"])
        assert state(ours).keys() == state(alone).keys()
        assert state(ours)["state"] == "finished"


@pytest.mark.parametrize("layer", [0, -1])
def test_jobs_on_a_transformer_are_stacked_too(layer, tmp_path, monkeypatch):
    vectors = ("vectors=transformer", f"vectors.model={bert()}", f"vectors.layer={layer}", "vectors.standardise=true")
    configs = variants(*vectors, "trainer.max_epochs=2", runs=RUNS[::2])
    train_stacked(configs, tmp_path / "stacked")
    for number, config in enumerate(configs):
        ours = tmp_path / "stacked" / str(number)
        alone = train_alone(config, tmp_path / "alone" / str(number), monkeypatch)
        assert furthest(checkpoint(ours), checkpoint(alone)) < 1e-5
        for mine, other in zip(*(read_rows(folder / "predictions.csv") for folder in (ours, alone)), strict=True):
            assert float(mine["probability"]) == pytest.approx(float(other["probability"]), abs=1e-5)
    artifacts = [tmp_path / "stacked" / str(number) / "artifacts" / "vectors.safetensors" for number in (0, 1)]
    assert artifacts[0].samefile(artifacts[1])


@pytest.mark.slow
def test_each_job_converges_in_its_own_epoch_and_leaves_the_others_alone(tmp_path, monkeypatch):
    runs = [{"gamma": 1e-6}, {"gamma": 0.3}, {"gamma": 0.02, "seed": 1}]
    ends = ("callbacks.convergence.patience=2", "callbacks.convergence.tolerance=0.02", "trainer.max_epochs=8")
    configs = variants(*ends, "callbacks.early_stopping.patience=3", "logger=none", runs=runs)
    jobs = train_stacked(configs, tmp_path / "stacked")
    ended = [read_json(job.folder / "metrics.json") for job in jobs]
    assert len({metrics["epochs"] for metrics in ended}) > 1
    assert ended[0]["stopped_by"] == "converged"
    for number in range(3):
        alone = train_alone(configs[number], tmp_path / "alone" / str(number), monkeypatch)
        assert_same_content(ended[number], read_json(alone / "metrics.json"), 1e-5)
        assert furthest(checkpoint(jobs[number].folder), checkpoint(alone)) < 1e-5


def test_a_job_that_diverges_fails_as_it_does_alone_and_the_others_go_on(tmp_path, monkeypatch):
    runs = [{"seed": 0}, {"seed": 0, "gamma": 1e30}, {"seed": 1}]
    configs = variants(runs=runs)
    jobs = train_stacked(configs, tmp_path / "stacked")
    assert [state(job.folder)["state"] for job in jobs] == ["finished", "failed", "finished"]
    with pytest.raises(UserError, match="training loss became"):
        train_alone(configs[1], tmp_path / "alone", monkeypatch)
    assert state(jobs[1].folder)["reason"] == state(tmp_path / "alone")["reason"]
    files = [
        sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in (jobs[1].folder, tmp_path / "alone")
    ]
    assert files[0] == files[1]
    calm = train_stacked(variants(runs=[runs[0], {"seed": 0, "gamma": 0.14}, runs[2]]), tmp_path / "calm")
    for number, other in ((0, 1), (2, 2)):
        for name, value in checkpoint(calm[other].folder)["state_dict"].items():
            assert torch.equal(checkpoint(jobs[number].folder)["state_dict"][name], value)


class Interrupts(StackProgress):
    """Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(jobs=1, shown=False)
        self.steps = steps

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise KeyboardInterrupt


def test_an_interrupted_job_is_resumed_alone_to_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    configs = variants("trainer.max_epochs=6", "optimizer=adam", "scheduler=cosine", runs=RUNS[:2])
    with pytest.raises(KeyboardInterrupt):
        train_stacked(configs, tmp_path / "stacked", Interrupts(steps=8))  # within the third or fourth epoch
    for number, config in enumerate(configs):
        ours = tmp_path / "stacked" / str(number)
        assert state(ours)["state"] == "interrupted"
        assert 1 <= checkpoint(ours)["epoch"] < 5
        assert not (ours / "metrics.json").exists()
        train_alone(config, ours, monkeypatch)  # which finds last.ckpt
        whole = train_alone(config, tmp_path / "alone" / str(number), monkeypatch)
        assert furthest(checkpoint(ours), checkpoint(whole)) < 1e-5
        assert_same_content(read_json(ours / "metrics.json"), read_json(whole / "metrics.json"), 1e-5)


def test_checkpoints_are_written_while_the_stack_trains_so_that_a_killed_job_can_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(stacked_training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(stacked_training, "CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(stacked_training, "end_early", lambda *_: None)  # killed: nothing is written at the end
    configs = variants("trainer.max_epochs=6", runs=RUNS[:2])
    with pytest.raises(KeyboardInterrupt):
        train_stacked(configs, tmp_path, Interrupts(steps=8))
    for number in range(2):
        assert checkpoint(tmp_path / str(number))["epoch"] >= 1
        assert checkpoint(tmp_path / str(number), "best")["epoch"] <= checkpoint(tmp_path / str(number))["epoch"]


def test_a_fault_of_the_data_fails_every_job_of_the_stack_with_one_message(tmp_path):
    configs = variants("data.batch_size=16", runs=RUNS[:2])
    for config in configs:
        config.vectors.path = "missing.txt"
    jobs = train_stacked(configs, tmp_path)
    reasons = {state(job.folder)["reason"] for job in jobs}
    assert len(reasons) == 1
    assert "vectors.path=missing.txt: there is no such file" in reasons.pop()
