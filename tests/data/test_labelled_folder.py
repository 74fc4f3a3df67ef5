"""Articles that a stored run was trained on are found again, by their words and by ids that say something."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from safe_exp.config import VectorsConfig
from safe_exp.data.artifacts import TRAINING_TEXTS, Artifacts
from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.labelled_folder import encode_folder
from safe_exp.inference.evaluation import describe_trained_on
from safe_exp.system.errors import UserError
from tests.data.folders import PREPARED
from tests.made import compose_config

CAPTIONER = FileCaptionerConfig("file", "caption.txt")


def draw_rows(seed, count=40):
    rng = np.random.default_rng(seed)
    draw = lambda length: " ".join("".join(rng.choice(list("abcdefghij"), 5)) for _ in range(length))  # noqa: E731
    return [
        {"title": draw(5), "text": draw(40), "label": ("fake", "real")[n % 2], "caption": draw(6)} for n in range(count)
    ]


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def table(path):
    data = compose_config("data=table", "data.root=unused", "data.min_frequency=1").data
    return replace(data, root=str(path), prepared=PREPARED)


def train_on(path, folder):
    module = FakeNewsNetDataModule(table(path), CAPTIONER, VectorsConfig(path=None, dim=8, seed=0), 0)
    module.setup("fit")
    module.save_artifacts(folder)
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's artifacts, of a table without ids."""
    folder = tmp_path_factory.mktemp("trained")
    train_on(write_table(folder / "a.csv", draw_rows(0)), folder / "artifacts")
    return folder / "artifacts"


def seen(path, rows, artifacts):
    return encode_folder(table(write_table(path, rows)), [artifacts], ["text", "visual"])


def test_other_articles_whose_ids_the_reader_made_up_are_not_warned_of(trained, tmp_path):
    for artifacts in (Artifacts.load(trained), replace(Artifacts.load(trained), training_texts=None)):
        scored = seen(tmp_path / "b.csv", draw_rows(1), artifacts)
        assert scored.trained_on == ([], [])
        assert describe_trained_on(scored) is None


def test_the_very_articles_of_the_training_are_known_by_their_words_under_other_ids(trained, tmp_path):
    artifacts = Artifacts.load(trained)
    rows = [{"id": f"other {n}", **row} for n, row in enumerate(draw_rows(0))]
    scored = seen(tmp_path / "renamed.csv", rows, artifacts)
    train = [f"other {int(re.search(r'[0-9]+', name)[0]) - 1}" for name in artifacts.manifest["split"]["train"]]
    assert sorted(scored.trained_on.by_words) == sorted(train)
    assert scored.manifest()["trained_on"] == {"by_id": [], "by_words": scored.trained_on.by_words}
    assert describe_trained_on(scored).startswith(
        f"{len(train)} of the 40 articles have the words, or nearly the words, of articles that this run was trained on"
    )


def test_edited_articles_are_known_and_rewritten_ones_are_not(trained, tmp_path):
    rows = draw_rows(0)
    for number, row in enumerate(rows):
        cut = row["text"].split()
        row["text"] = " ".join(cut[:-6] if number % 2 else [cut[k] + "x" * (k % 2) for k in range(40)])
    found = seen(tmp_path / "edited.csv", rows, Artifacts.load(trained)).trained_on.by_words
    numbers = [int(name.split()[1]) for name in found]
    assert numbers
    assert {n % 2 for n in numbers} == {0}  # row 2, 4, …: those that lost their end; every second word is too many


def test_ids_count_where_the_words_agree_and_alone_for_an_older_run(tmp_path):
    named = [{"id": n, **row} for n, row in enumerate(draw_rows(2))]
    train_on(write_table(tmp_path / "a.csv", named), tmp_path / "artifacts")
    artifacts = Artifacts.load(tmp_path / "artifacts")
    count = len(artifacts.manifest["split"]["train"])
    scored = seen(tmp_path / "same.csv", named, artifacts)
    assert (len(scored.trained_on.by_id), scored.trained_on.by_words) == (count, [])
    assert describe_trained_on(scored).startswith(
        f"{count} of the 40 articles have the ids of articles that this run was trained on; "
    )
    numbered = [{"id": n, **row} for n, row in enumerate(draw_rows(3))]  # another table that counts from 0
    assert seen(tmp_path / "b.csv", numbered, artifacts).trained_on == ([], [])
    older = replace(artifacts, training_texts=None)
    assert len(seen(tmp_path / "b.csv", numbered, older).trained_on.by_id) == count


def test_a_damaged_file_of_training_texts_is_refused_and_a_missing_one_of_an_older_run_is_not(tmp_path):
    train_on(write_table(tmp_path / "a.csv", draw_rows(4)), tmp_path / "artifacts")
    path = tmp_path / "artifacts" / TRAINING_TEXTS
    content = bytearray(path.read_bytes())
    assert len(content) < 144 * 40 + 200  # 144 bytes an article
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"training_texts\.safetensors is not as it was written"):
        Artifacts.load(tmp_path / "artifacts")
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        Artifacts.load(tmp_path / "artifacts")
