"""A data folder that has vanished, and two runs in one folder: one message each, and nothing is lost."""

import shutil
import time
from pathlib import Path

import pytest

from tests.commands import read_json
from tests.data.folders import write_folder
from tests.faults import forked
from tests.faults.test_kills import RUN, differences
from tests.faults.whole import broken_files

ARTICLES = ("data=fakenewsnet", "data.root=articles", "trainer.max_epochs=2", "data.workers=1", "data.batch_size=8",
            "hydra.run.dir=run")  # fmt: skip


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_articles_that_vanished_are_missed_by_name_and_nothing_else_is_lost(tmp_path):
    root = write_folder(tmp_path / "articles", per_class=15)
    assert forked.run("prepare", *ARTICLES[:2], "data.workers=1", cwd=tmp_path, watch=False).code == 0
    root.rename(tmp_path / "away")
    done = forked.run("train", *ARTICLES, cwd=tmp_path, watch=False)
    assert done.code == 1
    assert f"data.root=articles does not exist (looked at {root})" in done.printed
    assert "Traceback" not in done.printed
    assert not list((tmp_path / "run").glob("checkpoints/*"))

    (tmp_path / "away").rename(root)
    done = forked.run("train", "resume=run", cwd=tmp_path, kill=forked.Kill(step=3))
    assert done.code == -9
    shutil.move(root, tmp_path / "away")
    before = snapshot(tmp_path / "run" / "checkpoints")
    assert before
    done = forked.run("train", "resume=run", cwd=tmp_path, watch=False)
    assert done.code == 1
    assert f"does not exist (looked at {root})" in done.printed
    assert snapshot(tmp_path / "run" / "checkpoints") == before
    (tmp_path / "away").rename(root)
    done = forked.run("train", "resume=run", cwd=tmp_path, watch=False)
    assert done.code == 0, done.printed

    # A finished run needs none of them to score others.
    write_folder(tmp_path / "others", per_class=3)
    shutil.rmtree(root)
    shutil.rmtree(tmp_path / "data")
    scored = forked.run("evaluate", "run=run", "data=fakenewsnet", "data.root=others", cwd=tmp_path, watch=False)
    assert scored.code == 0, scored.printed
    scored = forked.run("evaluate", "run=run", "data=fakenewsnet", "data.root=articles", cwd=tmp_path, watch=False)
    assert scored.code == 1
    assert "data.root=articles does not exist" in scored.printed


@pytest.mark.slow
def test_a_second_run_in_a_folder_is_refused_and_the_first_one_is_undisturbed(tmp_path):
    (tmp_path / "alone").mkdir()
    assert forked.run("train", *RUN, cwd=tmp_path / "alone", watch=False).code == 0
    together = tmp_path / "together"
    together.mkdir()
    first = forked.start("train", *RUN, cwd=together, watch=False)
    deadline = time.monotonic() + 60
    while not (together / "run" / "status.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    hydra = snapshot(together / "run" / ".hydra")
    refused = [
        forked.run("train", *RUN, "model.alpha=0.9", cwd=together, watch=False),
        forked.run("train", "resume=run", cwd=together, watch=False),
    ]
    first.join()
    assert forked.ended(first).code == 0, forked.ended(first).printed
    messages = "a run lies in this folder already", "another process is working in this run folder"
    for done, message in zip(refused, messages, strict=True):
        assert done.code == 1
        assert message in done.printed, done.printed
        assert "Traceback" not in done.printed
    now = snapshot(together / "run" / ".hydra")
    assert {name: now[name] for name in hydra} == hydra  # what resume= would go by
    assert differences(together, tmp_path / "alone") == []
    assert broken_files(together) == {}

    # Nor is a finished run written over, by another one or by its own evaluation.
    before = {n: c for n, c in snapshot(together / "run").items() if not n.startswith(".hydra/resumed")}
    for command in (("train", *RUN, "model.alpha=0.9"), ("evaluate", "run=run", "hydra.run.dir=run")):
        done = forked.run(*command, cwd=together, watch=False)
        assert done.code == 1
        assert "python -m safe_exp.train resume=run" in done.printed
    after = snapshot(together / "run")
    assert {name: after[name] for name in before} == before
    assert read_json(together / "run" / "status.json")["state"] == "finished"
