"""python -m safe_exp.predict: one answer for each article, whatever it is, as a user and as a program would ask."""

import io
import json
import math
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, PredictConfig, StoredVectors, plain_config, typed_config
from safe_exp.data.reading.json_lines import MAX_LINE_BYTES, LineReader, arriving_lines
from safe_exp.inference.answers import Answerer, answer_all
from safe_exp.inference.evaluation import evaluate
from safe_exp.inference.explainer import Explainer
from safe_exp.network.variants import variants
from safe_exp.predict import take_article
from safe_exp.runs.bundle import write_bundle
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import Calibration, best_threshold, fit_temperature
from safe_exp.system.errors import UserError
from tests.commands import SMALL, environment, read_json, read_rows, run
from tests.data.tiny_transformers import bert
from tests.made import compose_config
from tests.sweep.stacked.jobs import train_alone
from tests.test_export import made_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run on captions, `words`, one on visual words, `patches`, and the articles of both."""
    folder = tmp_path_factory.mktemp("predict")
    for name, captioner in (("words", []), ("patches", ["captioner=visual_words", "captioner.words=20"])):
        done = run("train", *SMALL, *captioner, "logger=none", f"hydra.run.dir={name}", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@cache
def _composed(*overrides: str) -> PredictConfig:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return typed_config(compose("predict", overrides=["run=unused", *overrides]))


def config(trained: Path, run_name="words", *overrides: str, **changes) -> PredictConfig:
    return replace(_composed(*overrides), run=str(trained / run_name), **changes)


def ask(cfg: PredictConfig, lines: bytes = b"") -> list[dict]:
    output = io.BytesIO()
    answer_all(cfg, io.BufferedReader(io.BytesIO(lines)), output)
    return [json.loads(line) for line in output.getvalue().decode().splitlines()]


def articles_folder(trained: Path) -> Path:
    return next(path.parent for path in trained.glob("data/synthetic/*/fake"))


def test_a_folder_gets_the_scores_that_the_run_itself_gave(trained):
    for name in ("words", "patches"):
        cfg = config(trained, name, "data=fakenewsnet", "data.root=unused")
        answers = ask(replace(cfg, data=replace(cfg.data, root=str(articles_folder(trained)))))
        ours = {answer["id"]: answer for answer in answers}
        assert len(ours) == 60
        for row in read_rows(trained / name / "predictions.csv"):
            answer = ours[row["id"]]
            assert answer["probability"] == pytest.approx(float(row["probability"]), abs=2e-6)
            assert answer["similarity"] == pytest.approx(float(row["similarity"]), abs=2e-6)
            assert answer["verdict"] == ("fake" if row["verdict"] == "1" else "real")
            assert answer["scores"]["similarity"] == pytest.approx(1 - answer["similarity"], abs=1e-6)


def test_an_article_gets_the_same_answer_alone_in_a_batch_in_a_table_and_from_the_command_line(trained, tmp_path):
    said = [{"id": f"a{n}", "title": f"Title {n}", "text": "officials say " * n, "caption": "a boat"} for n in range(9)]
    lines = [json.dumps(article) for article in said]
    together = ask(config(trained), "\n".join(lines).encode())
    assert len({answer["probability"] for answer in together}) > 2
    alone = [ask(config(trained), line.encode())[0] for line in lines]
    typed = [ask(config(trained, **article))[0] for article in said]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    table = config(trained, "words", "data=table", "data.root=unused")
    rows = ask(replace(table, data=replace(table.data, root=str(tmp_path / "t.jsonl"))))
    assert alone == typed == rows == together  # to the last digit


def test_folders_without_labels_are_read_and_the_damaged_one_gets_an_error(trained, tmp_path):
    for name, content in (("site/a", '{"title": "t", "text": "x"}'), ("b", "{")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "news content.json").write_text(content)
        (tmp_path / name / "caption.txt").write_text("a boat")
    cfg = config(trained, "words", "data=fakenewsnet", "data.root=unused")
    bad, good = ask(replace(cfg, data=replace(cfg.data, root=str(tmp_path))))
    assert (bad["id"], good["id"]) == ("b", "site/a")
    assert "not valid JSON" in bad["error"]
    assert 0 < good["probability"] < 1


def test_what_a_line_lacks_or_may_not_ask_is_said_in_its_answer(trained, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.png").write_bytes(b"\x89PNG")
    (tmp_path / "inside" / "broken.png").write_bytes(b"\x89PNG nothing more")
    (tmp_path / "inside" / "link.png").symlink_to(tmp_path / "secret.png")
    cases = {
        b'{"title": "t", "image": "../secret.png"}': "image lies outside images=DIR",
        b'{"title": "t", "image": "/etc/passwd"}': "image lies outside images=DIR",
        b'{"title": "t", "image": "link.png"}': "image lies outside images=DIR",
        b'{"title": "t", "image": "broken.png"}': "image is damaged",
        b'{"title": "t", "image": "none.png"}': "no image file",
        b'{"title": "t", "image": "a\\u0000b"}': "no image file",
        b'{"title": "t", "image": 7}': "image is not a path",
        b'{"title": "t"}': "no image (the run looks at images itself",
        b'{"title": "t", "caption": "c"}': "no image (the run looks at images itself",
        b"\xff\xfe": "line is not UTF-8",
        b"": "line is empty",
        b"[1]": "line is not a JSON object",
    }
    answers = ask(config(trained, "patches", images=str(tmp_path / "inside")), b"\n".join(cases) + b"\n")
    assert len(answers) == len(cases)
    for answer, expected in zip(answers, cases.values(), strict=True):
        assert expected in answer["error"], answer
    assert "image without images=DIR" in ask(config(trained), b'{"title": "t", "image": "a.png"}')[0]["error"]
    assert "give one with the image" in ask(config(trained, title="t", image="a.png"))[0]["error"]


def test_lines_are_cut_where_they_end_however_they_arrive():
    class Drip(io.RawIOBase):
        def __init__(self, content, size):
            self.content, self.size = content, size

        def readable(self):
            return True

        def readinto(self, buffer):
            piece, self.content = self.content[: self.size], self.content[self.size :]
            buffer[: len(piece)] = piece
            return len(piece)

    content = b"one\n\ntwo\r\n" + b"x" * 100 + b"\nlast"
    for size in (1, 2, 3, 7, 1000):
        batches = list(arriving_lines(io.BufferedReader(Drip(content, size)), most=2))
        assert all(len(batch) <= 2 for batch in batches)
        lines = [line for batch in batches for line in batch]
        assert lines == [(1, b"one"), (2, b""), (3, b"two\r"), (4, b"x" * 100), (5, b"last")]


def test_a_line_of_any_length_is_answered_without_being_kept(trained):
    class Endless(io.RawIOBase):
        left = 40 * MAX_LINE_BYTES

        def readable(self):
            return True

        def readinto(self, buffer):
            count = min(len(buffer), self.left)
            self.left -= count
            buffer[:count] = b"x" * count
            return count

    tracemalloc.start()
    (line,) = [line for batch in arriving_lines(io.BufferedReader(Endless()), 8) for line in batch]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "line is too long" in LineReader(None).read(line).reason
    assert peak < 4 * MAX_LINE_BYTES


def test_a_line_with_no_key_of_an_article_is_told_which_ones_it_has():
    left_out = LineReader(None).read((1, b'{"id": "a", "titel": "t", "body": "b"}'))
    assert left_out.reason == "no article"
    assert left_out.detail == "expected any of title, text, caption, image; found id, titel, body"


def test_keys_that_are_not_read_are_named_once_and_not_without_end(caplog):
    caplog.set_level("INFO")
    reader = LineReader(None)
    for number in range(3):
        line = {"title": "t", "label": 1, **{f"more{n}": n for n in range(number * 5)}}
        assert reader.read((number + 1, json.dumps(line).encode())).title == "t"
    named = [record.getMessage().partition("'")[2].partition("'")[0] for record in caplog.records]
    assert named == ["label", "more0", "more1", "more2", "more3"]


def test_a_stream_is_answered_as_it_comes_and_leaves_nothing_in_memory(trained):
    class Counted(io.RawIOBase):
        """A stream whose lines are made, and counted, when they are read."""

        def __init__(self, count):
            self.left, self.given = count, 0

        def readable(self):
            return True

        def readinto(self, buffer):
            if not self.left:
                return 0
            self.left, self.given = self.left - 1, self.given + 1
            line = (
                json.dumps({"id": self.given, "text": f"word{self.given} " * 99, "caption": "a boat"}).encode() + b"\n"
            )
            buffer[: len(line)] = line
            return len(line)

    class Answers(io.RawIOBase):
        """An output that notes, at each answer, the lines read so far and the memory in use."""

        def __init__(self, lines):
            self.lines, self.taken, self.held = lines, [], []

        def write(self, content):
            self.taken += [self.lines.given] * bytes(content).count(b"\n")
            self.held.append(tracemalloc.get_traced_memory()[0])

    lines = Counted(600)
    answers = Answers(lines)
    tracemalloc.start()
    answer_all(config(trained), io.BufferedReader(lines, 4096), answers)
    tracemalloc.stop()
    assert len(answers.taken) == 600
    assert answers.taken[0] <= 5  # what a buffer of 4 kB holds
    assert answers.held[-1] - answers.held[len(answers.held) // 2] < 100_000


@pytest.fixture(scope="module")
def answerer(trained) -> Answerer:
    return Answerer(open_run(trained / "words"))


LONG_NUMBER = b'{"id": 1' + b"0" * 400 + b', "title": "t", "caption": "c"}'  # no float holds it
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(
    st.sampled_from(["id", "title", "text", "caption", "image", "other"]), JSON_VALUES, max_size=5
).map(lambda value: json.dumps(value).encode())
LINES = (
    OBJECTS
    | st.binary(max_size=60)
    | st.sampled_from([b"[" * 5000, b"{" * 5000, b"9" * 5000, LONG_NUMBER])
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
)  # fmt: skip


def check_one_answer_for_each_line(answerer, lines):
    stream = b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
    reader, answers = LineReader(Path("/nowhere")), []
    for batch in arriving_lines(io.BufferedReader(io.BytesIO(stream)), 8):
        answers += answerer.answer([reader.read(line) for line in batch])
    assert len(answers) == len(lines)
    for answer in answers:
        json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
        assert ("error" in answer) != ("probability" in answer)


@given(st.lists(LINES, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_line_gives_exactly_one_answer(answerer, lines):
    check_one_answer_for_each_line(answerer, lines)


def test_the_words_of_an_article_are_taken_as_typed_and_not_as_hydra_would():
    text = "text=Yes, [really] it's ${oc.env:HOME} = 5"
    assert take_article([text, "run=x", "image=a b.png", "-m"]) == (
        {"text": text[5:], "image": "a b.png"}, ["run=x", "-m"]
    )  # fmt: skip


def test_a_data_set_and_an_article_at_once_are_refused(trained):
    with pytest.raises(UserError, match=r"data=fakenewsnet and title=… were both given"):
        replace(_composed("data=fakenewsnet", "data.root=x"), title="t")


def test_roots_of_other_sides_are_refused(trained):
    with pytest.raises(UserError, match=r"data\.val_root and data\.test_root have no meaning for predict"):
        _composed("data=fakenewsnet", "data.root=x", "data.split=given", "data.test_root=y")


def test_the_command_answers_each_line_before_the_next_and_says_by_its_exit_code_that_one_failed(trained):
    command = [sys.executable, "-m", "safe_exp.predict", "run=words"]
    with subprocess.Popen(
        command, cwd=trained, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for line in (b'{"id": "\xc3\xa9", "title": "t", "caption": "c"}\n', b"{\n"):
            process.stdin.write(line)
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())  # would wait for ever, were the answer held back
            assert answer["id"] == ("é" if b"title" in line else "line 2")
        rest, errors = process.communicate(timeout=60)
    assert rest == b""
    assert process.returncode == 1
    assert "1 of 2 could not be answered" in errors.decode()
    assert "Traceback" not in errors.decode()


def test_a_run_that_is_not_there_is_named_and_nothing_stands_on_standard_output(tmp_path):
    done = run("predict", "run=nowhere", "title=t", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run=nowhere: there is no such folder or file" in done.stderr


def test_a_question_does_not_wait_for_what_only_training_needs():
    check = (
        "import sys, safe_exp.inference.answers;"
        "assert not {'pytorch_lightning', 'torchmetrics', 'sklearn', 'scipy.optimize', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


TEXT = "the boat is red " * 9


def test_an_explanation_adds_up_to_the_probability_and_the_similarity_and_names_the_words(trained):
    for name, extra in (("words", {"caption": "a red boat"}), ("patches", {"image": a_picture(trained)})):
        (answer,) = ask(
            config(trained, name, title="Officials say", text="the boat is red " * 9, explain=True, **extra)
        )
        of_logit, cosine = answer["explanation"]["logit"], answer["explanation"]["cosine"]
        parts = [of_logit["constant"]]
        for side in ("text", "image"):
            parts += [phrase["contribution"] for phrase in of_logit[side]["phrases"]] + [of_logit[side]["others"]]
            of_side = cosine[f"from_{side}"]
            of_cosine = [of_side["constant"], of_side[side]["others"]]
            of_cosine += [phrase["contribution"] for phrase in of_side[side]["phrases"]]
            assert sum(of_cosine) == pytest.approx(of_side["value"], abs=1e-12)
            assert of_side["value"] == pytest.approx(cosine["value"], abs=1e-12)
        assert sum(parts) == pytest.approx(of_logit["value"], abs=1e-12)
        assert 1 / (1 + math.exp(-of_logit["value"])) == pytest.approx(answer["probability"], abs=2e-6)
        assert (1 + cosine["value"]) / 2 == pytest.approx(answer["similarity"], abs=2e-6)
        words = f"officials say {TEXT}".split()
        for phrase in of_logit["text"]["phrases"]:
            assert phrase["words"] == " ".join(words[phrase["start"] : phrase["end"]])
        if name == "patches":
            phrase = of_logit["image"]["phrases"][0]
            assert len(phrase["patches"]) == phrase["end"] - phrase["start"] > 0


def test_pictures_of_patches_go_into_the_folder_that_was_named_and_captions_have_none(trained, tmp_path):
    asked = {"id": "../x", "title": "t", "image": a_picture(trained), "explain_to": str(tmp_path / "out")}
    (answer,) = ask(config(trained, "patches", **asked))
    (picture,) = (tmp_path / "out").iterdir()
    assert answer["explanation"]["picture"] == str(picture)
    with Image.open(picture) as image:
        assert image.width > image.height > 400
    with pytest.raises(UserError, match=r"captioner=file, model=safe\. explain=true explains in words"):
        ask(config(trained, explain_to="out", title="t"))


def a_picture(trained: Path) -> str:
    return str(sorted(articles_folder(trained).glob("fake/*/image.*"))[0])


def test_a_file_made_by_export_answers_and_evaluates_as_its_run_does(trained, tmp_path, caplog):
    caplog.set_level("INFO")
    done = run("export", "run=words", "to=words.safetensors", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert "run=words.safetensors to predict and evaluate" in done.stderr
    write_bundle(open_run(trained / "patches"), trained / "patches.safetensors")
    for name in ("words", "patches"):
        cfg = config(trained, name, "data=fakenewsnet", "data.root=unused", explain=True)
        cfg = replace(cfg, data=replace(cfg.data, root=str(articles_folder(trained))))
        of_file = replace(cfg, run=str(trained / f"{name}.safetensors"))
        assert ask(of_file) == ask(cfg)
    scored = []
    for source in ("words", "words.safetensors"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            overrides = [f"run={trained / source}", "data=fakenewsnet", f"data.root={articles_folder(trained)}"]
            evaluate(typed_config(compose("evaluate", overrides=[*overrides, "threshold=best"])), tmp_path)
        scored.append(read_json(tmp_path / "metrics.json")["test"])
        assert "threshold=best: the highest macro F1 on validation" in caplog.text
    assert scored[0] == scored[1]
    assert set(scored[0]["intervals"]) > {"prediction", "similarity", "combined", "loss"}


def test_calibration_and_thresholds_come_from_the_validation_articles_alone(trained):
    rows = [row for row in read_rows(trained / "words" / "predictions.csv") if row["split"] == "val"]
    probability, label = (np.array([float(row[name]) for row in rows]) for name in ("probability", "label"))
    stored = Calibration.load(trained / "words" / "artifacts")
    assert stored.articles == len(rows)
    assert stored.temperature == pytest.approx(fit_temperature(logit(probability), label), rel=1e-3)
    assert stored.thresholds["prediction"] == pytest.approx(best_threshold(probability, label), abs=1e-5)
    metrics = read_json(trained / "words" / "metrics.json")
    assert metrics["calibration"]["temperature"] == stored.temperature
    assert (trained / "words" / "figures" / "reliability.png").exists()


def test_every_scorer_s_answers_give_the_test_figures_of_the_run(trained):
    cfg = config(trained, "words", "data=fakenewsnet", "data.root=unused")
    answers = ask(replace(cfg, data=replace(cfg.data, root=str(articles_folder(trained)))))
    scores = {answer["id"]: answer["scores"] for answer in answers}
    rows = [row for row in read_rows(trained / "words" / "predictions.csv") if row["split"] == "test"]
    label = [int(row["label"]) for row in rows]
    test = read_json(trained / "words" / "metrics.json")["test"]
    for scorer in ("prediction", "similarity", "combined"):
        found = roc_auc_score(label, [scores[row["id"]][scorer] for row in rows])
        assert found == pytest.approx(test[scorer]["auroc"], abs=1e-6)


def test_a_calibrated_probability_and_a_threshold_of_one_s_own_are_given_on_request(trained):
    asked = {"title": "Officials say", "text": "the boat is red", "caption": "a boat"}
    stored = Calibration.load(trained / "words" / "artifacts")
    (plain,), (calibrated,) = ask(config(trained, **asked)), ask(config(trained, **asked, calibrate=True))
    expected = expit(logit(plain["probability"]) / stored.temperature)
    assert calibrated["probability"] == pytest.approx(expected, abs=1e-4)
    assert calibrated["scores"] == plain["scores"]
    assert calibrated["verdict"] == plain["verdict"]
    for shown, calibrate in ((plain, False), (calibrated, True)):  # the verdict is about the number that is shown
        for threshold, verdict in ((shown["probability"] - 1e-4, "fake"), (shown["probability"] + 1e-4, "real")):
            answers = ask(config(trained, **asked, threshold=threshold, calibrate=calibrate))
            assert answers[0]["verdict"] == verdict
        (best,) = ask(config(trained, **asked, threshold="best", calibrate=calibrate))
        assert best["verdict"] == ("fake" if plain["probability"] > stored.thresholds["prediction"] else "real")
    with pytest.raises(UserError, match=r"calibrate=true: run=.* calibrated at its best checkpoint, not its last"):
        ask(config(trained, **asked, calibrate=True, checkpoint="last"))


def test_a_variant_whose_logit_is_no_sum_over_windows_is_not_explained(monkeypatch):
    unexplained = replace(variants["safe"], explained=False)
    monkeypatch.setattr(variants, "_entries", {**variants._entries, "safe": unexplained})
    with pytest.raises(
        UserError, match=r"explain=true: the logit of model=safe is not a sum over the article's phrases"
    ):
        Explainer.from_config(_composed("explain=true"), made_run())


@pytest.mark.parametrize("variant", ["text_only", "visual_only", "no_similarity", "similarity_only", "released"])
def test_every_variant_answers_and_explains_itself(variant):
    answerer = Answerer(made_run(variant), Explainer(made_run(variant).model, 3))
    said = {"title": "ok the", "text": "the \\ é the ok ok", "caption": "the ok"}
    (answer,) = answerer.answer([LineReader(None).read((1, json.dumps(said).encode()))])
    assert 0 < answer["probability"] < 1
    assert (answer["similarity"] is None) == (variant in ("text_only", "visual_only"))
    found = answer["explanation"]
    assert ("logit" in found) == (variant != "similarity_only")
    assert ("cosine" in found) == (answer["similarity"] is not None)
    if variant == "released":
        words = ["ok", "the", "the", "\\", "é", "the", "ok", "ok"]
        assert list(found["logit"]) == ["value", "constant", "headline", "body", "image"]
        for side in ("headline", "body"):
            for phrase in found["logit"][side]["phrases"]:
                assert phrase["words"] == " ".join(words[phrase["start"] : phrase["end"]])
                assert (phrase["end"] <= 2) == (side == "headline")


@pytest.mark.parametrize("layer", [0, -1])
def test_a_run_on_a_transformer_answers_explains_and_travels(layer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = shutil.copytree(bert(), tmp_path / "bert")
    settings = ("vectors=transformer", f"vectors.model={model}", f"vectors.layer={layer}", "vectors.standardise=true")
    trained_as = compose_config(*SMALL, "logger=none", *settings)
    train_alone(trained_as, tmp_path / "run", monkeypatch)
    (tmp_path / "run" / ".hydra").mkdir()
    OmegaConf.save(
        OmegaConf.create({"model": plain_config(trained_as.model)}), tmp_path / "run" / ".hydra" / "config.yaml"
    )
    write_bundle(open_run(tmp_path / "run"), tmp_path / "run.safetensors")
    of_run = {row["id"]: row for row in read_rows(tmp_path / "run" / "predictions.csv")}
    shutil.rmtree(tmp_path / "data" / "prepared")
    cfg = config(tmp_path, "run", "data=fakenewsnet", "data.root=unused", explain=True)
    cfg = replace(cfg, data=replace(cfg.data, root=str(articles_folder(tmp_path))))
    answers = ask(cfg)
    for answer in answers:
        of_logit = answer["explanation"]["logit"]
        parts = [of_logit["constant"]]
        for side in ("text", "image"):
            parts += [phrase["contribution"] for phrase in of_logit[side]["phrases"]] + [of_logit[side]["others"]]
        assert sum(parts) == pytest.approx(of_logit["value"], abs=1e-12)
        assert expit(of_logit["value"]) == pytest.approx(answer["probability"], abs=2e-6)
        if answer["id"] in of_run:
            assert answer["probability"] == pytest.approx(float(of_run[answer["id"]]["probability"]), abs=2e-3)
    words = [phrase["words"] for answer in answers for phrase in answer["explanation"]["logit"]["text"]["phrases"]]
    assert not any("##" in phrase for phrase in words)
    cfg = replace(cfg, explain=False)
    answers = ask(cfg)
    assert ask(replace(cfg, batch_size=1)) == answers
    assert ask(replace(cfg, run=str(tmp_path / "run.safetensors"))) == answers
    moved = model.rename(tmp_path / "moved")
    if layer == 0:  # the run has everything with it
        assert ask(cfg) == answers
        with pytest.raises(UserError, match=r"vectors\.model=.*reads no hidden states, and has its vectors with it"):
            ask(replace(cfg, vectors=StoredVectors(str(moved))))
        return
    for name in ("run", "run.safetensors"):
        with pytest.raises(UserError, match=r"must be at hand.*no such folder.*vectors\.model=FOLDER"):
            ask(replace(cfg, run=str(tmp_path / name)))
        assert ask(replace(cfg, run=str(tmp_path / name), vectors=StoredVectors(str(moved)))) == answers
