"""The whole path, from the command line to the run folder."""

import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from sklearn import metrics as sklearn_metrics

from safe_exp.network.safe_network import VARIANTS
from safe_exp.scoring.scores import FIGURES
from tests.commands import SMALL, environment, only_run, read_json, read_metrics, read_rows, run
from tests.data.folders import write_side_tables

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished run on the built-in data, and what it printed."""
    folder = tmp_path_factory.mktemp("train")
    return folder, run("train", *SMALL, cwd=folder)


def test_a_run_leaves_the_whole_run_folder(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    contents = {path.relative_to(only_run(folder)).as_posix() for path in only_run(folder).rglob("*")}
    assert contents >= {
        ".hydra/config.yaml", ".hydra/overrides.yaml", "status.json", "metrics.json", "predictions.csv",
        "checkpoints/best.ckpt", "checkpoints/last.ckpt", "artifacts/tokenizer.json", "artifacts/vectors.safetensors",
        "artifacts/data_manifest.json", "logs/run.log", "figures/loss_curves.png", "figures/similarity.png",
        "figures/confusion_matrix.png",
    }  # fmt: skip
    assert not [name for name in contents if "tmp" in name or "/." in name.removeprefix(".hydra")]
    status = read_json(only_run(folder) / "status.json")
    assert status["state"] == "finished"
    assert "safe_exp.train data.articles=60" in status["command"]


def test_the_terminal_shows_data_model_results_and_no_noise(finished):
    _, done = finished
    printed = done.stdout + done.stderr
    for expected in ("60 articles", "closed form", "γ = ", "run folder", "AUROC", "Everything is in"):
        assert expected in printed, expected
    for noise in ("Warning", "Traceback", "GPU available", "Tip:", "litlogger"):
        assert noise not in printed, noise


def test_metrics_hold_what_is_promised_and_agree_with_scikit_learn_on_the_predictions(finished):
    folder, _ = finished
    metrics = read_json(only_run(folder) / "metrics.json")
    assert metrics["stopped_by"] in ("converged", "max_epochs")
    assert metrics["epochs"] == 2
    assert metrics["seconds"] > 0
    rows = read_rows(only_run(folder) / "predictions.csv")
    assert list(rows[0]) == ["id", "split", "label", "probability", "similarity", "verdict"]
    for split in ("val", "test"):
        of_split = [row for row in rows if row["split"] == split]
        assert len(of_split) == metrics["data"][split]
        label = [int(row["label"]) for row in of_split]
        verdict = [int(row["verdict"]) for row in of_split]
        for scorer, score in (
            ("prediction", [float(row["probability"]) for row in of_split]),
            ("similarity", [1 - float(row["similarity"]) for row in of_split]),
        ):
            figures = metrics[split][scorer]
            assert set(figures) == set(FIGURES)
            assert figures["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(label, score), abs=1e-4)
            assert figures["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(label, score), abs=1e-4)
        assert metrics[split]["prediction"]["f1"] == pytest.approx(sklearn_metrics.f1_score(label, verdict), abs=1e-6)
        assert metrics[split]["loss_prediction"] == pytest.approx(
            sklearn_metrics.log_loss(label, [float(row["probability"]) for row in of_split]), abs=1e-4
        )


def test_evaluate_scores_another_folder_with_the_run_alone(finished, tmp_path):
    """The run folder is moved, and its own training data are out of reach."""
    folder, _ = finished
    moved = tmp_path / "moved"
    subprocess.run(["cp", "-r", str(only_run(folder)), str(moved)], check=True)
    data = next((folder / "data" / "synthetic").iterdir())
    done = run("evaluate", f"run={moved}", "data=fakenewsnet", f"data.root={data}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scored = only_run(tmp_path)
    assert read_json(scored / "metrics.json")["data"]["test"] == 60
    trained = len(read_json(moved / "artifacts" / "data_manifest.json")["split"]["train"])
    assert f"{trained} of the 60 articles have the ids of articles that this run was trained on" in done.stderr
    new = {row["id"]: row for row in read_rows(scored / "predictions.csv")}
    old = read_rows(moved / "predictions.csv")
    for row in old:
        assert float(new[row["id"]]["probability"]) == pytest.approx(float(row["probability"]), abs=2e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=nowhere"], r"run=nowhere: there is no such folder or file\. Give the folder of a finished run"),
        ([], r"run must be given, as in run=…"),
    ],
)
def test_evaluate_says_what_it_lacks(arguments, message, tmp_path):
    done = run("evaluate", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.alpha=-1"], r"model\.alpha=-1\.0: expected a number >= 0"),
        (["model.alpah=1"], r"model\.alpah: there is no such key\. Did you mean model\.alpha\?"),
        (["data.fold=3"], r"data\.fold=3 has no meaning without data\.folds"),
        (["vectors.path=nowhere.txt"], r"nowhere\.txt"),
        (["resume=nowhere"], r"resume=nowhere: there is no such folder"),
        (["trainer.precision=7"], r"Lightning refuses trainer"),
    ],
)
def test_a_user_s_mistake_is_one_message_and_a_failed_status(arguments, message, tmp_path):
    done = run("train", *SMALL, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    for status in tmp_path.glob("outputs/*/*/status.json"):
        assert read_json(status)["state"] == "failed"
        assert re.search(message, read_json(status)["reason"])


@pytest.mark.slow
def test_a_sweep_runs_every_job_in_its_own_folder(tmp_path):
    done = run("train", *SMALL, "-m", "model.alpha=0.2,0.6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = sorted(tmp_path.glob("multirun/*/*/*/metrics.json"))
    assert [job.parent.name for job in jobs] == ["0", "1"]
    assert read_json(jobs[0])["test"] != read_json(jobs[1])["test"]
    for name in ("tokenizer.json", "vectors.safetensors", "data_manifest.json"):  # alike, so on the disk once
        assert (jobs[0].parent / "artifacts" / name).samefile(jobs[1].parent / "artifacts" / name)


@pytest.mark.slow
def test_in_a_sweep_a_wrong_value_fails_its_own_job_alone(tmp_path):
    done = run("train", "-m", *SMALL, "model.alpha=0.4,-1,0.6", cwd=tmp_path)
    assert done.returncode == 1
    assert "model.alpha=-1.0: expected a number >= 0" in done.stderr
    states = [read_json(path)["state"] for path in sorted(tmp_path.glob("multirun/*/*/*/status.json"))]
    assert states == ["finished", "failed", "finished"]


def test_in_a_sweep_a_wrong_name_is_refused_before_the_first_job(tmp_path):
    done = run("train", "-m", *SMALL, "model.update=closed_form,by_hand", cwd=tmp_path)
    assert done.returncode == 1
    assert not list(tmp_path.glob("multirun/*/*/*/status.json"))


def read_weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def kill_when(run_folder_pattern: str, cwd: Path, arguments: list[str], how: int) -> Path:
    """Start a run and send it a signal as soon as its first checkpoint lies there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", *arguments], cwd=cwd, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(cwd.glob(run_folder_pattern)) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(timeout=60)
    return only_run(cwd)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "optimizer"), [(signal.SIGKILL, "adam"), (signal.SIGTERM, "sgd"), (signal.SIGINT, "adam")]
)
def test_a_stopped_run_resumes_to_the_same_weights_bit_for_bit(how, optimizer, tmp_path):
    long = [*SMALL, f"optimizer={optimizer}", "trainer.max_epochs=60", "callbacks.convergence.patience=0",
            "scheduler=cosine", "data.articles=200"]  # fmt: skip
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    assert run("train", *long, cwd=tmp_path / "whole").returncode == 0
    stopped = kill_when("outputs/*/*/checkpoints/last.ckpt", tmp_path / "stopped", long, how)
    expected_state = "running" if how == signal.SIGKILL else "interrupted"
    assert read_json(stopped / "status.json")["state"] == expected_state
    assert not (stopped / "metrics.json").exists()

    resumed = run("train", f"resume={stopped}", cwd=tmp_path)  # from another folder than it was started in
    assert resumed.returncode == 0, resumed.stderr
    assert only_run(tmp_path / "stopped") == stopped
    status = read_json(stopped / "status.json")
    assert (status["state"], status["resumed"]) == ("finished", 1)
    whole = only_run(tmp_path / "whole")
    reference, ours = read_weights(whole), read_weights(stopped)
    assert all(torch.equal(ours[name], reference[name]) for name in reference)
    assert read_metrics(stopped) == read_metrics(whole)


def test_resume_refuses_other_settings(finished, tmp_path):
    folder, _ = finished
    done = run("train", f"resume={only_run(folder)}", "model.alpha=0.3", cwd=tmp_path)
    assert done.returncode == 1
    assert "goes on with the run's own settings, so model.alpha=0.3 cannot be given" in done.stderr


def test_help_comes_in_under_a_second_without_torch():
    """Nothing heavy is imported. The time itself would depend on how busy the machine is."""
    check = (
        "import runpy, sys; sys.argv = ['train', '--help']; runpy.run_module('safe_exp.train', run_name='__main__');"
    )
    check += (
        "assert not {'torch', 'pytorch_lightning', 'wandb', 'matplotlib', 'sklearn', 'numpy', 'PIL', 'skimage', "
        "'pyarrow', 'transformers', 'dateutil', 'charset_normalizer'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model.alpha" in done.stdout


LISTS_IMPORTS = """
import sys
from safe_exp import train as command

command.main()
print("imported:", *sys.modules)
"""


def test_what_a_run_on_prepared_data_does_not_use_is_not_imported(tmp_path):
    settings = [*SMALL, "data.prepared=prepared", "logger=csv"]
    assert run("train", *settings, cwd=tmp_path).returncode == 0  # prepares the articles and splits them
    done = subprocess.run(
        [sys.executable, "-c", LISTS_IMPORTS, *settings, "figures=false"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("imported: ")]
    imported = set(line.split()[1:])
    assert "pytorch_lightning" in imported
    unused = {"wandb", "matplotlib", "transformers", "datasets", "pandas", "skimage", "scipy.signal", "sklearn.cluster"}
    unused |= {
        "torch._dynamo.eval_frame",
        "torch._inductor",
        "sklearn",
        "scipy.stats",
        "datasketch",
        "hydra_plugins.optuna",
    }
    assert not unused & imported


@pytest.mark.slow
def test_published_sides_are_trained_on_scored_and_resumed_and_baselines_take_the_same(tmp_path):
    tables = write_side_tables(tmp_path, train=40, val=16, test=20)
    given = (
        "data=table",
        "data.root=train.csv",
        "data.val_root=val.csv",
        "data.test_root=test.csv",
        "data.split=given",
    )
    done = run("train", *SMALL[1:], *given, "hydra.run.dir=net", "logger=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "as given by data.val_root and data.test_root" in done.stdout + done.stderr
    fit = run("baseline", *given, "hydra.run.dir=tfidf", cwd=tmp_path)
    assert fit.returncode == 0, fit.stderr
    expected = [(side, row["id"]) for side in ("val", "test") for row in read_rows(tables[side])]
    for folder in ("net", "tfidf"):
        assert [(row["split"], row["id"]) for row in read_rows(tmp_path / folder / "predictions.csv")] == expected
    more = run("train", "resume=net", "trainer.max_epochs=3", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert read_json(tmp_path / "net" / "metrics.json")["epochs"] == 3
    scored = run("evaluate", "run=net", *given, "hydra.run.dir=scored", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert "data.split=given: the 56 articles of other sides than test are not scored" in scored.stderr
    before = read_json(tmp_path / "net" / "metrics.json")["test"]["prediction"]
    assert read_json(tmp_path / "scored" / "metrics.json")["test"]["prediction"] == pytest.approx(before, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [*VARIANTS, "released"])
def test_every_variant_runs_to_the_end(variant, tmp_path):
    done = run("train", *SMALL, f"model={variant}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = read_json(only_run(tmp_path) / "metrics.json")
    assert ("similarity" in metrics["test"]) == (variant not in ("text_only", "visual_only"))
    rows = read_rows(only_run(tmp_path) / "predictions.csv")
    assert all((row["similarity"] == "") == (variant in ("text_only", "visual_only")) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_built_in_data_are_learned(seed, tmp_path):
    done = run("train", f"seed={seed}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_json(only_run(tmp_path) / "metrics.json")["test"]["prediction"]["auroc"] >= 0.90


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real articles, which are not part of the project")
def test_the_main_job_runs_on_real_articles_with_real_vectors(tmp_path):
    vectors = SHARED / "vectors" / "glove.twitter.27B.25d.subset.txt"
    done = run(
        "train", "data=fakenewsnet", f"data.root={SHARED / 'politifact78'}", f"vectors.path={vectors}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    metrics = read_json(only_run(tmp_path) / "metrics.json")
    assert sum(metrics["data"][split] for split in ("train", "val", "test")) == 78


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), ("model.article_weights=source", "model.label_smoothing=0.1")])
def test_two_processes_train_the_weights_of_one(overrides, tmp_path):
    weights = {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        processes = "trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={devices}"
        done = run("train", *SMALL, *overrides, *processes, cwd=folder)
        assert done.returncode == 0, done.stderr
        weights[devices] = read_weights(only_run(folder))
    for name in weights[1]:
        torch.testing.assert_close(weights[2][name], weights[1][name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.slow
def test_every_job_of_a_sweep_has_its_own_offline_run_in_wandb(tmp_path):
    done = run("train", "-m", *SMALL, "model.alpha=0.2,0.6", "model.filter_sizes=[3,4],[3,4,5]", cwd=tmp_path,
               WANDB_MODE="offline")  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = [sorted(job.parent.glob("wandb/offline-run-*")) for job in tmp_path.glob("multirun/*/*/*/metrics.json")]
    assert [len(of_job) for of_job in runs] == [1, 1, 1, 1]
    assert len({of_job[0].name.rpartition("-")[2] for of_job in runs}) == 4


@pytest.mark.slow
def test_a_built_wheel_carries_its_configs_and_runs_anywhere_with_yaml_of_one_s_own(tmp_path):
    checkout = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(checkout)],
                   check=True, timeout=300)  # fmt: skip
    installed = tmp_path / "installed"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    own = tmp_path / "elsewhere" / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nseed: 7\n")
    done = run("train", *SMALL, "experiment=mine", cwd=tmp_path / "elsewhere", PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert "\nseed: 7\n" in (only_run(tmp_path / "elsewhere") / ".hydra" / "config.yaml").read_text(encoding="utf-8")
    assert read_json(only_run(tmp_path / "elsewhere") / "status.json")["git_commit"] is None  # not the checkout's code


@pytest.mark.slow
def test_a_run_of_the_released_architecture_gets_the_same_scores_from_evaluate_and_predict(tmp_path):
    made = run("train", *SMALL, "model=released", "model.num_filters=4", "trainer.max_epochs=1", "logger=none",
               "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    assert made.returncode == 0, made.stderr
    done = run("evaluate", "run=run", "data.articles=60", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (scored,) = tmp_path.glob("outputs/*/*/predictions.csv")
    asked = run("predict", "run=run", "data=synthetic", "data.articles=60", cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    answers = {answer["id"]: answer for answer in map(json.loads, asked.stdout.splitlines())}
    rows = read_rows(scored)
    assert len(rows) == len(answers) == 60
    for row in rows:
        assert answers[row["id"]]["probability"] == pytest.approx(float(row["probability"]), abs=2e-6)
        assert answers[row["id"]]["similarity"] == pytest.approx(float(row["similarity"]), abs=2e-6)


OWN = """
import torch
from pytorch_lightning.callbacks import Callback


class Own(Callback):
    def on_fit_start(self, trainer, pl_module):
        print("a callback of the folder")


class OwnSgd(torch.optim.SGD):
    pass
"""


@pytest.mark.slow
def test_classes_of_the_user_s_folder_train_and_nothing_that_uses_the_run_imports_them(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = run(
        "train", *SMALL, "logger=none", "callbacks.extra.mine._target_=own.Own", "optimizer=any",
        "optimizer._target_=own.OwnSgd", "model.gamma=0.1", "extras.print_config=true", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a callback of the folder") == 1
    config = yaml.safe_load(done.stdout[done.stdout.index("model:\n") : done.stdout.index("a callback of the folder")])
    assert config["callbacks"]["extra"] == {"mine": {"_target_": "own.Own"}}
    assert config["optimizer"] == {"_target_": "own.OwnSgd", "lr": 0.1}
    folder = only_run(tmp_path)
    (tmp_path / "own.py").write_text("raise SystemExit(7)")
    asked = run("predict", f"run={folder}", "text=a senator in a boat", "caption=a boat", cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    root = next((tmp_path / "data" / "synthetic").iterdir())
    scored = run("evaluate", f"run={folder}", f"data.root={root}", "data=fakenewsnet", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
