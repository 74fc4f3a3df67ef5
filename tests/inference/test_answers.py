"""Answers of a run that reads vectors of patches, from its training to its bundle."""

import io
import json
import sys
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, plain_config, typed_config
from safe_exp.inference.answers import answer_all
from safe_exp.inference.evaluation import evaluate
from safe_exp.runs.bundle import write_bundle
from safe_exp.runs.open_run import open_run
from safe_exp.system.errors import UserError
from tests.commands import read_rows
from tests.data.captioners.pictures import save_vision_model
from tests.data.picture_tables import write_table
from tests.made import compose_config

MODULE = "answers_of_a_test"
SOURCE = """
import numpy as np

def colours(images, side=2):
    return np.stack([np.asarray(image.resize((side, side))).reshape(side * side, 3) / 255 for image in images])
"""
CALLABLE = [f"captioner._target_={MODULE}.colours", "captioner.arguments={side: 3}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with the runs `vit`, on a vision model, and `mine`, on a callable, and the table of their articles."""
    from safe_exp.training.run import train

    pytest.importorskip("transformers", reason="transformers is not installed (extra: transformer)")
    folder = tmp_path_factory.mktemp("answers")
    (folder / f"{MODULE}.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    save_vision_model(folder / "model")
    path = write_table(folder / "t.parquet", [[number, number + 50] for number in range(30)])
    for name, captioner in (("vit", [f"captioner.model={folder / 'model'}"]), ("mine", CALLABLE)):
        config = compose_config(
            "data=table", f"data.root={path}", f"data.prepared={folder / 'prepared'}", "data.max_visual_tokens=18",
            "captioner=patches", *captioner, "trainer.max_epochs=1", "model.num_filters=3", "model.feature_dim=4",
            "logger=none",
        )  # fmt: skip
        (folder / name / ".hydra").mkdir(parents=True)
        OmegaConf.save({"model": plain_config(config.model)}, folder / name / ".hydra" / "config.yaml")
        OmegaConf.save(
            {"hydra": {"mode": "RUN", "overrides": {"task": ["made"]}}}, folder / name / ".hydra" / "hydra.yaml"
        )
        train(config, folder / name)
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop(MODULE, None)


def config(command, run, folder, *overrides):
    register_schemas()
    data = ["data=table", f"data.root={folder / 't.parquet'}", f"data.prepared={folder / 'prepared'}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return typed_config(compose(command, overrides=[f"run={run}", *data, *overrides]))


def ask(run, folder, *overrides):
    output = io.BytesIO()
    answer_all(config("predict", run, folder, *overrides), io.BufferedReader(io.BytesIO()), output)
    return {answer["id"]: answer for answer in map(json.loads, output.getvalue().decode().splitlines())}


@pytest.mark.parametrize(("name", "named"), [("vit", []), ("mine", CALLABLE)])
def test_a_run_answers_as_it_scored_and_its_bundle_answers_the_same(trained, tmp_path, name, named):
    answers = ask(trained / name, trained, *named)
    scored = read_rows(trained / name / "predictions.csv")
    assert len(scored) > 5
    for row in scored:
        assert answers[row["id"]]["probability"] == pytest.approx(float(row["probability"]), abs=2e-6)
    write_bundle(open_run(trained / name), tmp_path / "run.safetensors")
    assert ask(tmp_path / "run.safetensors", trained, *named) == answers


def test_evaluate_scores_with_the_run_s_own_patches(trained, tmp_path):
    evaluate(config("evaluate", trained / "mine", trained, *CALLABLE), tmp_path)
    found = {row["id"]: float(row["probability"]) for row in read_rows(tmp_path / "predictions.csv")}
    for row in read_rows(trained / "mine" / "predictions.csv"):
        assert found[row["id"]] == pytest.approx(float(row["probability"]), abs=2e-6)


def test_an_explanation_adds_up_and_outlines_the_patches_of_each_picture(trained, tmp_path):
    answer = ask(trained / "mine", trained, *CALLABLE, f"explain_to={tmp_path}", "phrases=99")["a3"]
    logit = answer["explanation"]["logit"]
    parts = [phrase["contribution"] for side in ("text", "image") for phrase in logit[side]["phrases"]]
    assert logit["value"] == pytest.approx(logit["constant"] + sum(parts), abs=1e-9)
    patches = [patch for phrase in logit["image"]["phrases"] for patch in phrase["patches"]]
    assert {patch["grid"] for patch in patches} == {3}
    assert {patch["image"] for patch in patches} <= {0, 1}
    assert Image.open(answer["explanation"]["picture"]).size == (448, 2 * (448 + 48))


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_callable_that_the_user_does_not_name_is_not_imported(trained, tmp_path, command, monkeypatch):
    write_bundle(open_run(trained / "mine"), tmp_path / "run.safetensors")
    monkeypatch.setitem(sys.modules, MODULE, None)  # an import would fail in another way
    for run in (trained / "mine", tmp_path / "run.safetensors"):
        cfg = config(command, run, trained)
        refusal = rf"names is run by itself.*captioner\._target_={MODULE}\.colours 'captioner\.arguments=\{{side: 3\}}'"
        with pytest.raises(UserError, match=refusal):
            evaluate(cfg, tmp_path) if command == "evaluate" else answer_all(cfg, io.BufferedReader(io.BytesIO()), None)


def test_a_model_that_has_moved_is_named_and_another_one_refused(trained, tmp_path):
    expected = ask(trained / "vit", trained)
    moved = (trained / "model").rename(trained / "moved")
    try:
        with pytest.raises(UserError, match=r"by \S+model, which must be at hand\. If .* give its folder as captioner"):
            ask(trained / "vit", trained)
        assert ask(trained / "vit", trained, f"captioner.model={moved}") == expected
        other = save_vision_model(tmp_path / "other", seed=1)
        with pytest.raises(UserError, match=r"other is another one \(digest \w{12}, of the run \w{12}\)"):
            ask(trained / "vit", trained, f"captioner.model={other}")
    finally:
        moved.rename(trained / "model")


def test_a_bundle_whose_patches_contradict_its_numbers_is_refused(trained, tmp_path):
    stored = open_run(trained / "vit")
    for entry, message in (
        ({"content": "0" * 64, "dim": 9}, r"its patches have 9 numbers each, and its table of visual vectors \(1, 8\)"),
        ({"content": 3, "dim": 8}, "its patches have no digest"),
    ):
        artifacts = replace(stored.artifacts, manifest=stored.artifacts.manifest | {"patches": entry})
        write_bundle(replace(stored, artifacts=artifacts), tmp_path / "run.safetensors")
        with pytest.raises(UserError, match=message):
            open_run(tmp_path / "run.safetensors")
