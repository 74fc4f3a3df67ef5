"""A trained model from Python: it answers and scores as the commands do, and leaves the program as it was."""

import inspect
import io
import json
import logging
import math
import random
import shutil
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

import safe_exp
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.inference.answers import answer_all
from safe_exp.inference.evaluation import evaluate
from safe_exp.runs.bundle import write_bundle
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import Calibration, Combination
from tests.commands import environment, read_json, read_rows
from tests.data.folders import write_folder
from tests.made_jobs import write_sweep
from tests.made_run import write_run

SAID = [
    {"id": f"a{n}", "title": f"the senator {n}", "text": "a boat the " * n, "caption": "the é boat"} for n in range(7)
]
ON_WORDS = "captioner=file"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with runs on captions (`words`, `other`) and on visual words (`patches`), a sweep and a bundle."""
    folder = tmp_path_factory.mktemp("loaded")
    write_run(folder / "words", ON_WORDS)
    write_run(folder / "other", ON_WORDS, seed=1)
    write_run(folder / "patches")
    for name, temperature in (("words", 2.0), ("patches", 0.7)):
        thresholds = {"prediction": 0.45, "similarity": 0.3, "combined": 0.5}
        Calibration(temperature, thresholds, Combination(1.0, -2.0, 0.5), 10).save(folder / name / "artifacts")
    write_sweep(folder / "sweep", ON_WORDS)
    for name in ("words", "sweep"):
        write_bundle(open_run(folder / name), folder / f"{name}.safetensors")
    Image.new("RGB", (90, 60), (200, 30, 90)).save(folder / "red.png")
    (folder / "broken.png").write_bytes(b"\x89PNG nothing more")
    return folder


def ask_command(run: Path, articles: list[dict], *overrides: str) -> list[dict]:
    """Answer JSON lines as the command does."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = typed_config(compose("predict", overrides=[f"run={run}", *overrides]))
    output = io.BytesIO()
    lines = "".join(json.dumps(article) + "\n" for article in articles).encode()
    answer_all(config, io.BufferedReader(io.BytesIO(lines)), output)
    return [json.loads(line) for line in output.getvalue().decode().splitlines()]


@pytest.mark.parametrize("run", ["words", "sweep", "words.safetensors", "sweep.safetensors"])
def test_answers_are_those_of_the_command(made, run):
    said = [
        *SAID,
        {"id": "empty", "title": ""},
        {"id": "no caption", "title": "the boat"},
        {"id": "other", "body": "x"},
    ]
    ours = safe_exp.load(made / run).predict(said, explain=True)
    assert ours == ask_command(made / run, said, "explain=true")
    assert len({answer.get("probability") for answer in ours}) > 3
    assert [answer["id"] for answer in ours if set(answer) == {"id", "error"}] == ["empty", "other"]


@pytest.mark.parametrize(
    "settings",
    [
        {"calibrate": True},
        {"threshold": "best"},
        {"threshold": 0.62, "calibrate": True},
        {"calibrate": True, "threshold": "best", "phrases": 2, "explain": True},
    ],
)
def test_each_setting_means_what_it_means_to_the_command(made, settings):
    written = [f"{key}={str(value).lower()}" for key, value in settings.items()]
    expected = ask_command(made / "words", SAID, *written)
    assert safe_exp.load(made / "words").predict(SAID, **settings) == expected
    assert expected != ask_command(made / "words", SAID)


def test_settings_that_are_left_out_are_those_of_the_command():
    defaults = OmegaConf.load(CONF / "predict.yaml")
    ours = inspect.signature(safe_exp.TrainedModel.predict).parameters
    for name in ("explain", "threshold", "calibrate", "images", "explain_to", "phrases", "batch_size"):
        assert ours[name].default == defaults[name], name


def test_images_of_a_program_are_seen_as_their_file_is(made):
    model = safe_exp.load(made / "patches")
    (expected,) = ask_command(made / "patches", [{"id": "a", "title": "the", "image": "red.png"}], f"images={made}")
    assert "probability" in expected
    picture = Image.open(made / "red.png")
    transparent = Image.new("RGBA", (90, 60), (0, 0, 0, 0))
    transparent.paste((200, 30, 90, 255), (0, 0, 90, 60))
    forms = [made / "red.png", str(made / "red.png"), (made / "red.png").read_bytes(), picture, transparent]
    answers = model.predict([{"id": "a", "title": "the", "image": form} for form in forms])
    assert answers == [expected] * len(forms)
    assert (picture.size, transparent.mode) == ((90, 60), "RGBA")  # the caller's are as they were
    below = [{"id": "a", "title": "the", "image": name} for name in ("red.png", "../red.png", "broken.png")]
    assert model.predict(below, images=made) == ask_command(made / "patches", below, f"images={made}")


def test_an_image_that_cannot_be_used_is_an_answer_with_the_reason(made):
    class Strange: ...

    cases = {
        "image is not a path (expected a path, bytes of an image file, or a picture of": Strange(),
        "image is too small or too narrow": Image.new("RGB", (3, 3)),
        "image has pixels of an unknown range": Image.new("F", (50, 50)),
        "not an image": b"nothing of an image",
        "no image file": made / "none.png",
        "no image file ('a\\x00b' names no file)": "a\0b",
        "image is damaged": made / "broken.png",
    }
    answers = safe_exp.load(made / "patches").predict([{"title": "the", "image": image} for image in cases.values()])
    for answer, expected in zip(answers, cases, strict=True):
        assert answer["error"].startswith(expected), answer


def test_a_list_gives_a_list_and_a_generator_an_iterator_of_bounded_memory(made):
    model = safe_exp.load(made / "words")
    taken = 0

    def stream():
        nonlocal taken
        while True:
            taken += 1
            yield {"title": "the senator", "text": "a boat " * 2000 + str(taken), "caption": "the boat"}

    answers = model.predict(stream(), batch_size=4)
    assert taken == 0
    assert next(answers)["id"] == "article 1"
    assert taken == 4
    tracemalloc.start()
    seen = sum(1 for _ in islice(answers, 400))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == 400
    assert peak < 4_000_000  # the 400 texts have 5,600,000 characters
    assert model.predict([]) == []
    assert list(model.predict(iter([]))) == []


class Frame:
    """The part of a pandas data frame that is read, with the values that pandas puts for missing ones."""

    iloc = None

    def __init__(self, rows):
        self.rows = rows

    def to_dict(self, orient):
        assert orient == "records"
        return self.rows


class NAType:  # of pandas
    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


def test_a_data_frame_is_read_by_its_rows_and_a_missing_value_is_no_word(made):
    model = safe_exp.load(made / "words")
    rows = [article | {"title": math.nan, "image": NAType(), "id": np.int64(7)} for article in SAID]
    expected = model.predict([{"id": "7", "text": each["text"], "caption": each["caption"]} for each in SAID])
    assert model.predict(Frame(rows)) == expected
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert model.predict(pandas.DataFrame(rows)) == expected


@pytest.mark.parametrize("articles", [{"title": "the"}, "the", 3])
def test_a_single_article_is_refused(made, articles):
    with pytest.raises(TypeError, match=r"expected a list of dicts.*one article is \[article\]"):
        safe_exp.load(made / "words").predict(articles)


def test_what_is_wrong_is_said_as_on_the_command_line(made, tmp_path):
    with pytest.raises(safe_exp.UserError, match="there is no such folder or file"):
        safe_exp.load(tmp_path / "none")
    with pytest.raises(safe_exp.UserError, match=r"\.hydra/config\.yaml is missing"):
        safe_exp.load(tmp_path)
    with pytest.raises(safe_exp.UserError, match="checkpoint=first: expected best or last"):
        safe_exp.load(made / "words", "first")
    with pytest.raises(safe_exp.UserError, match=r"captioner\.colour: there is no such key"):
        safe_exp.load(made / "words", captioner={"colour": "red"})
    with pytest.raises(safe_exp.UserError, match="reads no hidden states"):
        safe_exp.load(made / "words", vectors_model="x")
    with pytest.raises(safe_exp.UserError, match="device=mps has no float64"):
        safe_exp.load(made / "words", device="mps")
    with pytest.raises(safe_exp.UserError, match="device=nonsense: "):
        safe_exp.load(made / "words", device="nonsense")
    model = safe_exp.load(made / "other")
    with pytest.raises(safe_exp.UserError, match=r"calibrate=true: .* has no calibration"):
        model.predict(SAID, calibrate=True)
    with pytest.raises(safe_exp.UserError, match="threshold=2: expected a number between 0 and 1"):
        model.predict(SAID, threshold=2)
    with pytest.raises(safe_exp.UserError, match="batch_size=0: expected a number >= 1"):
        model.predict(iter(SAID), batch_size=0)
    with pytest.raises(safe_exp.UserError, match=r"images=.*none is no folder"):
        model.predict(SAID, images=tmp_path / "none")
    with pytest.raises(safe_exp.UserError, match=r"data\.column: there is no such key.*data\.columns"):
        model.evaluate(made / "red.png", column="x")


def test_a_sweep_has_no_single_network_and_says_what_has(made):
    model = safe_exp.load(made / "sweep")
    assert len(model.networks) == len(model.configs) == 3
    with pytest.raises(safe_exp.UserError, match=r"3 jobs as one model, without one network: `networks` has them all"):
        model.network  # noqa: B018
    with pytest.raises(safe_exp.UserError, match="without one metrics: load the folder of one job"):
        model.metrics  # noqa: B018


def test_the_parts_of_a_model_are_those_that_were_stored(made):
    model = safe_exp.load(made / "words")
    state = torch.load(made / "words" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    ours = model.network.state_dict()
    assert all(torch.equal(ours[name.removeprefix("network.")], value) for name, value in state.items())
    assert not model.network.training
    assert model.config["model"]["num_filters"] == model.model_config.num_filters == 3
    assert safe_exp.load(made / "words.safetensors").config["model"] == model.config["model"]
    assert model.text_vocabulary["senator"] == 4  # after padding, the unknown word, the, a
    assert model.metrics == {}
    assert str(model.device) == "cpu"
    assert model.to("cpu") is model


def test_no_function_that_a_stored_config_names_is_called(made, tmp_path):
    run = shutil.copytree(made / "words", tmp_path / "run")
    with open(run / ".hydra" / "config.yaml", "a") as config:
        config.write("seed: ${model.num_filters}\n")
    assert safe_exp.load(run).config["seed"] == 3
    with open(run / ".hydra" / "config.yaml", "a") as config:
        config.write("more: ${oc.env:HOME}\n")
    assert safe_exp.load(run).config["more"] == "${oc.env:HOME}"
    assert safe_exp.load(run).config["seed"] == 3


@pytest.mark.parametrize("run", ["words", "sweep"])
def test_scores_are_those_of_the_command(made, tmp_path, run):
    articles = write_folder(tmp_path / "articles")
    register_schemas()
    settings = [f"data.prepared={tmp_path / 'prepared'}", "data.batch_size=5", "threshold=0.55"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [f"run={made / run}", "data=fakenewsnet", f"data.root={articles}", *settings]
        evaluate(typed_config(compose("evaluate", overrides=overrides)), tmp_path / "scored")
    found = safe_exp.load(made / run).evaluate(articles, threshold=0.55, prepared=tmp_path / "prepared", batch_size=5)
    expected = read_json(tmp_path / "scored" / "metrics.json")
    assert {**found.metrics, "seconds": 0} == {key: value for key, value in expected.items() if key != "digest"} | {
        "seconds": 0
    }
    assert found.manifest == read_json(tmp_path / "scored" / "data_manifest.json")
    rows = read_rows(tmp_path / "scored" / "predictions.csv")
    assert [row["id"] for row in rows] == [row["id"] for row in found.predictions.rows()]
    assert [float(row["probability"]) for row in rows] == pytest.approx(
        found.predictions.probability.tolist(), abs=1e-6
    )


def test_a_table_is_told_by_its_file_and_its_columns_are_given_as_a_dict(made, tmp_path):
    rows = [
        {"n": n, "said": "the senator a boat", "about": "the boat", "verdict": ("no", "yes")[n % 2]} for n in range(6)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = safe_exp.load(made / "words").evaluate(
        tmp_path / "t.jsonl",
        columns={"id": "n", "text": "said", "caption": "about", "label": "verdict"},
        labels={"fake": ["yes"], "real": ["no"]},
        prepared=tmp_path / "it's prepared",
    )
    assert found.metrics["test"]["articles"] == {"fake": 3, "real": 3, "majority_rate": 0.5}
    assert [row["label"] for row in found.predictions.rows()] == [0, 1, 0, 1, 0, 1]


def state_of_the_program() -> dict:
    hydra = GlobalHydra.instance()
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "seeds": (torch.initial_seed(), torch.random.get_rng_state().sum().item(), random.getstate(),
                  np.random.get_state()[1].tolist()),  # noqa: NPY002
        "logging": (list(logging.root.handlers), logging.root.level, logging.root.manager.disable),
        "hydra": hydra.hydra,
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }  # fmt: skip


def test_nothing_of_the_program_is_changed_also_within_an_application_of_hydra(made, tmp_path):
    articles = write_folder(tmp_path / "articles")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        before = state_of_the_program()
        assert before["hydra"] is not None
        model = safe_exp.load(made / "words")
        model.predict(SAID, explain=True)
        model.evaluate(articles, prepared=tmp_path / "prepared")
        assert state_of_the_program() == before
        compose("predict", overrides=["run=x"])  # the application's Hydra still works
    before = state_of_the_program()
    safe_exp.load(made / "patches")
    assert state_of_the_program() == before


def test_two_models_and_several_threads_answer_as_one_alone(made):
    names = ("words", "other", "sweep")
    models = {name: safe_exp.load(made / name) for name in names}
    alone = {name: safe_exp.load(made / name).predict(SAID) for name in names}
    assert alone["words"] != alone["other"]
    with ThreadPoolExecutor(4) as pool:
        asked = [(name, pool.submit(models[name].predict, SAID, batch_size=1 + number % 5))
                 for number in range(8) for name in names]  # fmt: skip
        for name, answers in asked:
            assert answers.result() == alone[name]


@pytest.mark.slow
def test_a_script_without_a_guard_scores_with_several_processes(made, tmp_path):
    """Its workers would run the script again, and wait for workers of their own."""
    articles = write_folder(tmp_path / "articles")
    (tmp_path / "script.py").write_text(
        f"""
import safe_exp
import safe_exp.data.prepared.prepare as prepare
import safe_exp.data.reading.readers as readers

readers.PART_ARTICLES = prepare.PART_ARTICLES = 4
prepare.PARTS_WORTH_A_PROCESS = 1  # so that a few articles are worth two processes
print("started")
found = safe_exp.load({str(made / "words")!r}).evaluate({str(articles)!r}, workers=2)
print(found.manifest["scored"], __file__.endswith("script.py"))
"""
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started", "40", "True"]
