"""A sweep's folder as train leaves it, with jobs of random weights, made in a tenth of a second each."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from safe_exp.system.files import read_sealed_json, write_sealed_json
from tests.made_run import WORDS, write_run

FOLDS = ({"test": ["a", "b"]}, {"test": ["c", "d"]}, {"test": ["e", "f"]})  # the articles a to f, in three folds
FIGURES = {"prediction": {}, "articles": {"majority_rate": 0.5}}


def write_job(
    sweep: Path,
    number: int,
    *overrides: str,
    named: tuple[str, ...] = (),
    settings: dict | None = None,
    split: dict | None = None,
    predictions: Sequence[tuple] = (),
    state: str = "finished",
    **run,
) -> Path:
    """Write one job.

    Args:
        overrides: of the model and the captioner.
        named: overrides as the job lists its own.
        settings: replace those of its data.
        split: ids by side; the rest of the articles a to f are trained on.
        predictions: see `write_predictions`.
        run: seed and words, see `write_run`.
    """
    folder = write_run(sweep / str(number), *overrides, **run)
    path = folder / "artifacts" / "data_manifest.json"
    manifest = read_sealed_json(path)[0]
    sides = {"train": [], "val": [], "test": [], **(split or {})}
    sides["train"] = [name for name in "abcdef" if name not in sides["val"] + sides["test"]]
    manifest |= {"prepared": {"fingerprint": "f"}, "split": sides, "settings": manifest["settings"] | (settings or {})}
    write_sealed_json(path, manifest)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(list(named)))
    (folder / "status.json").write_text(json.dumps({"state": state, "reason": "out of memory"}))
    (folder / "metrics.json").write_text(json.dumps({"val": FIGURES, "test": FIGURES, "epochs": 1}))
    write_predictions(folder, predictions)
    return folder


def write_predictions(folder: Path, predictions: Sequence[tuple]) -> None:
    """Write predictions.csv of rows (id, split, label, probability, similarity)."""
    with open(folder / "predictions.csv", "w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(["id", "split", "label", "probability", "similarity", "verdict"])
        rows.writerows([*row, 0] for row in predictions)


def write_sweep(sweep: Path, *overrides: str) -> Path:
    """Write three jobs, folds whose vocabularies and codebooks differ."""
    (sweep / "multirun.yaml").parent.mkdir(parents=True, exist_ok=True)
    (sweep / "multirun.yaml").write_text("hydra: {}")
    for number, split in enumerate(FOLDS):
        words = WORDS[number:] + WORDS[:number] + [f"own{number}"]
        predictions = [
            (name, "test", index % 2, (0.3, 0.8, 0.6)[number] - 0.2 * index, 0.5 + 0.1 * index)
            for index, name in enumerate(split["test"])
        ]
        write_job(
            sweep, number, *overrides, named=("data.folds=3", f"data.fold={number}"), split=split,
            predictions=predictions, seed=number, words=words,
        )  # fmt: skip
    return sweep
