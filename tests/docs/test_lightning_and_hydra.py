"""The rows of docs/lightning-and-hydra.md: each is run as printed, on few articles, and does what it says."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.sweep.gpus import count_jobs_at_a_time
from tests.commands import SMALL, read_json, read_rows, run
from tests.docs.pages import TOP
from tests.made import compose_config

PAGE = (TOP / "docs" / "lightning-and-hydra.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([^|]+) \| `([^`]+)` \|", PAGE, re.MULTILINE))
TITLED = re.compile(r'^```(?:python|yaml) title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
FILES = {
    name: content
    for page in ("training-options.md", "loggers.md")
    for name, content in TITLED.findall((TOP / "docs" / page).read_text(encoding="utf-8"))
}


def config(folder: Path) -> dict:
    return yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))


def logged(folder: Path, name: str) -> list[float]:
    """Read the values of a column of the CSV log, without empty cells."""
    (path,) = folder.glob("logs/version_0/metrics.csv")
    return [float(row[name]) for row in read_rows(path) if row.get(name)]


def files(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


def gammas(folder: Path) -> list[float]:
    return logged(folder, "train/gamma")


CHECKS = {  # for each row that is one run: whether the run, in its folder, did what the row says
    "a callback of your own": lambda run: len((run.parents[2] / "losses.txt").read_text().splitlines()) == 2,
    "a callback of Lightning": lambda run: logged(run, "lr-SGD"),
    "the three best checkpoints": lambda run: files(run, "checkpoints/top/*.ckpt") == 2,  # of two epochs
    "averaged weights (instead of SWA)": lambda run: read_json(run / "metrics.json")["selection"]["rule"] == "average",
    "early stopping on AUROC": lambda run: config(run)["callbacks"]["monitor"] == "val/auroc",
    "AdamW": lambda run: config(run)["optimizer"]["_target_"] == "torch.optim.AdamW",
    "another optimiser of PyTorch": lambda run: config(run)["optimizer"]["alpha"] == 0.9,
    "OneCycleLR": lambda run: gammas(run)[-1] < 0.01 * gammas(run)[0],  # ends at a 10,000th of its height
    "a schedule that moves after each batch": lambda run: gammas(run) == pytest.approx([0.15, 0.075]),
    "bf16": lambda run: config(run)["trainer"]["precision"] == "bf16-mixed",
    "gradient clipping": lambda run: config(run)["trainer"]["gradient_clip_val"] == 1.0,
    "class weights": lambda run: config(run)["model"]["article_weights"] == "class",
    "several devices for one run": lambda run: read_json(run / "metrics.json")["epochs"] == 2,
    "a profile": lambda run: "optimizer_step" in (run / "profile" / "fit-simple.txt").read_text(),
    "one batch of each split, to try all code": lambda run: read_json(run / "metrics.json")["epochs"] == 1,
    "to overfit one batch": lambda run: config(run)["trainer"]["overfit_batches"] == 1,
    "any argument of the Trainer": lambda run: config(run)["trainer"]["max_time"] == "00:01:00:00",
    "TensorBoard": lambda run: files(run, "tensorboard/**/events.out.tfevents.*"),
    "MLflow": lambda run: files(run, "mlruns/*/*/meta.yaml"),
    "a logger of your own": lambda run: (run / "lines.txt").read_text(),
    "W&B tags": lambda run: (
        config(run)["logger"]["tags"] == ["pilot", "recovery"] and files(run, "wandb/offline-run-*")
    ),
    "no logs": lambda run: not files(run, "logs/version_*"),
    "the config on the screen": lambda run: True,  # see the test
    "outputs elsewhere": lambda run: run.parts[-2:] == ("runs", "first"),
    "options of your own": lambda run: config(run)["model"]["variant"] == "text_only",
}
SWEEPS = [name for name, added in ROWS.items() if added.startswith("-m ")]
FRESH = {"W&B tags": {"WANDB_MODE": "offline"}, "several devices for one run": {"OMP_NUM_THREADS": "1"}}


def test_every_row_has_a_check():
    assert len(ROWS) > 25
    assert set(ROWS) == {*CHECKS, *SWEEPS}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the pages name, and articles."""
    folder = tmp_path_factory.mktemp("place")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "my_conf" / "experiment").mkdir()
    (folder / "my_conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: text_only\n", encoding="utf-8"
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("wanted", CHECKS)
def test_a_run_does_what_its_row_says(wanted, place):
    arguments = [argument for argument in SMALL if not (ROWS[wanted].startswith("debug=") and "max_epochs" in argument)]
    if "logger=" not in ROWS[wanted] and "debug=" not in ROWS[wanted]:
        arguments.append("logger=csv")
    before = set(place.glob("outputs/*/*"))
    done = run("train", *shlex.split(ROWS[wanted]), *arguments, cwd=place, **FRESH.get(wanted, {}))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = set(place.glob("outputs/*/*")) - before or {place / "runs" / "first"}
    assert read_json(folder / "status.json")["state"] == "finished"
    assert CHECKS[wanted](folder)
    assert ("model:\n" in done.stdout) == (wanted == "the config on the screen")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "jobs"), [("k folds, each trained once more on validation too", 5), ("small jobs trained together", 2)]
)
def test_a_sweep_does_what_its_row_says(wanted, jobs, place):
    before = set(place.glob("multirun/*/*"))
    done = run("train", *shlex.split(ROWS[wanted]), *SMALL, "logger=none", cwd=place)
    assert done.returncode == 0, done.stderr
    (folder,) = set(place.glob("multirun/*/*")) - before
    metrics = [read_json(path) for path in folder.glob("*/metrics.json")]
    assert len(metrics) == jobs
    assert all(("refit" in found) == ("refit" in ROWS[wanted]) for found in metrics)
    assert ("Stacked: 2 jobs" in done.stdout + done.stderr) == ("stacked" in ROWS[wanted])


def compose_job(wanted: str):
    """Compose a job of a row's sweep, with Hydra's own section."""
    compose_config()  # the schemas and resolvers
    overrides = [argument for argument in shlex.split(ROWS[wanted])[1:] if not argument.startswith("seed=")]
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return compose("train", overrides=overrides, return_hydra_config=True)


@pytest.mark.parametrize(("wanted", "at_a_time"), [("one job on each GPU", 4), ("four jobs on each GPU", 16)])
def test_jobs_share_the_gpus_as_their_row_says(wanted, at_a_time, monkeypatch):
    monkeypatch.setattr("safe_exp.runs.devices.count_devices", lambda: 4)
    job = compose_job(wanted)
    assert count_jobs_at_a_time([job], job.hydra.launcher.jobs_per_gpu) == at_a_time


def test_a_job_on_slurm_asks_for_a_gpu():
    job = compose_job("a GPU for each job on SLURM")
    asked = job.hydra.launcher  # tests/slurm/test_request.py reads the batch script
    assert (asked.partition, asked.gpus_per_node, asked.tasks_per_node) == ("gpu", 1, 1)
