"""Sweep folders with known content, as a Hydra multirun of train leaves them, made without training."""

import csv
import json
import os
import socket
from pathlib import Path

import yaml

from safe_exp.scoring.scores import FIGURES

HYDRA = {"sweeper": {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}}
ARTICLES = (  # (id, label, probability of fake, similarity)
    ("fake/a1", 1, 0.9, 0.2), ("fake/a2", 1, 0.7, 0.4), ("fake/a3", 1, 0.4, 0.7),
    ("real/b1", 0, 0.1, 0.9), ("real/b2", 0, 0.3, 0.8), ("real/b3", 0, 0.6, 0.5),
)  # fmt: skip


def write_multirun(sweep: Path, *overrides: str, **sweeper) -> Path:
    """Write DIR/multirun.yaml of a command line with these overrides."""
    sweep.mkdir(parents=True, exist_ok=True)
    settings = {"sweeper": HYDRA["sweeper"] | sweeper, "overrides": {"task": list(overrides)}}
    write_yaml(sweep / "multirun.yaml", {"hydra": settings})
    return sweep


def split_figures(similarity: bool = True, loss: float = 0.5, **figures: float | None) -> dict:
    """Make a split's entry in metrics.json, with 0.5 for each figure that is not given."""
    scorer = dict.fromkeys(FIGURES, 0.5)
    split = {"loss": loss, "loss_prediction": loss, "loss_similarity": loss, "prediction": scorer | figures}
    return split | ({"similarity": dict(scorer)} if similarity else {})


def write_job(
    sweep: Path,
    number: int,
    *overrides: str,
    state: str = "finished",
    reason: str | None = None,
    val_loss: float = 0.5,
    similarity: bool = True,
    root: Path | None = None,
    articles=ARTICLES,
    site: str = "",
    losses=(0.7, 0.5),
    **test: float | None,
) -> Path:
    """Write DIR/<number>/, with metrics.json, predictions.csv, logs/ and artifacts/ if the job finished.

    Args:
        val_loss: its val/loss_prediction, by which the jobs of a sweep are compared.
        test: figures of the verdict on the test articles.
    """
    job = sweep / str(number)
    for folder in (".hydra", "logs/version_0", "artifacts", "checkpoints"):
        (job / folder).mkdir(parents=True, exist_ok=True)
    write_yaml(job / ".hydra" / "overrides.yaml", list(overrides))
    write_yaml(job / ".hydra" / "config.yaml", _config(overrides, root))
    write_yaml(
        job / ".hydra" / "hydra.yaml",
        {"hydra": {"sweep": {"dir": "multirun/${now:%Y}/x"}, "runtime": {"cwd": str(sweep), "output_dir": str(job)}}},
    )
    status = {"state": state, "reason": reason, "host": socket.gethostname(), "pid": os.getpid(), "started": "today"}
    (job / "status.json").write_text(json.dumps(status), encoding="utf-8")
    if state != "finished":
        return job
    metrics = {
        "val": split_figures(similarity, val_loss), "test": split_figures(similarity, **test), "epochs": len(losses),
        "stopped_by": "max_epochs", "seconds": 1.5, "data": {"train": 24, "val": 6, "test": 6, "fingerprint": "f"},
    }  # fmt: skip
    (job / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    _write_predictions(job, articles, similarity)
    _write_log(job, losses)
    fake = sum(label for _, label, _, _ in articles)
    counts = {"articles": len(articles), "fake": fake, "real": len(articles) - fake}
    manifest = {"counts": {"test": counts}, "split": {"test": [f"{site}{article[0]}" for article in articles]}}
    (job / "artifacts" / "data_manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return job


def write_baseline(sweep: Path, number: int, name: str, *overrides: str, articles=ARTICLES, **test) -> Path:
    """Write DIR/<number>/ as a finished job of safe_exp.baseline leaves it."""
    job = write_job(sweep, number, *overrides, similarity=False, articles=articles, **test)
    write_yaml(job / ".hydra" / "overrides.yaml", [f"baseline={name}", *overrides])
    write_yaml(job / ".hydra" / "config.yaml", _config(overrides, None) | {"baseline": {"name": name}})
    metrics = json.loads((job / "metrics.json").read_text()) | {"baseline": name}
    del metrics["epochs"], metrics["stopped_by"]
    (job / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return job


def write_yaml(path: Path, content) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML, and faster to write


def _config(overrides: tuple[str, ...], root: Path | None) -> dict:
    config = {
        "model": {}, "data": {"name": "fakenewsnet", "root": str(root)}, "captioner": {"file_name": "caption.txt"},
        "callbacks": {"monitor": "val/loss_prediction", "mode": "min"}, "logger": {"project": "safe_exp"},
    }  # fmt: skip
    for override in overrides:
        key, _, value = override.partition("=")
        section, _, name = key.partition(".")
        if name:
            config.setdefault(section, {})[name] = yaml.safe_load(value)
        elif section != "model":
            config[section] = yaml.safe_load(value)
    return config


def _write_predictions(job: Path, articles, similarity: bool) -> None:
    with open(job / "predictions.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "split", "label", "probability", "similarity", "verdict"])
        writer.writerow(["fake/of_validation", "val", 1, 0.5, 0.01, 0])
        for article, label, probability, alike in articles:
            writer.writerow([article, "test", label, probability, alike if similarity else "", int(probability > 0.5)])


def _write_log(job: Path, losses) -> None:
    """Write a log as Lightning's CSVLogger: validation and training in separate rows, the best checkpoint last."""
    with open(job / "logs" / "version_0" / "metrics.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["epoch", "step", "train/loss", "val/loss_prediction", "test/loss"])
        for epoch, loss in enumerate(losses):
            writer.writerow([epoch, epoch, "", loss + 0.1, ""])
            writer.writerow([epoch, epoch, loss, "", ""])
        writer.writerow([len(losses), len(losses), "", 9.0, ""])
        writer.writerow([len(losses), len(losses), "", "", 9.0])
